"""Tokens of a source on disk, in TensorStore: written in pieces, read by row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from runtime.data.encode import Encoded
from runtime.data.rows import Rows
from runtime.data.streams import Source

Flat = Literal["tokens", "trained", "roles"]

_TYPES = {
    "tokens": "int32",
    "trained": "bool",
    "roles": "uint8",
    "offsets": "int64",
    "trained_lengths": "int64",
    "identity": "uint8",
    "occurrence": "int32",
}
"""Arrays of a store. The first three have one element a token; `offsets` has one a row and one more; `identity` has 32
a row, one behind the other."""
_FILE, _CHUNK = 1 << 23, 1 << 15
"""Elements of a file, and of what is compressed as one, so that a row is read without its file."""
_CACHE = ts.Context({"cache_pool": {"total_bytes_limit": 256 << 20}})


@dataclass(frozen=True)
class TokenStore:
    """Rows of tokens, sorted by identity and occurrence. Facts of every row are in memory, tokens on disk.

    Attributes:
        folder: holds one zarr3 array for each of `_TYPES`.
        starts: int64[n], where each row begins in the flat arrays.
        lengths: int64[n], its tokens.
        trained_lengths: int64[n], those of them that are trained.
        identity: uint8[n, 32]; occurrence: int32[n]; as in `Rows`.
    """

    folder: Path
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    trained_lengths: NDArray[np.int64]
    identity: NDArray[np.uint8]
    occurrence: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.starts)

    def source(self, name: str, content: str) -> Source:
        """The lengths that an order is made of; for the arguments see `Source`."""
        return Source(name, content, self.lengths, self.trained_lengths)

    def select(self, numbers: NDArray[np.int64]) -> TokenStore:
        """The rows with these numbers; nothing is copied."""
        return replace(
            self,
            starts=self.starts[numbers],
            lengths=self.lengths[numbers],
            trained_lengths=self.trained_lengths[numbers],
            identity=self.identity[numbers],
            occurrence=self.occurrence[numbers],
        )

    def numbers_of(self, rows: Rows) -> NDArray[np.int64]:
        """int64[len(rows)], the numbers that these rows have here, -1 for those that are not here."""
        here = {name: number for number, name in enumerate(_names(self.identity, self.occurrence))}
        return np.array([here.get(name, -1) for name in _names(rows.identity, rows.occurrence)], np.int64)

    def read(
        self, array: Flat, numbers: NDArray[np.int64], begins: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[Any]:
        """Pieces of rows, one behind the other: of row `numbers[i]`, `lengths[i]` tokens from its `begins[i]`-th."""
        return self._arrays[array][ranges(self.starts[numbers] + begins, lengths)].read().result()

    @cached_property
    def _arrays(self) -> dict[str, ts.TensorStore]:
        return {name: _open(self.folder / name) for name in ("tokens", "trained", "roles")}


def ranges(starts: NDArray[np.integer], lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """`starts[0]`, `starts[0] + 1`, … (`lengths[0]` of them), then those of `starts[1]`, and so on; int64."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)


def open_store(folder: Path) -> TokenStore:
    """The store that `write_store` left in a folder."""
    read = {
        name: np.asarray(_open(folder / name).read().result())
        for name in ("offsets", "trained_lengths", "identity", "occurrence")
    }
    return TokenStore(
        folder=folder,
        starts=read["offsets"][:-1],
        lengths=np.diff(read["offsets"]),
        trained_lengths=read["trained_lengths"],
        identity=read["identity"].reshape(-1, 32),
        occurrence=read["occurrence"],
    )


def store_digest(store: TokenStore) -> str:
    """SHA-256, in hexadecimal, of everything that the store holds of its rows."""
    hasher = hashlib.sha256()
    for array in (store.lengths, store.identity, store.occurrence):
        hasher.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    everything = np.zeros_like(store.lengths)
    kinds: dict[Flat, str] = {"tokens": "<i4", "trained": "u1", "roles": "u1"}
    for name, kind in kinds.items():
        for first in range(0, len(store), _DIGEST_ROWS):
            rows = np.arange(first, min(first + _DIGEST_ROWS, len(store)))
            hasher.update(store.read(name, rows, everything[rows], store.lengths[rows]).astype(kind).tobytes())
    return hasher.hexdigest()


_DIGEST_ROWS = 4096


def write_store(folder: Path, rows: Rows, pieces: Iterable[tuple[int, Encoded]]) -> TokenStore:
    """Writes tokens into an empty folder, piece by piece, and opens them.

    Args:
        pieces: batches in the order of rows, each with the number of the row that its `kept` counts from.
    """
    writers = {name: _Writer(folder / name, kind) for name, kind in _TYPES.items()}
    writers["offsets"].add(np.zeros(1, np.int64))
    end = 0
    for first, piece in pieces:
        numbers = piece.kept + first
        writers["tokens"].add(piece.tokens)
        writers["trained"].add(piece.trained)
        writers["roles"].add(piece.roles)
        writers["offsets"].add(piece.offsets[1:] + end)
        writers["trained_lengths"].add(piece.trained_lengths)
        writers["identity"].add(rows.identity[numbers].reshape(-1))
        writers["occurrence"].add(rows.occurrence[numbers])
        end += int(piece.offsets[-1])
    for writer in writers.values():
        writer.close()
    return open_store(folder)


class _Writer:
    """A one-dimensional zarr3 array that grows by whole files."""

    def __init__(self, folder: Path, kind: str) -> None:
        shard = {
            "chunk_shape": [_CHUNK],
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}} if kind[-1] in "24" else {"name": "bytes"},
                {"name": "zstd", "configuration": {"level": 1}},
            ],
        }
        self._array = ts.open(
            {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": str(folder)},
                "metadata": {
                    "data_type": kind,
                    "shape": [0],
                    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [_FILE]}},
                    "codecs": [{"name": "sharding_indexed", "configuration": shard}],
                },
            },
            create=True,
        ).result()
        self._waiting: list[NDArray[Any]] = []
        self._count = 0

    def add(self, values: NDArray[Any]) -> None:
        self._waiting.append(values)
        self._count += len(values)
        if self._count >= _FILE:
            whole = np.concatenate(self._waiting)
            cut = len(whole) - len(whole) % _FILE
            self._write(whole[:cut])
            self._waiting, self._count = [whole[cut:]], len(whole) - cut

    def close(self) -> None:
        if self._count:
            self._write(np.concatenate(self._waiting))

    def _write(self, values: NDArray[Any]) -> None:
        start = self._array.shape[0]
        self._array = self._array.resize(exclusive_max=[start + len(values)]).result()
        self._array[start:].write(values).result()


def _open(folder: Path) -> ts.TensorStore:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder)}}
    return ts.open(spec, open=True, read=True, context=_CACHE).result()


def _names(identity: NDArray[np.uint8], occurrence: NDArray[np.int32]) -> Sequence[bytes]:
    joined = np.hstack([identity, occurrence.astype("<i4")[:, None].view(np.uint8)])
    data, width = joined.tobytes(), joined.shape[1]
    return [data[start : start + width] for start in range(0, len(data), width)]
