"""The tokens of a row as a model reads them, in runs of one role that are trained on or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from runtime.data.encoded import ROLES
from runtime.data.rows import Rows
from runtime.data.store import TokenStore, open_store


@dataclass(frozen=True)
class Run:
    """Neighbouring tokens of one role and one mask, as text. `tokens` is how many."""

    text: str
    role: str
    trained: bool
    tokens: int


def runs_of_row(folder: Path, tokenizer: Tokenizer, row: Rows) -> list[Run]:
    """The tokens of one row in the store of a folder, as runs; nothing where the store doesn't have it."""
    store = open_store(folder)
    number = int(store.numbers_of(row)[0])
    return [] if number < 0 else runs(store, tokenizer, number, 0, int(store.lengths[number]))


def runs(store: TokenStore, tokenizer: Tokenizer, number: int, begin: int, length: int) -> list[Run]:
    """`length` tokens of a row from its `begin`-th on, as runs."""
    where = np.array([number]), np.array([begin]), np.array([length])
    tokens, trained, roles = (store.read(name, *where) for name in ("tokens", "trained", "roles"))
    edges = np.flatnonzero(np.diff(roles, prepend=-1) | np.diff(trained.astype(np.int8), prepend=-1))
    return [
        Run(_text(tokenizer, tokens[first:last]), ROLES[int(roles[first])], bool(trained[first]), int(last - first))
        for first, last in zip(edges.tolist(), [*edges[1:].tolist(), len(tokens)], strict=True)
    ]


def _text(tokenizer: Tokenizer, tokens: NDArray[np.int32]) -> str:
    return tokenizer.decode(tokens.tolist(), skip_special_tokens=False)
