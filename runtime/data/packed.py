"""Which piece of which row stands in which batch, row and column, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.data.saved_arrays import load_arrays, save_arrays


@dataclass(frozen=True)
class Packing:
    """Batches of token rows. Everything is an array, and mapped once it was saved: a step costs what it reads of them.

    A batch is `rows` token rows wide and `widths[step]` tokens long; the last one may hold fewer than `rows`.

    Attributes:
        rows: int64[], token rows of a batch.
        widths: int64[updates], tokens of each of a batch's rows.
        bins: int64[token rows + 1], the piece at which each token row begins.
        sources: int32[pieces], index of the source; `numbers`: int64[pieces], number of the row in it.
        begins, lengths: int32[pieces], which tokens of the row.
        columns: int32[pieces], where in the token row it stands.
        trained: int32[pieces], trained tokens of it. A piece's first token has no predecessor and is none.
        split: int64[], how many examples were longer than a sequence, and split or cut.
        cut: int64[], tokens of theirs that no batch holds; 0 where they were split.
    """

    rows: NDArray[np.int64]
    widths: NDArray[np.int64]
    bins: NDArray[np.int64]
    sources: NDArray[np.int32]
    numbers: NDArray[np.int64]
    begins: NDArray[np.int32]
    lengths: NDArray[np.int32]
    columns: NDArray[np.int32]
    trained: NDArray[np.int32]
    split: NDArray[np.int64]
    cut: NDArray[np.int64]

    @property
    def updates(self) -> int:
        return len(self.widths)

    @property
    def edges(self) -> NDArray[np.int64]:
        """int64[updates + 1], the piece at which each batch begins."""
        return self.bins[np.minimum(np.arange(self.updates + 1) * int(self.rows), len(self.bins) - 1)]

    @property
    def tokens_by_update(self) -> NDArray[np.int64]:
        """int64[updates], tokens that each batch reads; padding doesn't count."""
        return _sums(self.lengths, self.edges)

    @property
    def trained_by_update(self) -> NDArray[np.int64]:
        """int64[updates], trained tokens of each batch."""
        return _sums(self.trained, self.edges)

    @property
    def examples_by_update(self) -> NDArray[np.int64]:
        """int64[updates], examples of each batch; a split one counts where its first piece stands."""
        return _sums((self.begins == 0).astype(np.int32), self.edges)

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum(dtype=np.int64))

    @property
    def trained_tokens(self) -> int:
        return int(self.trained.sum(dtype=np.int64))

    @property
    def padded(self) -> int:
        """Places of all batches that hold no token, those of rows that fill a short batch up among them."""
        return int(self.widths.sum() * self.rows) - self.tokens

    def save(self, folder: Path) -> None:
        save_arrays(self, folder)


def load_packing(folder: Path) -> Packing:
    """What `save` wrote; costs the same whatever its size. UserError where it is damaged."""
    return load_arrays(Packing, folder)


def held(packing: Packing, sources: int, updates: int) -> NDArray[np.int64]:
    """What the first `updates` batches hold of each source: int64[sources, 3], examples, tokens and trained tokens.

    A split example counts where its first piece stands.
    """
    stop = int(packing.edges[updates])
    of = packing.sources[:stop]
    counted = (packing.begins[:stop] == 0, packing.lengths[:stop], packing.trained[:stop])
    return np.stack([np.bincount(of, column, sources).astype(np.int64) for column in counted], axis=1)


def _sums(values: NDArray[np.int32], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    before = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    return before[edges[1:]] - before[edges[:-1]]
