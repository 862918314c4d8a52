"""The prompts of an update: their tokens and rows, from the packed order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.data.batches import rows_of
from runtime.data.packed import Packing
from runtime.data.rows import Rows
from runtime.data.store import TokenStore


@dataclass(frozen=True)
class AskedPrompt:
    """One prompt of an update.

    Attributes:
        tokens: as the model reads them, with the generation prompt.
        record: the row.
        identity, occurrence: name the row anywhere; place: FILE:LINE of it.
    """

    tokens: tuple[int, ...]
    record: Mapping[str, Any]
    identity: str
    occurrence: int
    place: str


def asked_prompts(
    packing: Packing,
    stores: Sequence[TokenStore],
    rows: Sequence[Callable[[], Rows]],
    update: int,
) -> list[AskedPrompt]:
    """The prompts of an update, counted from 1, in the order of its batch.

    Args:
        rows: what opens the rows that each store's tokens are of.
    """
    found: list[AskedPrompt] = []
    for piece in rows_of(packing, stores, update - 1):
        where = np.array([piece.number]), np.array([piece.begin]), np.array([piece.length])
        tokens = stores[piece.source].read("tokens", *where)
        of = rows[piece.source]()
        number = of.find(bytes.fromhex(piece.identity), piece.occurrence)
        record = next(iter(of.records(number, number + 1)))
        found.append(AskedPrompt(tuple(tokens.tolist()), record, piece.identity, piece.occurrence, of.place(number)))
    return found


def sample_seed(seed: int, update: int, number: int, prompt: AskedPrompt, sample: int) -> int:
    """The random stream of an answer, from 0 to 2 ** 64 - 1: it follows from the seed, the update, the prompt's place
    in it and its row, and the number of the sample."""
    told = f"{seed}/{update}/{number}/{prompt.identity}/{prompt.occurrence}/{sample}"
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big")
