"""Packing and batches: every token exactly once, nothing across pieces, the same from any step on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.values import Amount, Quantity
from runtime.data.amounts import Part, Phase
from runtime.data.batches import batch, digest, rows_of
from runtime.data.order import Order, make_order
from runtime.data.packed import held, load_packing
from runtime.data.packing import Method, pack
from runtime.data.store import TokenStore, open_store, store_digest
from runtime.errors import UserError
from tests.runtime.data.stores import store_of


def order_of(stores: list[TokenStore], epochs: int = 1, **options: Any) -> Order:
    parts = tuple(
        Part(number, Amount("quantity", Quantity(Fraction(epochs), "epochs"))) for number in range(len(stores))
    )
    phases = options.get("phases", [Phase(None, parts)])
    sources = [store.source(str(number), str(number)) for number, store in enumerate(stores)]
    return make_order(sources, phases, options.get("budget"), None, Fraction(epochs), "error", 11)


def place(source: int, number: int) -> str:
    return f"source {source}: row {number}"


def expected(stores: list[TokenStore], order: Order) -> dict[tuple[int, int], int]:
    """How often the order has each row."""
    counts: dict[tuple[int, int], int] = {}
    for source, number in zip(*(array.tolist() for array in order.rows(0, len(order))), strict=True):
        counts[source, number] = counts.get((source, number), 0) + 1
    return counts


lengths = st.lists(st.integers(1, 100), min_size=1, max_size=80)


@given(st.lists(lengths, min_size=1, max_size=2), st.integers(2, 40), st.integers(1, 5), st.integers(1, 2))
@settings(max_examples=30, deadline=None)
def test_every_token_once_and_no_piece_across_rows(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[list[int]], sequence: int, rows: int, epochs: int
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    stores = [store_of(folder / str(number), each, number) for number, each in enumerate(sizes)]
    order = order_of(stores, epochs)
    packing = pack(order, stores, "best_fit", sequence, rows, place)
    read: list[int] = []
    trained: list[int] = []
    seen: dict[tuple[int, int], int] = {}
    for step in range(packing.updates):
        made = batch(packing, stores, step)
        assert made.tokens.shape == (rows, sequence)
        there = made.segments > 0
        assert not made.tokens[~there].any()
        assert not made.positions[~there].any()
        assert not made.trained[~there].any()
        read += made.tokens[there].tolist()
        trained += made.tokens[made.trained].tolist()
        assert made.trained.sum() == packing.trained_by_update[step]
        assert there.sum() == packing.tokens_by_update[step]
        for piece in rows_of(packing, stores, step):
            of = slice(piece.column, piece.column + piece.length)
            start = stores[piece.source].starts[piece.number] + piece.begin + 1_000_000 * piece.source
            assert made.tokens[piece.row, of].tolist() == list(range(start, start + piece.length))
            assert made.positions[piece.row, of].tolist() == list(range(piece.length))
            assert len(set(made.segments[piece.row, of].tolist())) == 1
            assert not made.trained[piece.row, piece.column]
            name = (piece.source, piece.number)
            seen[name] = seen.get(name, 0) + piece.length
        for row in made.segments:
            used = row[row > 0].tolist()
            assert used == sorted(used)
            assert (row > 0).tolist() == sorted((row > 0).tolist(), reverse=True)
    everything = [
        token
        for (source, number), count in expected(stores, order).items()
        for token in np.arange(stores[source].lengths[number]) + stores[source].starts[number] + 1_000_000 * source
        for _ in range(count)
    ]
    assert sorted(read) == sorted(everything)
    assert packing.tokens == len(read)
    assert packing.trained_tokens == len(trained)
    assert packing.padded == packing.updates * rows * sequence - len(read)
    counts = expected(stores, order)
    assert seen == {name: count * int(stores[name[0]].lengths[name[1]]) for name, count in counts.items()}
    assert int(packing.split) >= sum(count for (s, n), count in counts.items() if stores[s].lengths[n] > sequence) > -1
    total = held(packing, len(stores), packing.updates)
    assert total[:, 0].sum() == len(order)
    assert total[:, 1].sum() == packing.tokens
    assert total[:, 2].sum() == packing.trained_tokens


def test_trained_tokens_are_the_store_s_less_the_first_of_each_piece(tmp_path: Path) -> None:
    stores = [store_of(tmp_path / "a", [10, 25, 7])]
    packing = pack(order_of(stores), stores, "best_fit", 10, 2, place)
    batches = [batch(packing, stores, step) for step in range(packing.updates)]
    trained = sorted(token for made in batches for token in made.tokens[made.trained].tolist())
    cut = {
        token
        for start, length in zip(stores[0].starts.tolist(), stores[0].lengths.tolist(), strict=True)
        for token in range(start, start + length, 10)
    }
    assert trained == [token for token in range(42) if token % 3 > 0 and token not in cut]
    assert int(packing.split) == 1


def test_best_fit_wastes_little(tmp_path: Path) -> None:
    sizes = np.random.default_rng(0).integers(5, 400, 3000).tolist()
    stores = [store_of(tmp_path / "a", sizes)]
    packing = pack(order_of(stores), stores, "best_fit", 512, 4, place)
    room = (len(packing.bins) - 1) * 512
    assert room - packing.tokens < 0.02 * room


def test_the_last_batch_may_be_short_and_is_not_dropped(tmp_path: Path) -> None:
    stores = [store_of(tmp_path / "a", [8] * 10)]
    packing = pack(order_of(stores), stores, "none", 8, 4, place)
    assert packing.updates == 3
    made = batch(packing, stores, 2)
    assert made.tokens.shape == (4, 8)
    assert (made.segments > 0).sum() == 16
    assert not made.segments[2:].any()


def test_none_pads_to_few_lengths(tmp_path: Path) -> None:
    stores = [store_of(tmp_path / "a", [3, 20, 26, 51, 75, 100, 1, 2])]
    packing = pack(order_of(stores), stores, "none", 100, 1, place)
    assert sorted(packing.widths.tolist()) == [32, 32, 32, 32, 32, 56, 80, 104]
    assert len(order_of(stores)) == packing.updates
    for step in range(packing.updates):
        assert len(rows_of(packing, stores, step)) == 1
    with pytest.raises(UserError) as caught:
        pack(order_of(stores), stores, "none", 99, 1, place)
    assert caught.value.message == "a row has 100 tokens, more than a sequence of 99; `packing: none` splits none"
    assert caught.value.place is not None
    assert caught.value.place.startswith("source 0: row ")
    assert "raise `sequence`" in caught.value.help
    assert "filter(tokens in 1..99)" in caught.value.help


def test_windows_do_not_cross_phases(tmp_path: Path) -> None:
    stores = [store_of(tmp_path / "a", [10] * 100, 0), store_of(tmp_path / "b", [10] * 100, 1)]
    half = Fraction(1, 2)
    alone = [(Part(number, Amount("percent", Fraction(1))),) for number in range(2)]
    order = order_of(
        stores, phases=[Phase(half, alone[0]), Phase(half, alone[1])], budget=Quantity(Fraction(1000), "tokens")
    )
    packing = pack(order, stores, "best_fit", 64, 1, place)
    assert packing.sources.tolist() == [0] * 50 + [1] * 50


@pytest.mark.parametrize("method", ["none", "best_fit"])
def test_resuming_at_any_step_equals_the_tail(tmp_path: Path, method: Method) -> None:
    sizes = np.random.default_rng(1).integers(2, 60, 300).tolist()
    stores = [store_of(tmp_path / "a", sizes, 0), store_of(tmp_path / "b", sizes[:50], 1)]
    packing = pack(order_of(stores), stores, method, 64, 4, place)
    packing.save(tmp_path / "packing.npz")
    whole = [batch(packing, stores, step) for step in range(packing.updates)]
    for start in range(packing.updates):
        again = load_packing(tmp_path / "packing.npz")
        reopened = [open_store(store.folder) for store in stores]
        for step in (start, packing.updates - 1):
            made = batch(again, reopened, step)
            for name in ("tokens", "segments", "positions", "trained"):
                assert (getattr(made, name) == getattr(whole[step], name)).all()


def test_a_prefix_is_the_beginning_of_the_whole(tmp_path: Path) -> None:
    sizes = np.random.default_rng(1).integers(2, 60, 300).tolist()
    stores = [store_of(tmp_path / "a", sizes, 0)]
    order = order_of(stores)
    packing = pack(order, stores, "best_fit", 64, 4, place)
    prefix = pack(order, stores, "best_fit", 64, 4, place, updates=5)
    assert prefix.updates == 5
    for step in range(5):
        assert (batch(prefix, stores, step).tokens == batch(packing, stores, step).tokens).all()
    assert held(prefix, 1, 5).tolist() == held(packing, 1, 5).tolist()
    assert digest(prefix, stores) != digest(packing, stores)


def test_the_digest_is_of_what_is_trained_on(tmp_path: Path) -> None:
    sizes = np.random.default_rng(1).integers(2, 60, 50).tolist()
    first, same = store_of(tmp_path / "a", sizes), store_of(tmp_path / "b", sizes)
    other = store_of(tmp_path / "c", sizes, 1)
    packing = pack(order_of([first]), [first], "best_fit", 64, 4, place)
    assert digest(packing, [first]) == digest(packing, [same])
    assert digest(packing, [first]) != digest(packing, [other])
    assert store_digest(first) == store_digest(same) != store_digest(other)


def test_stores_are_read_by_row(tmp_path: Path) -> None:
    store = store_of(tmp_path / "a", [5, 1, 9])
    pieces = np.array([2, 0]), np.array([3, 0]), np.array([4, 5])
    assert store.read("tokens", *pieces).tolist() == [9, 10, 11, 12, 0, 1, 2, 3, 4]
    chosen = store.select(np.array([2]))
    assert chosen.read("tokens", np.array([0]), np.array([0]), np.array([2])).tolist() == [6, 7]
    assert (chosen.lengths.tolist(), len(chosen)) == ([9], 1)


def test_a_store_larger_than_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.data.store._FILE", 64)
    monkeypatch.setattr("runtime.data.store._CHUNK", 16)
    store = store_of(tmp_path / "a", [50, 70, 100, 3])
    everything = np.arange(4), np.zeros(4, np.int64), store.lengths
    assert store.read("tokens", *everything).tolist() == list(range(223))
    assert store.trained_lengths.tolist() == [
        int(store.read("trained", *(a[i : i + 1] for a in everything)).sum()) for i in range(4)
    ]
