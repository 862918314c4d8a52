"""The SHA-256 of files, taken once: what was hashed or fetched before is remembered on disk.

Remembered in `$XDG_CACHE_HOME/mixc` (`~/.cache/mixc`), which may be removed at any time.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from runtime.errors import UserError

_SMALL = 4 << 20
"""Bytes up to which a file is hashed faster than it is worth to remember it."""
_SETTLED = 2 * 10**9
"""Nanoseconds since its last change after which a file's time tells it from any later state of it."""


def cache_folder() -> Path:
    """Where what can be made or fetched again is kept, for all projects of a user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mixc"


def digest_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal.

    A large file that was hashed before isn't read again while it is the same by its path, size, times of change (of its
    content and of its entry) and inode. One that changed within the last two seconds is hashed in any case and not
    remembered: it may change again within the same tick of the clock.

    Raises OSError, and UserError where the file changes meanwhile.
    """
    before = path.stat()
    settled = time.time_ns() - max(before.st_mtime_ns, before.st_ctime_ns) > _SETTLED
    key = "\0".join(map(str, (path.resolve(), *_state(before))))
    remembers = settled and before.st_size > _SMALL
    if remembers and (known := recall(key)) is not None:
        return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        after = os.fstat(file.fileno())
    if _state(after) != _state(before):
        raise UserError("the file changes while it is read", "let what writes it finish", str(path))
    if remembers:
        remember(key, digest)
    return digest


def recall(key: str) -> str | None:
    """The digest that was remembered under a key."""
    try:
        digest, of = _entry(key).read_text(encoding="utf-8").split("\n", 1)
    except (OSError, ValueError):
        return None
    return digest if of == key and len(digest) == 64 else None


def remember(key: str, digest: str) -> None:
    """Keeps a digest under a key; where that can't be written, it is found out again the next time."""
    entry = _entry(key)
    with suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=entry.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{digest}\n{key}")
        os.replace(draft, entry)


def _state(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev


def _entry(key: str) -> Path:
    name = hashlib.sha256(key.encode()).hexdigest()
    return cache_folder() / "sha256" / name[:2] / name
