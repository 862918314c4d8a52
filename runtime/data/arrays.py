"""Long one-dimensional arrays on disk: zarr3 of plain files, so that any zarr3 reader opens them and ours maps them.

The files hold the elements as they are, little-endian, all files equally many; the last is filled up with zeros. A
mapped file costs no memory of its own, no file handle and no thread, however many are open.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import tensorstore as ts
from numpy.typing import NDArray

from runtime.errors import UserError

ONE_FILE = 1 << 62
"""As many elements as a file may hold, so that there is only one."""


class FlatArray(Protocol):
    """A one-dimensional array, wherever it is."""

    size: int
    dtype: np.dtype[Any]

    def copy(
        self, starts: NDArray[np.int64], lengths: NDArray[np.int64], into: NDArray[Any], places: NDArray[np.int64]
    ) -> None:
        """Copies slices, `lengths[i]` elements from `starts[i]` on, to `places[i]` of the flat array `into`."""
        ...


class ArrayWriter:
    """Writes a local array from its beginning to its end. It is there once `close` has been called."""

    def __init__(self, folder: Path, kind: str, file_size: int) -> None:
        """`kind` is the name of a NumPy type, `file_size` the elements of a file."""
        self._folder, self._dtype, self._file_size = folder, np.dtype(kind).newbyteorder("<"), file_size
        self._size = 0
        self._file: BinaryIO | None = None
        shutil.rmtree(folder, ignore_errors=True)  # of a writer that was killed
        (folder / "c").mkdir(parents=True)

    def add(self, values: NDArray[Any]) -> None:
        while len(values):
            number, within = divmod(self._size, self._file_size)
            if self._file is None:
                self._file = (self._folder / "c" / str(number)).open("wb")
            now = values[: self._file_size - within]
            self._file.write(np.ascontiguousarray(now, self._dtype).data)
            self._size += len(now)
            values = values[len(now) :]
            if self._size % self._file_size == 0:
                self._end_file()

    def close(self) -> None:
        chunk = max(min(self._size, self._file_size), 1)
        if self._file is not None:
            self._file.truncate(chunk * self._dtype.itemsize)
            self._end_file()
        endian = {} if self._dtype.itemsize == 1 else {"configuration": {"endian": "little"}}
        metadata = {
            "data_type": self._dtype.name,
            "shape": [self._size],
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [chunk]}},
            "codecs": [{"name": "bytes", **endian}],
        }
        ts.open({**_spec(str(self._folder)), "metadata": metadata}, create=True).result()

    def _end_file(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file = None


def open_array(location: str) -> FlatArray:
    """An array in a local folder, whose files are mapped, or at a URL (`gs://…`), which TensorStore reads.

    Raises UserError for a local array that isn't whole. (zarr takes a file that is missing for zeros.)
    """
    return _RemoteArray(location) if "://" in location else _MappedArray(Path(location))


def open_whole(location: str) -> NDArray[Any]:
    """All of an array that was written as one file: mapped where it is local, else in memory."""
    array = open_array(location)
    if isinstance(array, _MappedArray):
        return array.file(0)[: array.size] if array.size else np.empty(0, array.dtype)
    found = np.empty(array.size, array.dtype)
    array.copy(np.zeros(1, np.int64), np.full(1, array.size), found, np.zeros(1, np.int64))
    return found


class _MappedArray:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            metadata = json.loads((folder / _METADATA).read_bytes())
            self.size = int(metadata["shape"][0])
            self.dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
            self._file_size = int(metadata["chunk_grid"]["configuration"]["chunk_shape"][0])
            codecs = [codec["name"] for codec in metadata["codecs"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise damaged(folder, f"{_METADATA} can't be read: {error}") from None
        if codecs != ["bytes"]:
            raise damaged(folder, f"it is written with {', '.join(codecs)}, and only plain arrays are read")
        self._files: dict[int, NDArray[Any]] = {}
        for number in range(-(-self.size // self._file_size)):
            self._check(number)

    def file(self, number: int) -> NDArray[Any]:
        if number not in self._files:
            with pa.memory_map(self._path(number)) as opened:  # what is mapped outlives the handle
                one_byte = opened.read_buffer(1)  # a read of all would have the kernel fetch the whole file
                self._files[number] = np.frombuffer(one_byte.parent, self.dtype)
        return self._files[number]

    def copy(
        self, starts: NDArray[np.int64], lengths: NDArray[np.int64], into: NDArray[Any], places: NDArray[np.int64]
    ) -> None:
        numbers, begins = np.divmod(starts, self._file_size)
        files = {number: self.file(number) for number in set(numbers.tolist())}
        slices = (each.tolist() for each in (numbers, begins, begins + lengths, places, places + lengths))
        for number, begin, end, place, stop in zip(*slices, strict=True):  # faster than a gather of single elements
            if end <= self._file_size:
                into[place:stop] = files[number][begin:end]
            else:
                into[place:stop] = np.concatenate(list(self._across(number, begin, end)))

    def _across(self, number: int, begin: int, end: int) -> Iterator[NDArray[Any]]:
        """A slice that goes on in the next files; `end` counts from the beginning of the first."""
        while end > 0:
            yield self.file(number)[begin : min(end, self._file_size)]
            number, begin, end = number + 1, 0, end - self._file_size

    def _path(self, number: int) -> str:
        return f"{self._folder}/c/{number}"

    def _check(self, number: int) -> None:
        expected = self._file_size * self.dtype.itemsize
        try:
            found = os.stat(self._path(number)).st_size
        except FileNotFoundError:
            raise damaged(self._folder, f"its file {number} is missing") from None
        if found != expected:
            raise damaged(self._folder, f"its file {number} has {found:,} bytes instead of {expected:,}")


class _RemoteArray:
    def __init__(self, location: str) -> None:
        self._location = location
        spec = {**_spec(location), "fill_missing_data_reads": False}
        with self._errors():
            self._array = ts.open(spec, open=True, read=True, context=_CACHE).result()
        self.size = int(self._array.shape[0])
        self.dtype = self._array.dtype.numpy_dtype

    def copy(
        self, starts: NDArray[np.int64], lengths: NDArray[np.int64], into: NDArray[Any], places: NDArray[np.int64]
    ) -> None:
        with self._errors():
            into[ranges(places, lengths)] = self._array[ranges(starts, lengths)].read().result()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:  # TensorStore's, whatever is wrong
            raise damaged(self._location, f"it can't be read: {error}") from None


def ranges(starts: NDArray[np.integer], lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """`starts[0]`, `starts[0] + 1`, … (`lengths[0]` of them), then those of `starts[1]`, and so on; int64."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)


def in_turns(numbers: NDArray[np.int64], lengths: NDArray[np.int64], most: int) -> Iterator[NDArray[np.int64]]:
    """`numbers` in parts whose lengths come to about `most`; a longer one has a part of its own."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    edges = np.unique([0, *np.searchsorted(ends, np.arange(most, total, most)).tolist(), len(numbers)])
    return (numbers[first:stop] for first, stop in pairwise(edges.tolist()))


def damaged(folder: Path | str, what: str) -> UserError:
    """The error of a step's folder that isn't what was written."""
    return UserError(f"the data is damaged: {what}", "remove the folder of this step, and run again", str(folder))


_METADATA = "zarr.json"
_CACHE = ts.Context({"cache_pool": {"total_bytes_limit": 256 << 20}})


def _spec(location: str) -> dict[str, Any]:
    store = location if "://" in location else {"driver": "file", "path": location}
    return {"driver": "zarr3", "kvstore": store}
