"""The file that rows lie in: Parquet, sorted, in row groups of a bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runtime.data.external_sort import Item, grouped

SCHEMA = pa.schema(
    [
        ("identity", pa.binary(32)),
        ("occurrence", pa.int32()),
        ("file", pa.dictionary(pa.int32(), pa.string())),
        ("line", pa.int64()),
        ("record", pa.large_string()),
        ("size", pa.int64()),
        ("parent", pa.int64()),
    ]
)
"""Columns of a table of rows.

identity: SHA-256 of the record as read, after `fields:`, all its columns included, as canonical JSON.
occurrence: 0, 1, … among rows of the same identity.
file, line: where it stands (line from 1), for people only.
record: JSON with the order of keys as written, since templates write tools in that order. Documents have `text`, chats
    `messages` and perhaps `tools`; further columns are kept.
size: bytes of the record in UTF-8.
parent: the number of the row that a transform made it from, among the rows that it took; -1 for a row of a file. For
    people only.
"""

GROUP_BYTES = 4 << 20
"""Of records, that a row group holds: what is decompressed to read any of them."""


def batches(items: Iterable[Item]) -> Iterator[pa.RecordBatch]:
    """Batches of SCHEMA, each a row group, of sorted items; occurrences are counted."""
    last, occurrence = b"", 0
    for group in grouped(items, GROUP_BYTES):
        occurrences: list[int] = []
        for identity, *_ in group:
            occurrence = occurrence + 1 if identity == last else 0
            last = identity
            occurrences.append(occurrence)
        identities, records, files, lines, parents = zip(*group, strict=True)
        columns = [
            pa.array(identities, pa.binary(32)),
            pa.array(occurrences, pa.int32()),
            pa.array(files, pa.string()).dictionary_encode(),
            pa.array(lines, pa.int64()),
            pa.array(records, pa.large_string()),
            pa.array(map(len, records), pa.int64()),
            pa.array(parents, pa.int64()),
        ]
        yield pa.record_batch(columns, schema=SCHEMA)


class RowWriter:
    """A Parquet file of SCHEMA that is there once it is whole. Each table is a row group."""

    def __init__(self, path: Path) -> None:
        self._path, self._draft = path, path.with_name(f"{path.name}.tmp")

    def __enter__(self) -> RowWriter:
        options: dict[str, Any] = {
            "compression": dict.fromkeys(SCHEMA.names, "zstd") | {"identity": "none"},  # hashes can't be made smaller
            "use_dictionary": ["file"],
            "write_statistics": False,
        }
        self._writer = pq.ParquetWriter(self._draft, SCHEMA, **options)
        return self

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._writer.close()
        if kind is None:
            self._draft.rename(self._path)
        else:
            self._draft.unlink()
