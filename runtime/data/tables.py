"""Reads the rows of tables: Parquet, Arrow and CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runtime.data.broken import BrokenError
from runtime.data.lines import LONGEST, ReadBytes, decoded, lines, unreadable
from runtime.errors import UserError

_ROWS = 256
"""Rows that are turned into Python at a time."""
_BUFFER = 1 << 20


def parquet_rows(path: Path, name: str) -> Iterator[tuple[int, dict[str, Any] | BrokenError]]:
    """Rows with their numbers from 1; a row group is read page by page, however large it is. Raises UserError."""
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            yield from _rows(file.schema_arrow, file.iter_batches(_ROWS), name)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(error, name) from error


def arrow_rows(path: Path, name: str) -> Iterator[tuple[int, dict[str, Any] | BrokenError]]:
    """Rows with their numbers from 1, of an IPC file (Feather is one) or an IPC stream. Raises UserError."""
    try:
        with pa.OSFile(str(path)) as file:
            magic = file.read(6)
            file.seek(0)
            if magic == b"ARROW1":
                reader = pa.ipc.open_file(file)
                batches = map(reader.get_batch, range(reader.num_record_batches))
            else:
                reader = batches = pa.ipc.open_stream(file)
            yield from _rows(reader.schema, map(_validated, batches), name)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(error, name) from error


def csv_rows(read: ReadBytes, name: str) -> Iterator[tuple[int, dict[str, Any] | BrokenError]]:
    """Rows with the line that each ends at; every value is a text, since `007` is not 7. The first row names columns.

    Python's reader and not Arrow's, since it goes on after a broken row, and tells where that is.
    """
    csv.field_size_limit(LONGEST)
    at = 0

    def text(line: tuple[int, bytes | BrokenError]) -> str:
        nonlocal at
        at, content = line
        if isinstance(content, BrokenError):
            raise content
        return decoded(content) + "\n"

    rows = csv.reader(map(text, lines(read)), strict=True)
    columns: list[str] = []
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except (csv.Error, BrokenError) as error:
            reason = f"it is not CSV: {error}" if isinstance(error, csv.Error) else str(error)
            if not columns:
                raise UserError(f"the names of columns can't be read: {reason}", "mend the first row", name) from error
            yield at, BrokenError(reason)
            continue
        if not row:
            continue  # a blank line
        if not columns:
            _check_columns(row, name)
            columns = row
        elif len(row) != len(columns):
            yield at, BrokenError(f"it has {len(row)} values for {len(columns)} columns")
        else:
            yield at, dict(zip(columns, row, strict=True))


def _validated(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Offsets of a file that lie would lead outside of its memory."""
    batch.validate(full=True)
    return batch


def _rows(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], name: str
) -> Iterator[tuple[int, dict[str, Any] | BrokenError]]:
    _check_columns(schema.names, name)
    plain = all(_is_plain(field.type) for field in schema)
    number = 1
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS):
            part = batch.slice(start, _ROWS)
            for row in _listed(part):
                yield number, row if plain or isinstance(row, BrokenError) else _as_json(row)
                number += 1


def _listed(batch: pa.RecordBatch) -> list[Any]:
    """Rows as Python values; one by one where one of them can't be."""
    try:
        return batch.to_pylist(maps_as_pydicts="strict")
    except (UnicodeDecodeError, ValueError, KeyError) as error:
        if batch.num_rows == 1:
            reason = "it is not in UTF-8" if isinstance(error, UnicodeDecodeError) else f"it can't be read: {error}"
            return [BrokenError(reason)]
        return [row for number in range(batch.num_rows) for row in _listed(batch.slice(number, 1))]


def _check_columns(names: list[str], name: str) -> None:
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice is not None:
        raise UserError(f"the file has two columns '{twice}'", "give each column its own name", place=name)


def _is_plain(kind: pa.DataType) -> bool:
    """Whether Python's values of a type are those of JSON as they are."""
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    return any(
        is_one(kind)
        for is_one in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_integer,
            pa.types.is_floating,
            pa.types.is_boolean,
            pa.types.is_null,
        )
    )


def _as_json(row: dict[str, Any]) -> dict[str, Any] | BrokenError:
    try:
        return {column: _value(value, column) for column, value in row.items() if value is not None}
    except BrokenError as error:
        return error


def _value(value: Any, column: str) -> Any:
    """Dates and times in ISO 8601, decimals as texts with all their digits; in an object, what is null isn't there.

    A struct has every field that any row has, so null is how a missing one is written.
    """
    match value:
        case dict():
            return {name: _value(inner, column) for name, inner in value.items() if inner is not None}
        case list():
            return [_value(inner, column) for inner in value]
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal():
            return str(value)
        case None | str() | bool() | int() | float():
            return value
        case bytes():
            raise BrokenError(f"its column '{column}' holds bytes, which JSON can't hold")
        case _:
            raise BrokenError(f"its column '{column}' holds a {type(value).__name__}, which JSON can't hold")
