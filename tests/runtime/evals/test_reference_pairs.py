"""The reference of preference training: each pair once, whatever it is computed with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.data.batches import by_segment, rows_of
from runtime.data.packing import pack
from runtime.evals import pairs as reference
from runtime.evals.pairs import pairs_of, reference_of, respond, token_count
from tests.runtime.data.test_packing import order_of, place
from tests.runtime.data.test_pairs import pairs_store


def by_token(tokens: np.ndarray, segments: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """A model that gives each token less its own number over 1000, which no packing changes."""
    return np.where(positions > 0, -tokens / 1000, 0).astype(np.float32)


@pytest.mark.parametrize("at_once", [1, 60, 1 << 22])
def test_every_pair_that_is_used_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(reference, "_AT_ONCE", at_once)
    stores = [pairs_store(tmp_path / "a", [(5, 9), (12, 3), (4, 4)]), pairs_store(tmp_path / "b", [(3, 7)] * 5, 1)]
    order = order_of(stores, 2)
    pairs = pairs_of(order)
    assert pairs.tolist() == [[0, 0], [0, 1], [0, 2], *([1, number] for number in range(5))]
    shapes: set[tuple[int, ...]] = set()
    read: list[int] = []

    def model(*arrays: np.ndarray) -> np.ndarray:
        shapes.add(arrays[0].shape)
        return by_token(*arrays)

    table = respond(stores, pairs, model, read.append)
    assert len(shapes) == 1
    assert sum(read) == token_count(stores, pairs) == 37 + 50
    assert table["chosen_tokens"].to_pylist() == [3, 10, 2, *[1] * 5]
    assert table["rejected_tokens"].to_pylist() == [7, 1, 2, *[5] * 5]
    # The first pair's rows are tokens 0 to 13: of 0 to 4 the first two are the prompt's, and of 5 to 13.
    np.testing.assert_allclose(table["chosen"][0].as_py(), -(2 + 3 + 4) / 1000, rtol=1e-5)
    np.testing.assert_allclose(table["rejected"][0].as_py(), -sum(range(7, 14)) / 1000, rtol=1e-5)
    packing = pack(order, stores, "best_fit", 12, 2, place)
    both = reference_of(table, pairs, packing.sources, packing.numbers)
    values = np.where(packing.begins > 0, both[:, 1], both[:, 0])
    for step in range(packing.updates):
        of_segments = by_segment(packing, values, step)
        places: dict[int, int] = {}
        for piece in rows_of(packing, stores, step):
            slot = places[piece.row] = places.get(piece.row, -1) + 1
            store = stores[piece.source]
            where = np.array([piece.number]), np.array([piece.begin]), np.array([piece.length])
            tokens, trained = store.read("tokens", *where), store.read("trained", *where)
            np.testing.assert_allclose(of_segments[piece.row, slot], -tokens[trained].sum() / 1000, rtol=1e-5)


def test_rows_that_no_order_uses_are_not_asked(tmp_path: Path) -> None:
    from fractions import Fraction

    from dsl.values import Amount, Quantity
    from runtime.data.mixed import Mixed, Part, Phase
    from runtime.data.order import make_order

    store = pairs_store(tmp_path, [(4, 4)] * 50)
    part = Part(0, Amount("quantity", Quantity(Fraction(20), "examples")))
    order = make_order([store.source("a", "a")], Mixed((Phase(None, (part,)),), None, Fraction(1)), None, 3)
    used = pairs_of(order)
    assert len(used) == 20
    assert sorted(used[:, 1].tolist()) == sorted(order.rows(0, 20)[1].tolist())
