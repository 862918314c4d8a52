"""Stores of made-up tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime.data.encoded import Encoded
from runtime.data.rows import Record, canonical_json, make_rows
from runtime.data.store import TokenStore, finish_store, write_piece


def store_of(folder: Path, lengths: Sequence[int], salt: int = 0) -> TokenStore:
    """A store of rows with these lengths. Every token is another number; a third of them isn't trained."""
    rows = make_rows(
        Record(text := canonical_json([salt, number]), text, "made up", 1) for number in range(len(lengths))
    )
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = np.arange(offsets[-1], dtype=np.int32) + 1_000_000 * salt
    trained = tokens % 3 > 0
    trained[offsets[:-1]] = False
    roles = np.full(len(tokens), 5, np.uint8)
    encoded = Encoded(np.arange(len(lengths)), offsets, tokens, trained, roles, {})
    write_piece(folder, 0, encoded, rows.identity, rows.occurrence)
    return finish_store(folder, 1)
