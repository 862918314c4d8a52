"""Sorts more records than memory holds: sorted runs on disk, merged when all are there."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias
from weakref import finalize

import pyarrow as pa

Item: TypeAlias = tuple[bytes, bytes, str, int, int]
"""Identity, record in UTF-8, file, line, parent: items are sorted by all of it."""

_RUN = pa.schema(
    [
        ("identity", pa.binary(32)),
        ("record", pa.large_binary()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("parent", pa.int64()),
    ]
)
_RUN_BYTES = 64 << 20
"""What is sorted in memory."""
_READ_BYTES = 1 << 18
"""What is read of a run at once, while `_MERGED` of them are merged."""
_MERGED = 64
_OBJECT_BYTES = 400
"""What an item takes as Python objects, besides its record."""


class ExternalSort:
    """Takes items in any order and gives them sorted.

    Args:
        folder: where the runs are until then; made when there is more than memory should hold, and removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._remove = finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._waiting: list[Item] = []
        self._bytes = 0
        self._runs: list[Path] = []
        self._made = 0

    def add(self, item: Item) -> None:
        self._waiting.append(item)
        self._bytes += len(item[1]) + _OBJECT_BYTES
        if self._bytes >= _RUN_BYTES:
            self._spill(sorted(self._waiting))
            self._waiting, self._bytes = [], 0

    def sorted(self) -> Iterator[Item]:
        """All items, once."""
        while len(self._runs) > _MERGED:
            together, self._runs = self._runs[:_MERGED], self._runs[_MERGED:]
            self._spill(heapq.merge(*map(_read, together)))
            for run in together:
                run.unlink()
        yield from heapq.merge(*map(_read, self._runs), sorted(self._waiting))
        self._remove()

    def _spill(self, items: Iterable[Item]) -> None:
        self._folder.mkdir(exist_ok=True)
        run = self._folder / str(self._made)
        self._made += 1
        with pa.ipc.new_stream(str(run), _RUN, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            for group in grouped(items, _READ_BYTES):
                columns = zip(*group, strict=True)
                writer.write(pa.record_batch(list(map(pa.array, columns, _RUN.types)), schema=_RUN))
        self._runs.append(run)


def grouped(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items together until they have about `size` bytes."""
    group: list[Item] = []
    held = 0
    for item in items:
        group.append(item)
        held += len(item[1]) + ITEM_BYTES
        if held >= size:
            yield group
            group, held = [], 0
    if group:
        yield group


ITEM_BYTES = 64
"""What an item takes on disk, besides its record."""


def _read(run: Path) -> Iterator[Item]:
    with pa.OSFile(str(run)) as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
