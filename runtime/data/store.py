"""Tokens of a source on disk: written in pieces by any number of processes, joined, and read by row."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from runtime.data.arrays import ONE_FILE, ArrayWriter, FlatArray, damaged, in_turns, open_array, open_whole
from runtime.data.encoded import Encoded
from runtime.data.rows import Rows
from runtime.data.streams import Source
from runtime.disk import write_atomically

Flat = Literal["tokens", "trained", "roles"]

_FLAT: dict[Flat, str] = {"tokens": "int32", "trained": "bool", "roles": "uint8"}
"""Arrays with one element a token."""
_FACTS = {
    "offsets": "int64",
    "trained_lengths": "int64",
    "seconds": "int32",
    "identity": "uint8",
    "occurrence": "int32",
}
"""Arrays of the rows: `offsets` has one element a row and one more, `identity` 32 a row, one behind the other."""
_FILE = 1 << 23
"""Tokens of a file."""
_PIECES = "pieces"


@dataclass(frozen=True)
class TokenStore:
    """Rows of tokens, sorted by identity and occurrence. Nothing of a local store is in memory before it is asked for.

    Attributes:
        location: folder or URL of one zarr3 array for each of `_FLAT` and `_FACTS`.
        arrays: those of `_FLAT`.
        starts, stops: int64[n], where each row begins and ends in them.
        trained_lengths: int64[n], trained tokens of each row.
        seconds: int32[n], where in each row the second side of a pair begins; 0 in rows that are none.
        identity: uint8[n, 32]; occurrence: int32[n]; as in `Rows`.
    """

    location: str
    arrays: dict[Flat, FlatArray]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    trained_lengths: NDArray[np.int64]
    seconds: NDArray[np.int32]
    identity: NDArray[np.uint8]
    occurrence: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """int64[n], tokens of each row."""
        return self.stops - self.starts

    @cached_property
    def longest(self) -> NDArray[np.int64]:
        """int64[n], tokens that each row takes of a sequence: all of them, or those of a pair's longer side."""
        return np.maximum(self.seconds, self.lengths - self.seconds)

    def source(self, name: str, content: str) -> Source:
        """The lengths that an order is made of; for the arguments see `Source`."""
        return Source(name, content, self.lengths, self.trained_lengths)

    def select(self, numbers: NDArray[np.int64]) -> TokenStore:
        """The rows with these numbers; no token is copied."""
        return replace(
            self,
            starts=self.starts[numbers],
            stops=self.stops[numbers],
            trained_lengths=self.trained_lengths[numbers],
            seconds=self.seconds[numbers],
            identity=self.identity[numbers],
            occurrence=self.occurrence[numbers],
        )

    def numbers_of(self, rows: Rows) -> NDArray[np.int64]:
        """int64[len(rows)], the numbers that these rows have here, -1 for those that are not here."""
        here, wanted = _names(self.identity, self.occurrence), _names(rows.identity, rows.occurrence)
        if not len(here):
            return np.full(len(wanted), -1)
        found = np.minimum(np.searchsorted(here, wanted), len(here) - 1)
        return np.where(here[found] == wanted, found, -1)

    def read(
        self, array: Flat, numbers: NDArray[np.int64], begins: NDArray[np.int64], lengths: NDArray[np.integer]
    ) -> NDArray[Any]:
        """Slices of rows, one behind the other: of row `numbers[i]`, `lengths[i]` tokens from its `begins[i]`-th."""
        stops = np.cumsum(lengths, dtype=np.int64)
        found = np.empty(stops[-1] if len(stops) else 0, _FLAT[array])
        self.copy(array, numbers, begins, lengths, found, stops - lengths)
        return found

    def copy(
        self,
        array: Flat,
        numbers: NDArray[np.int64],
        begins: NDArray[np.integer],
        lengths: NDArray[np.integer],
        into: NDArray[Any],
        places: NDArray[np.int64],
    ) -> None:
        """The same, each slice to where `places[i]` is in the flat array `into`."""
        self.arrays[array].copy(self.starts[numbers] + begins, lengths.astype(np.int64, copy=False), into, places)


def open_store(location: Path | str) -> TokenStore:
    """The store that `finish_store` left in a folder, or a copy of it at a URL.

    Raises UserError for a store that isn't whole.
    """
    arrays: dict[Flat, FlatArray] = {name: open_array(f"{location}/{name}") for name in _FLAT}
    facts = {name: open_whole(f"{location}/{name}") for name in _FACTS}
    rows, tokens = len(facts["offsets"]) - 1, int(facts["offsets"][-1]) if len(facts["offsets"]) else -1
    expected = {**dict.fromkeys(_FLAT, tokens), **dict.fromkeys(_FACTS, rows), "identity": 32 * rows}
    del expected["offsets"]
    found = {name: array.size for name, array in (arrays | facts).items()}
    for name, size in expected.items():
        if found[name] != size:
            raise damaged(location, f"`{name}` has {found[name]:,} elements, and the offsets ask for {size:,}")
    return TokenStore(
        location=str(location),
        arrays=arrays,
        starts=facts["offsets"][:-1],
        stops=facts["offsets"][1:],
        trained_lengths=facts["trained_lengths"],
        seconds=facts["seconds"],
        identity=facts["identity"].reshape(-1, 32),
        occurrence=facts["occurrence"],
    )


