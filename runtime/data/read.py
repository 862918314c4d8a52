"""Reads files to rows: what a record is follows from its content, and what can't be used is set aside and counted."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runtime.data.broken import Broken, BrokenError, check_broken
from runtime.data.columns import Columns, Shape, shape_of
from runtime.data.file_formats import FileKind, Found, kind_of, records_in
from runtime.data.layouts import arranged, renamed
from runtime.data.lines import LONGEST
from runtime.data.locations import name_of
from runtime.data.rows import Format, Record, Rows, RowsBuilder, canonical_json
from runtime.errors import UserError

_HOPELESS = 100_000
"""Broken records after which a file of which most is broken isn't read to its end."""
_SHAPES = 1000
"""Different sets of columns that are looked at in a file."""
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True)
class Unusual:
    """Something odd that was kept: how many rows (or files, where its name says so) have it, and the first of them."""

    count: int
    first: str


@dataclass(frozen=True)
class Reading:
    """What files gave. `layouts` counts rows by layout, `unusual` what has an oddity, by its name."""

    rows: Rows
    broken: tuple[Broken, ...]
    layouts: Mapping[str, int]
    unusual: Mapping[str, Unusual]


@dataclass(frozen=True)
class Parsed:
    """A record that can be used. `shape`: its columns and their kinds, where no record of the file before had them."""

    layout: str
    record: Record
    unusual: tuple[str, ...]
    shape: Shape | None


def read_files(
    format: Format,
    files: Sequence[Path],
    fields: Mapping[str, str],
    root: Path,
    path: Path,
    names: Mapping[Path, str] = MappingProxyType({}),
) -> Reading:
    """The rows of all files, numbered by what they are: how they are spread over files changes nothing.

    Args:
        files: of the kinds that `file_formats` knows; one that stands twice is read once.
        fields: the format's field to the file's column. Whole files have no columns, so it doesn't concern them.
        root: files are named relative to it, where they lie in it.
        path: the Parquet file that the rows are written to, with memory that doesn't grow with their number.
        names: what files are called that aren't known by their paths, as those fetched from elsewhere.

    Raises:
        UserError: a file is empty, damaged, or of an unknown kind, or more than 1% of the records are broken.
    """
    tally = _Tally()
    records = _records(format, files, fields, root, names, tally)
    builder = RowsBuilder(path)
    for record in records:
        builder.add(record)
    return Reading(builder.finish(), tuple(tally.broken), dict(tally.layouts), tally.all_unusual())


def _records(
    format: Format,
    files: Sequence[Path],
    fields: Mapping[str, str],
    root: Path,
    names: Mapping[Path, str],
    tally: _Tally,
) -> Iterator[Record]:
    if not files:
        raise UserError("there is no file to read", "name at least one under `files:`")
    for file in dict.fromkeys(files):
        name = names.get(file) or name_of(file, root)
        before = tally.total
        yield from tally.kept(name, parse_file(file, name, format, fields))
        if tally.total == before:
            raise UserError("the file holds no record", "remove the file, or take it out of `files:`", place=name)
    tally.check()


def parse_file(path: Path, name: str, format: Format, fields: Mapping[str, str]) -> Iterator[Parsed | Broken]:
    """The records of one file, in its order. Depends on nothing else, so any process can run it.

    Raises UserError where the file can't be read, or not any further.
    """
    kind = kind_of(name)
    if kind.is_document and format != "documents":
        raise UserError(f"a {kind.kind} is a document, not {format}", "use `.jsonl`", place=name)
    seen: set[tuple[object, ...]] = set()
    for line, found in records_in(path, name, kind):
        try:
            layout, canonical, text, unusual = _read(format, fields, kind, found)
        except BrokenError as error:
            yield Broken(name, line, str(error))
            continue
        shape = None
        if isinstance(found, dict) and len(seen) < _SHAPES:
            signature = (*found, *map(type, found.values()))
            if signature not in seen:
                seen.add(signature)
                shape = shape_of(found)
        yield Parsed(layout, Record(canonical, text, name, line), unusual, shape)


def _read(
    format: Format, fields: Mapping[str, str], kind: FileKind, found: Found
) -> tuple[str, str, str, tuple[str, ...]]:
    """Layout, canonical JSON for the identity, JSON of the record, oddities."""
    if isinstance(found, BrokenError):
        raise found
    if isinstance(found, str):
        if "\0" in found:
            raise BrokenError("it holds a NUL byte, so it is no text")
        canonical = canonical_json({"text": found})
        return kind.kind, canonical, canonical, ()
    record = renamed(found, fields)
    canonical = _text(canonical_json, record)
    layout, record, unusual = arranged(format, record)
    if "\\u0000" in canonical and _NUL.search(canonical):
        unusual = (*unusual, "records with a NUL character")
    as_read = format == "documents" and layout == "text"  # the order of keys matters in tools alone
    return layout, canonical, canonical if as_read else _text(_ordered_json, record), unusual


def _ordered_json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False)


def _text(written: Callable[[dict[str, Any]], str], record: dict[str, Any]) -> str:
    """JSON of a record that can be encoded in UTF-8; texts in a record that are JSON may hide what can't be."""
    try:
        text = written(record)
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError as error:
        raise BrokenError("it holds half of a surrogate pair, which is no character") from error
    except ValueError as error:
        raise BrokenError("it holds a number out of range, or NaN") from error
    if len(text) > LONGEST:
        raise BrokenError(f"it is longer than {LONGEST >> 20} MiB")
    return text


@dataclass
class _Tally:
    """What is counted while files are read."""

    total: int = 0
    broken: list[Broken] = field(default_factory=list)
    layouts: Counter[str] = field(default_factory=Counter)
    unusual: dict[str, Unusual] = field(default_factory=dict)
    columns: Columns = field(default_factory=Columns)

    def kept(self, name: str, items: Iterator[Parsed | Broken]) -> Iterator[Record]:
        """The records of a file, counted as they go by."""
        layouts: set[str] = set()
        self.columns.begin(name)
        for item in items:
            self.total += 1
            if isinstance(item, Broken):
                self.broken.append(item)
                if len(self.broken) > _HOPELESS and 2 * len(self.broken) > self.total:
                    self.check()
                continue
            self.layouts[item.layout] += 1
            place = f"{name}:{item.record.line}"
            for reason in item.unusual:
                self._count(reason, place)
            if item.layout not in layouts:
                layouts.add(item.layout)
                if len(layouts) == 2:
                    self._count("files that mix layouts", place)
            if item.shape is not None:
                self.columns.add(item.shape)
            yield item.record

    def check(self) -> None:
        check_broken(len(self.broken), self.broken, self.total, "mend these lines or delete them" + _mend(self.broken))

    def all_unusual(self) -> dict[str, Unusual]:
        return self.unusual | {name: Unusual(*each) for name, each in self.columns.differences().items()}

    def _count(self, reason: str, place: str) -> None:
        seen = self.unusual.get(reason, Unusual(0, place))
        self.unusual[reason] = Unusual(seen.count + 1, seen.first)


def _mend(broken: Sequence[Broken]) -> str:
    """What helps beside mending each line, by the first reason that it helps against."""
    for item in broken:
        for about, help in _MENDS.items():
            if about in item.reason:
                return f"; {help}"
    return ""


_MENDS = {
    "(it has ": "a column under another name is mapped with `fields: {FIELD: COLUMN}`",
    "has the role": "chats whose messages are named otherwise are read from `messages` (`role`, `content`) or from "
    "`conversations` (`from`, `value`)",
    "UTF-": "save the file in UTF-8",
}
"""Words of reasons, and what to do."""
