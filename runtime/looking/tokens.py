"""The tokens of a row as a model reads them, in runs of one role that are trained on or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from runtime.data.encoded import ROLES
from runtime.data.rows import Rows
from runtime.data.store import TokenStore, open_store


@dataclass(frozen=True)
class Run:
    """Neighbouring tokens of one role and one mask, as text. `tokens` is how many; `side` is that of a pair."""

    text: str
    role: str
    trained: bool
    tokens: int
    side: Literal["chosen", "rejected"] | None = None


def runs_of_row(folder: Path, tokenizer: Tokenizer, row: Rows) -> list[Run]:
    """The tokens of one row in the store of a folder, as runs; nothing where the store doesn't have it."""
    store = open_store(folder)
    number = int(store.numbers_of(row)[0])
    return [] if number < 0 else runs(store, tokenizer, number, 0, int(store.lengths[number]))


def by_side(runs: Sequence[Run]) -> list[tuple[str | None, list[Run]]]:
    """The runs of a row, or of either side of a pair with the side's name."""
    return [(side, list(of_side)) for side, of_side in groupby(runs, key=lambda run: run.side)]


def side_at(store: TokenStore, number: int, token: int) -> Literal["chosen", "rejected"] | None:
    """Which side of a pair a token of a row is of; None where the row is no pair."""
    second = int(store.seconds[number])
    return None if second == 0 else "chosen" if token < second else "rejected"


def runs(store: TokenStore, tokenizer: Tokenizer, number: int, begin: int, length: int) -> list[Run]:
    """`length` tokens of a row from its `begin`-th on, as runs."""
    where = np.array([number]), np.array([begin]), np.array([length])
    tokens, trained, roles = (store.read(name, *where) for name in ("tokens", "trained", "roles"))
    second = begin + np.arange(length) >= store.seconds[number]
    marks = (roles, trained.astype(np.int8), second.astype(np.int8))
    edges = np.flatnonzero(np.any([np.diff(mark.astype(np.int64), prepend=-1) for mark in marks], axis=0))
    return [
        Run(
            text=_text(tokenizer, tokens[first:last]),
            role=ROLES[int(roles[first])],
            trained=bool(trained[first]),
            tokens=last - first,
            side=side_at(store, number, begin + first),
        )
        for first, last in zip(edges.tolist(), [*edges[1:].tolist(), len(tokens)], strict=True)
    ]


def _text(tokenizer: Tokenizer, tokens: NDArray[np.int32]) -> str:
    return tokenizer.decode(tokens.tolist(), skip_special_tokens=False)