def store_digest(store: TokenStore) -> str:
    """SHA-256, in hexadecimal, of everything that the store holds of its rows."""
    hasher = hashlib.sha256()
    for array in (store.lengths, store.identity, store.occurrence):
        hasher.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    if store.seconds.any():
        hasher.update(np.ascontiguousarray(store.seconds, "<i4").data)
    for name in _FLAT:
        for rows in in_turns(np.arange(len(store)), store.lengths, _DIGEST_TOKENS):
            values = store.read(name, rows, np.zeros_like(rows), store.lengths[rows])
            hasher.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return hasher.hexdigest()


_DIGEST_TOKENS = 1 << 22


def write_piece(
    folder: Path, number: int, encoded: Encoded, identity: NDArray[np.uint8], occurrence: NDArray[np.int32]
) -> None:
    """Writes a batch of rows, whole or not at all, into the folder that is to become a store.

    Args:
        number: of the piece, from 0: pieces are joined in this order, whoever writes which and when.
        identity, occurrence: uint8[k, 32] and int32[k], those of all rows of the batch; `encoded.kept` counts in them.
    """
    values = {
        "tokens": encoded.tokens,
        "trained": encoded.trained,
        "roles": encoded.roles,
        "offsets": encoded.offsets,
        "trained_lengths": encoded.trained_lengths,
        "seconds": np.zeros(len(encoded.kept), np.int64) if encoded.seconds is None else encoded.seconds,
        "identity": identity[encoded.kept].reshape(-1),
        "occurrence": occurrence[encoded.kept],
        "set_aside": np.frombuffer(json.dumps(list(encoded.set_aside.items())).encode(), np.uint8),
        "dropped": np.frombuffer(json.dumps(dict(encoded.dropped)).encode(), np.uint8),
    }
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **values)
    path = _piece(folder, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def pieces_done(folder: Path) -> set[int]:
    """Numbers of the pieces that are written."""
    names = (re.fullmatch(r"(\d+)\.npz", path.name) for path in (folder / _PIECES).glob("*"))
    return {int(name[1]) for name in names if name is not None}


def set_aside_of(folder: Path, number: int) -> dict[int, str]:
    """The rows of a written piece that can't be encoded, by index in their batch, with the reason."""
    (told,) = _of_piece(folder, number, "set_aside")
    return dict(json.loads(told.tobytes()))


def dropped_of(folder: Path, number: int) -> dict[str, int]:
    """Of how many rows of a written piece the template left something out, by what it is."""
    (told,) = _of_piece(folder, number, "dropped")
    return json.loads(told.tobytes())


def finish_store(folder: Path, count: int) -> TokenStore:
    """Joins pieces 0 to `count` (exclusive) to a store, removes them, and opens it. One piece is in memory at a time.

    A process that was killed here is followed by another that does it again.
    """
    writers = {name: ArrayWriter(folder / name, kind, _FILE) for name, kind in _FLAT.items()}
    writers |= {name: ArrayWriter(folder / name, kind, ONE_FILE) for name, kind in _FACTS.items()}
    writers["offsets"].add(np.zeros(1, np.int64))
    end = 0
    names = ("tokens", "trained", "roles", "trained_lengths", "seconds", "identity", "occurrence")
    for number in range(count):
        offsets, *arrays = _of_piece(folder, number, "offsets", *names)
        for name, array in zip(names, arrays, strict=True):
            writers[name].add(array)
        writers["offsets"].add(offsets[1:] + end)
        end += int(offsets[-1])
    for writer in writers.values():
        writer.close()
    shutil.rmtree(folder / _PIECES, ignore_errors=True)
    return open_store(folder)


def _piece(folder: Path, number: int) -> Path:
    return folder / _PIECES / f"{number:08}.npz"


def _of_piece(folder: Path, number: int, *names: str) -> list[NDArray[Any]]:
    """Arrays of a written piece. UserError where it is damaged."""
    try:
        with np.load(_piece(folder, number)) as piece:
            return [piece[name] for name in names]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise damaged(folder, f"its piece {number} can't be read: {error}") from None


def _names(identity: NDArray[np.uint8], occurrence: NDArray[np.int32]) -> NDArray[np.bytes_]:
    """Identity and occurrence as one text of 36 bytes a row, in the order of the rows."""
    joined = np.hstack([identity, occurrence.astype(">i4")[:, None].view(np.uint8)])
    return np.ascontiguousarray(joined).view("S36")[:, 0]
