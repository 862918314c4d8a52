"""Reads files to rows: JSON lines, Markdown and text, with broken records set aside and counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from runtime.data.layouts import BrokenError, arranged, renamed
from runtime.data.rows import Format, Record, Rows, canonical_json, make_rows
from runtime.errors import UserError

WHOLE_FILES = {".md": "Markdown", ".markdown": "Markdown", ".txt": "text file"}
JSON_LINES = (".jsonl", ".ndjson")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SHOWN = 5
"""Broken records that an error names."""


@dataclass(frozen=True)
class Broken:
    """A record that was set aside, with the reason in words."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True)
class Unusual:
    """Something odd that was kept: how many rows have it, and the first of them."""

    count: int
    first: str


@dataclass(frozen=True)
class Reading:
    """What files gave. `layouts` counts rows by layout, `unusual` those with an oddity, by its name."""

    rows: Rows
    broken: tuple[Broken, ...]
    layouts: Mapping[str, int]
    unusual: Mapping[str, Unusual]


def read_files(format: Format, files: Sequence[Path], fields: Mapping[str, str], root: Path) -> Reading:
    """The rows of all files, numbered by what they are: how they are spread over files changes nothing.

    Args:
        files: JSON lines, one record a line; or Markdown and text files, each one document, whole.
        fields: the format's field to the file's column. Whole files have no columns, so it doesn't concern them.
        root: files are named relative to it, where they lie in it.

    Raises:
        UserError: a file is empty or of an unknown kind, or more than 1% of the records are broken.
    """
    broken: list[Broken] = []
    records: list[Record] = []
    layouts: Counter[str] = Counter()
    unusual: dict[str, Unusual] = {}
    for path in files:
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
        before = len(records) + len(broken)
        for line, item in _items(path, name, format):
            try:
                layout, canonical, record, odd = _read(format, fields, item)
                records.append(Record(canonical, record, name, line))
            except BrokenError as error:
                broken.append(Broken(name, line, str(error)))
                continue
            layouts[layout] += 1
            for reason in odd:
                seen = unusual.get(reason, Unusual(0, f"{name}:{line}"))
                unusual[reason] = Unusual(seen.count + 1, seen.first)
        if len(records) + len(broken) == before:
            raise UserError("the file holds no record", "remove the file, or take it out of `files:`", place=name)
    if not files:
        raise UserError("there is no file to read", "name at least one under `files:`")
    check_broken(broken, len(records) + len(broken), "mend these lines or delete them" + _mend(broken))
    return Reading(make_rows(records), tuple(broken), dict(layouts), unusual)


def check_broken(broken: Sequence[object], total: int, mend: str) -> None:
    """UserError where more than 1% of `total` records are broken; each prints as its place and reason."""
    if len(broken) * 100 <= total:
        return
    shown = "".join(f"\n  {item}" for item in broken[:SHOWN])
    more = f"\n  and {len(broken) - SHOWN:,} more" if len(broken) > SHOWN else ""
    raise UserError(f"{len(broken):,} of {total:,} records can't be used; more than 1% stops here:{shown}{more}", mend)


def expand(patterns: Iterable[str], root: Path) -> list[Path]:
    """The files that paths and globs (`**` among them) name, relative to `root`, sorted and each once.

    Raises UserError where a pattern names none.
    """
    found: set[Path] = set()
    for pattern in patterns:
        if "://" in pattern:
            raise UserError(f"can't read '{pattern}'", "copy the files here, and name them by path")
        relative = pattern.removeprefix("/")
        base = Path(Path.cwd().anchor) if relative != pattern else root
        matches = [path for path in base.glob(relative) if path.is_file()]
        if not matches:
            raise _no_match(pattern, base, Path(relative))
        found.update(matches)
    return sorted(found)


def _no_match(pattern: str, base: Path, relative: Path) -> UserError:
    """Walks down as far as folders exist, and names what is nearest there."""
    folder, rest = base, list(relative.parts)
    while rest and (folder / rest[0]).is_dir():
        folder = folder / rest.pop(0)
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    near = get_close_matches(rest[0], names, 1) if rest else []
    if near:
        help = f"did you mean '{near[0]}'? It is in {folder}"
    elif names:
        help = f"{folder} holds {', '.join(names[:SHOWN])}" + (", …" if len(names) > SHOWN else "")
    else:
        help = f"{folder} is empty" if folder.is_dir() else f"there is no folder {folder}"
    return UserError(f"no file matches '{pattern}'", help)


def _items(path: Path, name: str, format: Format) -> Iterator[tuple[int, bytes | tuple[str, bytes]]]:
    """Line number and bytes of each record; for a whole file its kind too. Blank lines hold no record."""
    suffix = path.suffix.lower()
    try:
        if suffix in JSON_LINES:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    record = (line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line).strip()
                    if record:
                        yield number, record
        elif suffix in WHOLE_FILES:
            if format != "documents":
                raise UserError(f"a {WHOLE_FILES[suffix]} is a document, not {format}", "use `.jsonl`", place=name)
            content = path.read_bytes().removeprefix(_BYTE_ORDER_MARK)
            if content.strip():
                yield 1, (WHOLE_FILES[suffix], content)
        else:
            known = ", ".join((*JSON_LINES, *WHOLE_FILES))
            raise UserError(f"can't read a file that ends in '{path.suffix}'", f"use one of {known}", place=name)
    except OSError as error:
        raise UserError(
            f"can't read the file: {error.strerror}", "check its path and its permissions", place=name
        ) from error


def _read(
    format: Format, fields: Mapping[str, str], item: bytes | tuple[str, bytes]
) -> tuple[str, str, str, tuple[str, ...]]:
    """Layout, canonical JSON for the identity, JSON of the record, oddities."""
    if isinstance(item, tuple):
        layout, content = item
        record: dict[str, Any] = {"text": _decoded(content)}
        arranged(format, record)
        canonical = canonical_json(record)
        return layout, canonical, canonical, ()
    record = renamed(_object(_decoded(item)), fields)
    try:
        canonical = canonical_json(record)
        canonical.encode()
    except UnicodeEncodeError as error:
        raise BrokenError("it holds half of a surrogate pair, which is no character") from error
    except ValueError as error:
        raise BrokenError("it holds a number out of range") from error
    layout, record, odd = arranged(format, record)
    return layout, canonical, json.dumps(record, ensure_ascii=False), odd


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BrokenError("it is in UTF-16, not in UTF-8") from error
        raise BrokenError(f"it is not in UTF-8 (byte 0x{content[error.start]:02x} at {error.start + 1})") from error


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise BrokenError(f"it is not JSON: {error.msg} at column {error.colno}") from error
    except (RecursionError, ValueError) as error:
        raise BrokenError(f"it is not JSON that can be read: {error}") from error
    if not isinstance(value, dict):
        raise BrokenError("it is JSON, but not an object: each line holds one record in braces")
    return value


def _no_constant(name: str) -> NoReturn:
    raise BrokenError(f"it is not JSON: {name} is no number")


def _mend(broken: Sequence[Broken]) -> str:
    if any("no column" in item.reason for item in broken):
        return "; a column under another name is mapped with `fields: {FIELD: COLUMN}`"
    if any("UTF-" in item.reason for item in broken):
        return "; save the file in UTF-8"
    return ""
