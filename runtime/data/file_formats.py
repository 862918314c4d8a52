"""Which kinds of files are read, and the records that a file of each kind holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

from runtime.data.broken import BrokenError
from runtime.data.lines import BYTE_ORDER_MARK, COMPRESSIONS, LONGEST, ReadBytes, decoded, lines, opened, whole
from runtime.data.strict_json import Parser, unreadable
from runtime.data.tables import arrow_rows, csv_rows, parquet_rows
from runtime.errors import UserError

Kind = Literal["JSON lines", "JSON", "CSV", "Markdown", "text file", "Parquet", "Arrow"]

KINDS: dict[str, Kind] = {
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".json": "JSON",
    ".csv": "CSV",
    ".md": "Markdown",
    ".markdown": "Markdown",
    ".txt": "text file",
    ".parquet": "Parquet",
    ".arrow": "Arrow",
    ".feather": "Arrow",
}
"""Kinds by the end of the file's name; all but Parquet and Arrow may end in `.gz` or `.zst` after it."""
_BINARY = ("Parquet", "Arrow")
_CHARACTERS = 1 << 16

Found: TypeAlias = dict[str, Any] | str | BrokenError
"""A record, the text of a whole file, or what is wrong with what is there."""


@dataclass(frozen=True)
class FileKind:
    """What a file holds, and how it is compressed."""

    kind: Kind
    compression: str | None

    @property
    def is_document(self) -> bool:
        """Whether the whole file is one text."""
        return self.kind in ("Markdown", "text file")


def kind_of(name: str) -> FileKind:
    """The kind of a file by its name. Raises UserError for an unknown one."""
    path = PurePosixPath(name.lower())
    compression = COMPRESSIONS.get(path.suffix)
    kind = KINDS.get((path if compression is None else path.with_suffix("")).suffix)
    if kind is None or (compression is not None and kind in _BINARY):
        suffix = "".join(path.suffixes[-2:]) if compression is not None else path.suffix
        ends = f"ends in '{suffix}'" if suffix else "has no ending"
        known = ", ".join(KINDS)
        raise UserError(
            f"can't read a file that {ends}",
            f"use one of {known}; texts may be compressed: .jsonl.gz, .jsonl.zst",
            place=name,
        )
    return FileKind(kind, compression)


def records_in(path: Path, name: str, kind: FileKind) -> Iterator[tuple[int, Found]]:
    """What a file holds, each with its line, or the number of its row in JSON lists, Parquet and Arrow.

    Memory doesn't grow with the file. A pure function of the file: another process can run it.

    Raises:
        UserError: the file can't be read, or not any further.
    """
    if kind.kind == "Parquet":
        yield from parquet_rows(path, name)
    elif kind.kind == "Arrow":
        yield from arrow_rows(path, name)
    else:
        with opened(path, name, kind.compression) as read:
            match kind.kind:
                case "JSON lines":
                    yield from _json_lines(read)
                case "JSON":
                    yield from _json_values(read, name)
                case "CSV":
                    yield from csv_rows(read, name)
                case _:
                    yield from _document(read)


def _json_lines(read: ReadBytes) -> Iterator[tuple[int, Found]]:
    parser = Parser()
    for number, line in lines(read):
        if isinstance(line, BrokenError):
            yield number, line
        elif record := line.strip():
            try:
                yield number, parser.record(decoded(record))
            except BrokenError as error:
                yield number, error


def _document(read: ReadBytes) -> Iterator[tuple[int, Found]]:
    content = whole(read)
    try:
        text = content if isinstance(content, BrokenError) else decoded(content)
    except BrokenError as error:
        text = error
    if isinstance(text, BrokenError) or text.strip():
        yield 1, text


def _json_values(read: ReadBytes, name: str) -> Iterator[tuple[int, Found]]:
    """The objects of a list, or one object, or one after the other; taken apart as they come."""
    texts = _Text(read, name)
    opens = texts.skip()
    if opens == "[":
        texts.take()
    number = 1
    while (next_one := texts.skip()) and not (opens == "[" and next_one == "]"):
        value = texts.value(number)
        is_record = isinstance(value, dict | BrokenError)
        yield number, value if is_record else BrokenError("it is JSON, but not an object: a record stands in braces")
        number += 1
        if opens == "[" and texts.skip() == ",":
            texts.take()
        elif opens == "[" and texts.skip() != "]":
            raise texts.broken(number - 1, "a comma or a bracket is missing after it")
    if opens == "[":
        if texts.skip() != "]":
            raise texts.broken(number, "the list isn't closed")
        texts.take()
        if texts.skip():
            raise texts.broken(number, "something stands after the list")


class _Text:
    """A text that is read as far as the next value needs."""

    def __init__(self, read: ReadBytes, name: str) -> None:
        self._read, self._name, self._parser = read, name, Parser()
        self._bytes, self._text, self._at, self._ended = b"", "", 0, False
        self._first = True

    def skip(self) -> str:
        """The next character that is no blank; none at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(_CHARACTERS):
                return ""

    def take(self) -> None:
        """Goes past one character."""
        self._at += 1

    def value(self, number: int) -> Any:
        """The value that begins here, which is record `number`, or what is wrong with it."""
        while True:
            try:
                value, end = self._parser.first(self._text, self._at)
                if end < len(self._text) or not self._more(_CHARACTERS):
                    self._at = end
                    return value
                continue  # a number might go on
            except json.JSONDecodeError as error:
                left = len(self._text) - self._at
                if left > LONGEST:
                    raise self.broken(number, f"it is longer than {LONGEST >> 20} MiB") from error
                if not self._more(max(left, _CHARACTERS)):
                    raise self.broken(number, error.msg) from error
            except (RecursionError, ValueError) as error:
                raise self.broken(number, unreadable(error)) from error

    def broken(self, number: int, reason: str) -> UserError:
        return UserError(
            f"the file stops being JSON at record {number:,}: {reason}",
            "mend it, or write one record a line and name it .jsonl: then what is broken is set aside",
            place=self._name,
        )

    def _more(self, size: int) -> bool:
        """Reads on by so many bytes; whether there were any."""
        block = self._read(size)
        if self._first:
            block, self._first = block.removeprefix(BYTE_ORDER_MARK), False
        content = self._bytes + block
        kept = _whole_characters(content) if block else len(content)
        try:
            text = decoded(content[:kept])
        except BrokenError as error:
            raise UserError(f"the file can't be read: {error}", "save it in UTF-8", place=self._name) from error
        self._bytes = content[kept:]
        self._text, self._at = self._text[self._at :] + text, 0
        return bool(block)


def _whole_characters(content: bytes) -> int:
    """How many of the bytes make whole characters: up to three at the end may belong to one that goes on."""
    for back in range(1, min(4, len(content)) + 1):
        byte = content[-back]
        if byte >= 0xC0:
            return len(content) - back
        if byte < 0x80:
            break
    return len(content)
