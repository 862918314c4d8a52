"""Files that outlive a kill: written whole or not at all, synced, known by size and checksum."""

from __future__ import annotations

import errno
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from runtime.errors import UserError

Contents: TypeAlias = dict[str, tuple[int, int]]
"""Files of a folder by their path in it: size in bytes, and CRC-32."""

MARK = "done.json"
"""Written last into a folder that has to be whole: without it the folder doesn't count."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.EIO, errno.ESTALE, errno.ENOLCK)
_NUMBER_IN_TEXT = re.compile(r"(?:[Ee]rrno |os_error_code=')(\d+)")
_BLOCK = 1 << 22
_SYNCS = 32


def write_atomically(path: Path, data: bytes) -> None:
    """Puts `data` at `path` so that, after a kill or a power cut, all of it is there or what was there before."""
    draft = path.with_name(f"{path.name}.tmp")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    rename(draft, path)


def rename(source: Path, target: Path) -> None:
    """Renames within a folder, for good: the folder is synced."""
    source.rename(target)
    sync(target.parent)


def sync_tree(folder: Path) -> None:
    """Brings all files and folders below `folder`, and itself, to the disk."""
    paths = [Path(place, name) for place, _, names in os.walk(folder) for name in ("", *names)]
    with ThreadPoolExecutor(_SYNCS) as pool:  # file systems do many at once in the time of one
        list(pool.map(sync, paths))


def sync_folders(folder: Path) -> None:
    """Brings the names of what is in `folder`, and in folders below it, to the disk."""
    for place, _, _ in os.walk(folder):
        sync(Path(place))


def remove(folder: Path) -> None:
    """Removes a folder, its mark first."""
    (folder / MARK).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def contents(folder: Path, mine: Callable[[str], bool] = lambda name: True, *, synced: bool = False) -> Contents:
    """What is in a folder, but for its mark and for folders inside it that have a mark and answer for themselves.

    `mine` chooses among the files by their path in the folder. `synced` brings them to the disk meanwhile: the
    checksum reads what is still in memory.
    """
    paths: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not Path(place, name, MARK).exists())
        paths += (Path(place, name) for name in sorted(names))
    names = [name for path in paths if path != folder / MARK and mine(name := path.relative_to(folder).as_posix())]
    with ThreadPoolExecutor(os.cpu_count()) as pool, ThreadPoolExecutor(_SYNCS) as syncs:
        on_disk = syncs.map(lambda name: sync(folder / name), names if synced else ())
        found = pool.map(lambda name: ((folder / name).stat().st_size, _checksum(folder / name)), names)
        list(on_disk)
        return dict(zip(names, found, strict=True))


SMALL = 1 << 20
"""Bytes up to which a file is read whenever it is looked at: scores and answers are, weights aren't."""


def damage(folder: Path, expected: Mapping[str, tuple[int, int]], *, checksums: bool) -> str | None:
    """What is wrong with the files of a folder in words, None if nothing.

    Sizes are compared, and checksums of small files; those of all files if asked.
    """

    def of_file(name: str) -> str | None:
        (size, checksum), path = expected[name], folder / name
        try:
            found = path.stat().st_size
            if found != size:
                return f"{name} has {found} bytes instead of {size}"
            if (checksums or size <= SMALL) and _checksum(path) != checksum:
                return f"the bytes of {name} have changed"
        except FileNotFoundError:
            return f"{name} is missing"
        return None

    if not checksums:
        return next((wrong for wrong in map(of_file, expected) if wrong is not None), None)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # a checksum leaves Python's lock to others
        return next((wrong for wrong in pool.map(of_file, expected) if wrong is not None), None)


@contextmanager
def disk_errors(path: Path, need: int | None = None) -> Iterator[None]:
    """Turns a full disk and a place that refuses into a UserError, whichever library met it.

    Args:
        path: where is written, for the message.
        need: about how many bytes were to be written.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        explained = _explained(error, path, need)
        if explained is None:
            raise
        raise explained from error


def require_room(path: Path, need: int) -> None:
    """Raises UserError where the disk of an existing folder has less than `need` bytes free."""
    if shutil.disk_usage(path).free < need:
        raise _full(path, need, str(path))


def in_words(size: int) -> str:
    """A number of bytes: `540 MB`."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            amount = size / scale
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
    return f"{size} bytes"


def _explained(error: Exception, path: Path, need: int | None) -> UserError | None:
    number = _number(error)
    place = str(getattr(error, "filename", None) or path)
    if number in _FULL:
        return _full(path, need, place)
    if number in _REFUSED:
        return UserError(
            f"can't read or write here: {os.strerror(number).lower()}",
            f"look at the permissions and the disk, or give another store with --store; {_kept(path)}",
            place,
        )
    return None


def _full(path: Path, need: int | None, place: str) -> UserError:
    there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    needed = "" if need is None else f"needed about {in_words(need)}, "
    return UserError(
        f"the disk is full: {needed}free {in_words(shutil.disk_usage(there).free)}",
        f"free some room, or give a store on another disk with --store; {_kept(path)}",
        place,
    )


def _kept(path: Path) -> str:
    return f"what is done is kept in {path}, and the same command goes on from there"


def _number(error: BaseException) -> int | None:
    """The operating system's number of an error or of one behind it; TensorStore and Arrow give it in their texts."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if told := _NUMBER_IN_TEXT.search(str(error)):
        return int(told[1])
    behind = error.__cause__ or error.__context__
    return None if behind is None else _number(behind)


def sync(path: Path) -> None:
    """Brings a file, or a folder's list of names, to the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.crc32(block, value)
    return value
