"""Rows: records of one format in an order that does not depend on files, each with its identity and its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Format = Literal["documents", "chat", "preference", "prompts"]

SCHEMA = pa.schema(
    [
        ("identity", pa.binary(32)),
        ("occurrence", pa.int32()),
        ("file", pa.dictionary(pa.int32(), pa.string())),
        ("line", pa.int64()),
        ("record", pa.large_string()),
        ("parent", pa.int64()),
    ]
)
"""Columns of a table of rows.

identity: SHA-256 of the record as read, after `fields:`, all its columns included, as canonical JSON.
occurrence: 0, 1, … among rows of the same identity.
file, line: where it stands (line from 1), for people only.
record: JSON with the order of keys as written, since templates write tools in that order. Documents have `text`, chats
    `messages` and perhaps `tools`; further columns are kept.
parent: the number of the row that a transform made it from, among the rows that it took; -1 for a row of a file. For
    people only.
"""


@dataclass(frozen=True)
class Rows:
    """A table of SCHEMA, sorted by identity and occurrence. A row's number is its place in it."""

    table: pa.Table

    def __len__(self) -> int:
        return self.table.num_rows

    @cached_property
    def identity(self) -> NDArray[np.uint8]:
        """uint8[n, 32]."""
        return np.frombuffer(b"".join(self.table["identity"].to_pylist()), np.uint8).reshape(-1, 32)

    @cached_property
    def occurrence(self) -> NDArray[np.int32]:
        """int32[n]."""
        return self.table["occurrence"].to_numpy()

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of everything but files and lines."""
        hasher = hashlib.sha256(self.identity.tobytes())
        hasher.update(self.occurrence.astype("<i4").tobytes())
        for text in self._texts(0, len(self)):
            hasher.update(hashlib.sha256(text.encode()).digest())
        return hasher.hexdigest()

    def records(self, start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
        """The records of rows `start` to `stop` (exclusive; None is all), parsed."""
        return map(json.loads, self._texts(start, len(self) if stop is None else stop))

    def select(self, numbers: NDArray[np.integer] | NDArray[np.bool_]) -> Rows:
        """The rows with these numbers, in rising order, or those marked true."""
        return Rows(self.table.filter(pa.array(numbers)) if numbers.dtype == np.bool_ else self.table.take(numbers))

    def place(self, number: int) -> str:
        """FILE:LINE of a row."""
        return f"{self.table['file'][number].as_py()}:{self.table['line'][number].as_py()}"

    def _texts(self, start: int, stop: int) -> Iterator[str]:
        for chunk in self.table["record"].slice(start, stop - start).iterchunks():
            yield from chunk.to_pylist()


@dataclass(frozen=True)
class Record:
    """One record as read: `canonical` is what its identity is the hash of, `text` the JSON of the record itself."""

    canonical: str
    text: str
    file: str
    line: int
    parent: int = -1


def derived(rows: Rows, made: Iterable[tuple[int, Mapping[str, Any]]], path: Path) -> Rows:
    """Rows of new records, each made from the row of a number: known by what they are now, placed where that one is.

    Args:
        made: number of the row of `rows`, and the record; in any order, any number of them a row.
        path: the Parquet file that holds them from now on.
    """
    files, lines = rows.table["file"].to_pylist(), rows.table["line"].to_pylist()
    records = (
        Record(canonical_json(record), json.dumps(record, ensure_ascii=False), files[number], lines[number], number)
        for number, record in made
    )
    result = make_rows(records)
    pq.write_table(result.table, path)
    return result


def make_rows(records: Iterable[Record]) -> Rows:
    """Sorts records by identity and counts occurrences. Equal ones are told apart by nothing that matters."""
    hashed = sorted(
        (hashlib.sha256(record.canonical.encode()).digest(), record.text, record.file, record.line, record.parent)
        for record in records
    )
    identities = [item[0] for item in hashed]
    occurrences: list[int] = []
    for number, identity in enumerate(identities):
        repeated = number > 0 and identity == identities[number - 1]
        occurrences.append(occurrences[-1] + 1 if repeated else 0)
    columns = [
        pa.array(identities, pa.binary(32)),
        pa.array(occurrences, pa.int32()),
        pa.array([item[2] for item in hashed], pa.string()).dictionary_encode(),
        pa.array([item[3] for item in hashed], pa.int64()),
        pa.array([item[1] for item in hashed], pa.large_string()),
        pa.array([item[4] for item in hashed], pa.int64()),
    ]
    return Rows(pa.Table.from_arrays(columns, schema=SCHEMA))


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no blanks and UTF-8 characters as they are. ValueError for what JSON can't hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
