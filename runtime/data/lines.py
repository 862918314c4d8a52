"""Reads the bytes and the lines of a file, compressed or not, in memory that doesn't grow with file or line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from runtime.data.broken import BrokenError
from runtime.errors import UserError

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
LONGEST = 64 << 20
"""Bytes that a record may have. A line beyond it is set aside unread: in 2 GB without a line end there is no record."""
MANY, TIMES = 256 << 20, 500
"""A compressed file is refused once it has given more than MANY bytes and TIMES as many as were read of it.

Text shrinks 3 to 10 times, chats that share prompts and tools up to 100 times, and one record over and over some
1,000 times: beyond TIMES there is next to nothing in the file, and what there is would fill the disk.
"""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLOCK = 1 << 20

ReadBytes: TypeAlias = Callable[[int], bytes]
"""At most so many bytes; none at the end."""


@contextmanager
def opened(path: Path, name: str, compression: str | None) -> Iterator[ReadBytes]:
    """Reads the content of a file, decompressed (`gzip`, `zstd`).

    Raises UserError where the file can't be read, is cut off or damaged, or is a bomb.
    """
    try:
        if compression is None:
            with path.open("rb", buffering=0) as file:
                yield file.read
        else:
            with pa.OSFile(os.fspath(path)) as packed, pa.CompressedInputStream(packed, compression) as stream:
                yield _guarded(packed, stream, name)
    except OSError as error:
        raise unreadable(error, name) from error


def unreadable(error: Exception, name: str) -> UserError:
    """What keeps a file from being read: the operating system, or what is in it, as Arrow puts it."""
    if isinstance(error, OSError) and error.errno is not None:
        return UserError(
            f"can't read the file: {os.strerror(error.errno)}", "check its path and its permissions", place=name
        )
    return UserError(f"the file is damaged or cut off: {error}", "make or fetch it again", place=name)


def lines(read: ReadBytes) -> Iterator[tuple[int, bytes | BrokenError]]:
    """Lines with their numbers from 1, without their ends; for one that is too long what is wrong."""
    number, size = 1, 0
    pieces: list[bytes] = []

    def line() -> bytes | BrokenError:
        if size > LONGEST:
            return BrokenError(f"it is longer than {LONGEST >> 20} MiB")
        whole = b"".join(pieces)
        return whole.removeprefix(BYTE_ORDER_MARK) if number == 1 else whole

    while block := read(_BLOCK):
        *ended, rest = block.split(b"\n")
        for piece in ended:
            size += len(piece)
            pieces.append(piece)
            yield number, line()
            number, size = number + 1, 0
            pieces.clear()
        size += len(rest)
        if size > LONGEST:
            pieces.clear()
        else:
            pieces.append(rest)
    if size:
        yield number, line()


def whole(read: ReadBytes) -> bytes | BrokenError:
    """All bytes without a byte order mark, or what is wrong where they are too many."""
    pieces: list[bytes] = []
    size = 0
    while block := read(_BLOCK):
        size += len(block)
        if size > LONGEST:
            return BrokenError(f"it is longer than {LONGEST >> 20} MiB")
        pieces.append(block)
    return b"".join(pieces).removeprefix(BYTE_ORDER_MARK)


def text_of_file(path: Path, name: str) -> str:
    """All of a small file that isn't compressed. Raises UserError where it can't be read, or isn't in UTF-8."""
    try:
        with opened(path, name, None) as read:
            content = whole(read)
        if isinstance(content, BrokenError):
            raise content
        return decoded(content)
    except BrokenError as error:
        raise UserError(str(error), "mend the file", name) from error


def decoded(content: bytes) -> str:
    """The text of bytes in UTF-8. Raises BrokenError."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BrokenError("it is in UTF-16, not in UTF-8") from error
        raise BrokenError(f"it is not in UTF-8 (byte 0x{content[error.start]:02x} at {error.start + 1})") from error


def _guarded(packed: pa.NativeFile, stream: pa.NativeFile, name: str) -> ReadBytes:
    given = 0

    def read(size: int) -> bytes:
        nonlocal given
        block = stream.read(size)
        given += len(block)
        taken = packed.tell()
        if given > MANY and given > TIMES * taken:
            raise UserError(
                f"{taken:,} bytes of the file give more than {given:,}: what is in it isn't text",
                "if it is data all the same, decompress it and name the plain file",
                place=name,
            )
        return block

    return read
