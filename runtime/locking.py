"""The lock of a spec on disk: read, compared with what is there, written."""

from __future__ import annotations

from pathlib import Path

from compiler.lock import Lock, differences, from_text, make_lock, to_text
from runtime.disk import write_atomically
from runtime.errors import UserError
from runtime.planning import Planned


def lock_path(spec: Path) -> Path:
    """Where the lock of a spec lies: beside it."""
    return spec.with_name(f"{spec.name}.lock")


def read_lock(path: Path) -> Lock | None:
    """The lock of a file, None where there is none. Raises UserError for what isn't a lock."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the lock can't be read: {error}", "make it anew with `mixc lock FILE`", str(path)) from error
    lock = from_text(text)
    if lock is None:
        raise UserError("this is no lock of this version", "make it anew with `mixc lock FILE`", str(path))
    return lock


def lock_of(planned: Planned) -> Lock:
    """What a plan pins now."""
    context = planned.context
    return make_lock(planned.plan, context.keys, context.files.pinned)


def write_lock(lock: Lock, path: Path) -> None:
    """Writes it, or leaves the file alone where it says the same."""
    content = to_text(lock).encode()
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)


def differing(planned: Planned, path: Path) -> list[str]:
    """What is no longer as the lock beside the spec pins it; nothing where there is no lock. Raises UserError."""
    locked = read_lock(path)
    return [] if locked is None else list(differences(locked, lock_of(planned), planned.plan))
