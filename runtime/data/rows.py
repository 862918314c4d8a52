"""Rows: records of one format in an order that does not depend on files, each with its identity and its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from runtime.data.external_sort import ITEM_BYTES, ExternalSort, Item
from runtime.data.keys import row_hashes
from runtime.data.row_file import GROUP_BYTES, SCHEMA, RowWriter, batches

Format = Literal["documents", "chat", "preference", "prompts"]

BATCH = 1024
"""Rows that are looked at together."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows sorted by identity and occurrence; a row's number is its place among them.

    Records stay on disk and are read a row group at a time; a few numbers of each row are in memory, once asked for.
    It is pickled by its path.

    Attributes:
        source: a Parquet file of SCHEMA, or a table for what is small.
        numbers: int64[n], the rows of `source` that these are, in rising order; None for all.
    """

    source: Path | pa.Table
    numbers: NDArray[np.int64] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.numbers is None else len(self.numbers)

    def __reduce__(self) -> tuple[type[Rows], tuple[Path | pa.Table, NDArray[np.int64] | None]]:
        return Rows, (self.source, self.numbers) if isinstance(self.source, Path) else (self.table, None)

    @cached_property
    def identity(self) -> NDArray[np.uint8]:
        """uint8[n, 32]."""
        width = 32
        parts = [
            np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * width : (chunk.offset + len(chunk)) * width]
            for chunk in self._chunks("identity")
        ]
        return np.concatenate([np.zeros(0, np.uint8), *parts]).reshape(-1, width)

    @cached_property
    def occurrence(self) -> NDArray[np.int32]:
        """int32[n]."""
        return np.concatenate([np.zeros(0, np.int32), *map(np.asarray, self._chunks("occurrence"))])

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """int64[n], bytes of each record as JSON."""
        return np.concatenate([np.zeros(0, np.int64), *map(np.asarray, self._chunks("size"))])

    @cached_property
    def parents(self) -> NDArray[np.int64]:
        """int64[n], the row that each was made from, see SCHEMA."""
        return np.concatenate([np.zeros(0, np.int64), *map(np.asarray, self._chunks("parent"))])

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of everything but files and lines."""
        hasher = hashlib.sha256(self.identity.tobytes())
        hasher.update(self.occurrence.astype("<i4").tobytes())
        for text in self.texts():
            hasher.update(hashlib.sha256(text.encode()).digest())
        return hasher.hexdigest()

    def records(self, start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
        """The records of rows `start` to `stop` (exclusive; None is all), parsed."""
        return map(json.loads, self.texts(start, stop))

    def texts(self, start: int = 0, stop: int | None = None) -> Iterator[str]:
        """The same records as JSON."""
        for chunk in self._chunks("record", start, len(self) if stop is None else min(stop, len(self))):
            yield from chunk.to_pylist()

    def batches(self, size: int = BATCH) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """All records, `size` at a time, each batch with the number of its first row."""
        for first in range(0, len(self), size):
            yield first, list(self.records(first, first + size))

    def numbered(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Every row's number and record, read in batches."""
        for first, records in self.batches():
            yield from enumerate(records, first)

    def sampled(self, count: int, key: int) -> Rows:
        """At most `count` of the rows, those with the lowest hashes of what they are, under a key of `keys`."""
        hashes = row_hashes(self.identity, self.occurrence, key)
        return self.select(np.sort(np.argsort(hashes, kind="stable")[:count]))

    def find(self, identity: bytes, occurrence: int) -> int:
        """The number of a row that is here, by what it is."""
        identities = self.identity.view("S32")[:, 0]
        first, last = (int(np.searchsorted(identities, identity, side)) for side in ("left", "right"))
        return first + int(np.searchsorted(self.occurrence[first:last], occurrence))

    def pieces(self, size: int) -> list[tuple[int, int]]:
        """Cuts the rows into runs of about `size` bytes, so also of a bounded number of rows: first and last + 1.

        Where they are cut follows from the rows alone. A larger record makes a larger piece.
        """
        ends = np.cumsum(self.sizes + ITEM_BYTES)
        firsts = np.flatnonzero(np.diff((ends - self.sizes - ITEM_BYTES) // size, prepend=-1)).tolist()
        return list(zip(firsts, [*firsts[1:], len(self)], strict=True)) if firsts else []

    def select(self, numbers: NDArray[np.integer] | NDArray[np.bool_]) -> Rows:
        """The rows with these numbers, in rising order, or those marked true. No text is read or copied."""
        chosen = np.flatnonzero(numbers) if numbers.dtype == np.bool_ else numbers.astype(np.int64)
        return Rows(self.source, chosen if self.numbers is None else self.numbers[chosen])

    def place(self, number: int) -> str:
        """FILE:LINE of a row."""
        names, files, lines = self._places
        return f"{names[files[number]]}:{lines[number]}"

    def save(self, path: Path) -> Rows:
        """Writes the rows to a Parquet file of their own, and gives those."""
        with RowWriter(path) as writer:
            for first, last in self.pieces(GROUP_BYTES):
                columns = (
                    pa.chunked_array(self._chunks(name, first, last), SCHEMA.field(name).type) for name in SCHEMA.names
                )
                writer.write(pa.Table.from_arrays(list(columns), schema=SCHEMA))
        return open_rows(path)

    @property
    def table(self) -> pa.Table:
        """Everything in memory: for what is small."""
        columns = (pa.chunked_array(self._chunks(name), SCHEMA.field(name).type) for name in SCHEMA.names)
        return pa.Table.from_arrays(list(columns), schema=SCHEMA)

    @cached_property
    def _places(self) -> tuple[list[str], NDArray[np.int32], NDArray[np.int64]]:
        """Names of files, and each row's file among them and line."""
        codes: dict[str, int] = {}
        files = [np.zeros(0, np.int32)]
        for chunk in self._chunks("file"):
            names = chunk.dictionary.to_pylist()
            here = np.array([codes.setdefault(name, len(codes)) for name in names], np.int32)
            files.append(here[np.asarray(chunk.indices)])
        lines = np.concatenate([np.zeros(0, np.int64), *map(np.asarray, self._chunks("line"))])
        return list(codes), np.concatenate(files), lines

    def _chunks(self, column: str, start: int = 0, stop: int | None = None) -> Iterator[pa.Array]:
        """A column's values of rows `start` to `stop`, a row group at a time."""
        stop = len(self) if stop is None else stop
        while start < stop:
            first = start if self.numbers is None else int(self.numbers[start])
            group = int(np.searchsorted(self._ends, first, "right")) - 1
            begin, end = int(self._ends[group]), int(self._ends[group + 1])
            values = self._group(column, group)
            if self.numbers is None:
                last = min(stop, end)
                chosen = values.slice(start - begin, last - start)
            else:
                last = start + int(np.searchsorted(self.numbers[start:stop], end))
                chosen = values.take(pa.array(self.numbers[start:last] - begin))
            yield from chosen.chunks
            start = last

    def _group(self, column: str, group: int) -> pa.ChunkedArray:
        if not isinstance(self.source, Path):
            return self.source[column]
        if column != "record":
            return self._file.read_row_group(group, [column])[column]
        if self._last.get("group") != group:  # batches follow each other, several to a group
            self._last.update(group=group, values=self._file.read_row_group(group, [column])[column])
        return self._last["values"]

    @cached_property
    def _last(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _file(self) -> pq.ParquetFile:
        assert isinstance(self.source, Path)
        return pq.ParquetFile(self.source)

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """int64[groups + 1], 0 and the number of rows up to the end of each row group."""
        if not isinstance(self.source, Path):
            return np.array([0, self.source.num_rows])
        described = self._file.metadata
        counts = [described.row_group(group).num_rows for group in range(described.num_row_groups)]
        return np.cumsum([0, *counts])


@dataclass(frozen=True)
class Record:
    """One record as read: `canonical` is what its identity is the hash of, `text` the JSON of the record itself."""

    canonical: str
    text: str
    file: str
    line: int
    parent: int = -1


def open_rows(path: Path) -> Rows:
    """The rows that `RowsBuilder` or `Rows.save` left in a file."""
    return Rows(path)


def make_rows(records: Iterable[Record]) -> Rows:
    """Sorts a few records, in memory. Equal ones are told apart by nothing that matters."""
    return Rows(pa.Table.from_batches(batches(sorted(map(_item, records))), SCHEMA))


def derived(rows: Rows, made: Iterable[tuple[int, Mapping[str, Any]]], path: Path) -> Rows:
    """Rows of new records, each made from the row of a number: known by what they are now, placed where that one is.

    Args:
        made: number of the row of `rows`, and the record; in any order, any number of them a row.
        path: the Parquet file that holds them from now on.
    """
    builder = RowsBuilder(path)
    names, files, lines = rows._places
    for number, record in made:
        text = json.dumps(record, ensure_ascii=False)
        builder.add(Record(canonical_json(record), text, names[files[number]], int(lines[number]), number))
    return builder.finish()


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no blanks and UTF-8 characters as they are. ValueError for what JSON can't hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class RowsBuilder:
    """Makes rows of records that come in any order, in bounded memory.

    Gives what `make_rows` gives for the same records.

    Args:
        path: the Parquet file that holds the rows in the end. What is sorted until then lies beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sort = ExternalSort(path.with_name(f"{path.name}.runs"))

    def add(self, record: Record) -> None:
        """Takes one record; its place among the others follows from what it is."""
        self._sort.add(_item(record))

    def finish(self) -> Rows:
        """Writes the file, and gives the rows in it."""
        with RowWriter(self._path) as writer:
            for batch in batches(self._sort.sorted()):
                writer.write(pa.Table.from_batches([batch], SCHEMA))
        return open_rows(self._path)


def _item(record: Record) -> Item:
    identity = hashlib.sha256(record.canonical.encode()).digest()
    return identity, record.text.encode(), record.file, record.line, record.parent
