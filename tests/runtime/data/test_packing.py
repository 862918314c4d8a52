"""Packing and batches: every token exactly once, nothing across pieces, the same from any step on."""

from __future__ import annotations

import hashlib
import multiprocessing
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.values import Amount, Quantity
from runtime.data.batches import batch, digest, held_by, rows_of, sources_of
from runtime.data.fit import best_fit, first_fit
from runtime.data.mixed import Mixed, Part, Phase
from runtime.data.order import Order, make_order
from runtime.data.packed import Packing, held, load_packing
from runtime.data.packing import Long, Method, pack
from runtime.data.store import TokenStore, open_store
from runtime.errors import UserError
from tests.runtime.data.stores import store_of

FIELDS = ("tokens", "segments", "positions", "trained")
"""Of a batch, what data makes."""


def order_of(stores: list[TokenStore], epochs: int = 1, **options: Any) -> Order:
    parts = tuple(
        Part(number, Amount("quantity", Quantity(Fraction(epochs), "epochs"))) for number in range(len(stores))
    )
    phases = tuple(options.get("phases", [Phase(None, parts)]))
    sources = [store.source(str(number), str(number)) for number, store in enumerate(stores)]
    return make_order(sources, Mixed(phases, options.get("budget"), Fraction(epochs)), None, 11)


def place(source: int, number: int) -> str:
    return f"source {source}: row {number}"


def expected(stores: list[TokenStore], order: Order) -> dict[tuple[int, int], int]:
    """How often the order has each row."""
    counts: dict[tuple[int, int], int] = {}
    for source, number in zip(*(array.tolist() for array in order.rows(0, len(order))), strict=True):
        counts[source, number] = counts.get((source, number), 0) + 1
    return counts


lengths = st.lists(st.integers(1, 100), min_size=1, max_size=80)


@given(
    st.lists(lengths, min_size=1, max_size=2),
    st.integers(2, 40),
    st.integers(1, 5),
    st.integers(1, 2),
    st.sampled_from(["first_fit", "best_fit"]),
)
@settings(max_examples=40, deadline=None)
def test_every_token_once_and_no_piece_across_rows(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[list[int]],
    sequence: int,
    rows: int,
    epochs: int,
    method: Method,
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    stores = [store_of(folder / str(number), each, number) for number, each in enumerate(sizes)]
    order = order_of(stores, epochs)
    packing = pack(order, stores, method, sequence, rows, place)
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
        halves = [batch(packing, stores, step, slice(*cut)) for cut in ((0, rows // 2), (rows // 2, rows))]
        for name in FIELDS:
            assert (np.concatenate([getattr(half, name) for half in halves]) == getattr(made, name)).all()
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


def of_lengths(sizes: list[int], trained: list[int] | None = None) -> TokenStore:
    """A store without tokens: enough to pack rows of which none is split."""
    ends = np.cumsum(sizes, dtype=np.int64)
    return TokenStore(
        location="nowhere",
        arrays={},
        starts=ends - sizes,
        stops=ends,
        trained_lengths=np.array(trained or sizes),
        seconds=np.zeros(len(sizes), np.int32),
        identity=np.zeros((len(sizes), 32), np.uint8),
        occurrence=np.arange(len(sizes), dtype=np.int32),
    )


@pytest.mark.parametrize(("mean", "spread"), [(400, 0.6), (400, 0.9), (900, 0.4), (900, 0.6), (900, 0.9)])
def test_best_fit_fills_chats_to_98_percent(mean: int, spread: float) -> None:
    drawn = np.random.default_rng(0).lognormal(np.log(mean) - spread**2 / 2, spread, 30_000)
    store = of_lengths(np.clip(drawn.astype(np.int64), 8, 2048).tolist())
    packing = pack(order_of([store]), [store], "best_fit", 2048, 8, place)
    assert packing.tokens > 0.98 * 2048 * (len(packing.bins) - 1)


def test_first_fit_puts_each_row_into_the_first_that_has_room() -> None:
    assert first_fit(np.array([6, 5, 4, 5, 1, 9, 1]), 10)[0].tolist() == [0, 1, 0, 1, 2, 2, 3]
    assert first_fit(np.array([10]), 10) == (np.array([0]), 1)
    assert first_fit(np.array([], np.int64), 10)[1] == 0


@given(st.lists(st.integers(1, 30), max_size=60))
def test_first_fit_is_what_a_search_from_the_left_finds(sizes: list[int]) -> None:
    free: list[int] = []
    expected: list[int] = []
    for size in sizes:
        bin = next((number for number, room in enumerate(free) if room >= size), len(free))
        if bin == len(free):
            free.append(30)
        free[bin] -= size
        expected.append(bin)
    found, count = first_fit(np.array(sizes, np.int64), 30)
    assert (found.tolist(), count) == (expected, len(free))


@given(st.lists(st.integers(1, 30), max_size=60))
def test_best_fit_leaves_the_least_room(sizes: list[int]) -> None:
    """As a search over all bins does it: the bins are as full, though not the same ones of equal room."""
    free: list[int] = []
    for size in sorted(sizes, reverse=True):
        fits = [number for number, room in enumerate(free) if room >= size]
        if fits:
            free[min(fits, key=lambda number: free[number])] -= size
        else:
            free.append(30 - size)
    found, count = best_fit(np.array(sizes, np.int64), 30)
    assert sorted(30 - np.bincount(found, sizes, count).astype(int)) == sorted(free)


def test_first_fit_keeps_the_order(tmp_path: Path) -> None:
    sizes = np.random.default_rng(3).integers(1, 64, 500).tolist()
    stores = [store_of(tmp_path / "a", sizes)]
    order = order_of(stores)
    packing = pack(order, stores, "first_fit", 64, 4, place)
    at = {number: position for position, number in enumerate(order.rows(0, len(order))[1].tolist())}
    positions = np.array([at[number] for number in packing.numbers.tolist()])
    firsts = positions[packing.bins[:-1]]
    assert (np.diff(firsts) > 0).all()
    for begin, end in pairwise(packing.bins.tolist()):
        assert (np.diff(positions[begin:end]) > 0).all()


@pytest.mark.parametrize("method", ["none", "first_fit", "best_fit"])
def test_long_rows_are_cut_where_that_is_asked_for_and_counted(tmp_path: Path, method: Method) -> None:
    stores = [store_of(tmp_path / "a", [10, 25, 7, 33])]
    packing = pack(order_of(stores), stores, method, 10, 2, place, long="cut")
    batches = [batch(packing, stores, step) for step in range(packing.updates)]
    read = sorted(token for made in batches for token in made.tokens[made.segments > 0].tolist())
    assert read == [*range(10), *range(10, 20), *range(35, 42), *range(42, 52)]
    assert (int(packing.split), int(packing.cut)) == (2, 15 + 23)
    assert packing.trained_tokens == sum(int(made.trained.sum()) for made in batches)
    split = pack(order_of(stores), stores, "best_fit", 10, 2, place)
    assert (int(split.split), int(split.cut), split.tokens) == (2, 0, 75)


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
    assert caught.value.message == "a row has 100 tokens, more than a sequence of 99, and can't be split"
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


@pytest.mark.parametrize("method", ["none", "first_fit", "best_fit"])
def test_resuming_at_any_step_equals_the_tail(tmp_path: Path, method: Method) -> None:
    sizes = np.random.default_rng(1).integers(2, 60, 300).tolist()
    stores = [store_of(tmp_path / "a", sizes, 0), store_of(tmp_path / "b", sizes[:50], 1)]
    packing = pack(order_of(stores), stores, method, 64, 4, place)
    packing.save(tmp_path / "packing")
    whole = [batch(packing, stores, step) for step in range(packing.updates)]
    for start in range(packing.updates):
        again = load_packing(tmp_path / "packing")
        reopened = [open_store(store.location) for store in stores]
        for step in (start, packing.updates - 1):
            made = batch(again, reopened, step)
            for name in ("tokens", "segments", "positions", "trained"):
                assert (getattr(made, name) == getattr(whole[step], name)).all()


def tail(packing: Path, stores: list[str], start: int) -> list[str]:
    """Digests of the batches from a step on, from files alone."""
    read, opened = load_packing(packing), [open_store(each) for each in stores]
    made = (batch(read, opened, step) for step in range(start, read.updates))
    fields = ([getattr(each, name) for name in FIELDS] for each in made)
    return [hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in each)).hexdigest() for each in fields]


def test_another_process_goes_on_from_any_step(tmp_path: Path) -> None:
    sizes = np.random.default_rng(1).integers(2, 60, 120).tolist()
    stores = [store_of(tmp_path / "a", sizes, 0), store_of(tmp_path / "b", sizes[:50], 1)]
    pack(order_of(stores, 2), stores, "best_fit", 64, 8, place).save(tmp_path / "packing")
    locations = [store.location for store in stores]
    whole = tail(tmp_path / "packing", locations, 0)
    assert len(set(whole)) == len(whole) > 10
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        tails = pool.starmap(tail, [(tmp_path / "packing", locations, start) for start in range(len(whole))])
    assert tails == [whole[start:] for start in range(len(whole))]


def digest_of_hosts(packing: Packing, stores: list[TokenStore], hosts: int) -> str:
    """What `digest` gives, of batches whose rows that many hosts made."""
    hasher = hashlib.sha256()
    rows = int(packing.rows)
    edges = [rows * host // hosts for host in range(hosts + 1)]
    for step in range(packing.updates):
        parts = [batch(packing, stores, step, slice(*edge)) for edge in pairwise(edges)]
        whole = [np.concatenate([getattr(part, name) for part in parts]) for name in FIELDS]
        hasher.update(np.array(whole[0].shape, "<i8").tobytes())
        for array in whole:
            hasher.update(array.tobytes())
    return hasher.hexdigest()


@pytest.mark.parametrize("method", ["none", "first_fit", "best_fit"])
def test_the_digest_is_that_of_one_two_or_eight_hosts(tmp_path: Path, method: Method) -> None:
    sizes = np.random.default_rng(1).integers(2, 60, 301).tolist()
    stores = [store_of(tmp_path / "a", sizes, 0), store_of(tmp_path / "b", sizes[:50], 1)]
    for rows in (8, 5):
        packing = pack(order_of(stores), stores, method, 64, rows, place)
        whole = digest(packing, stores)
        assert [digest_of_hosts(packing, stores, hosts) for hosts in (1, 2, 8)] == [whole] * 3


def test_the_digest_of_a_stream_is_pinned(tmp_path: Path) -> None:
    """The stream is what a run is: the same on every machine. A change here is a change of every run."""
    stores = [store_of(tmp_path / "a", list(range(1, 90)), 0), store_of(tmp_path / "b", [9] * 30, 1)]
    digests = {
        method: digest(pack(order_of(stores), stores, method, 64, 4, place, long="cut"), stores)[:16]
        for method in ("none", "first_fit", "best_fit")
    }
    assert digests == {"none": "a233c2a1be1d5e25", "first_fit": "6845199518e28990", "best_fit": "0c61ff6d76f54d9d"}


def test_a_packing_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    stores = [store_of(tmp_path / "a", [5] * 100)]
    pack(order_of(stores), stores, "best_fit", 64, 4, place).save(tmp_path / "packing")
    file = tmp_path / "packing" / "numbers.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"numbers.npy can't be read"):
        load_packing(tmp_path / "packing")
    file.unlink()
    with pytest.raises(UserError, match=r"numbers.npy can't be read"):
        load_packing(tmp_path / "packing")


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


@pytest.mark.parametrize("method", ["none", "first_fit", "best_fit"])
@pytest.mark.parametrize("long", ["split", "cut"])
def test_what_must_stay_whole_is_neither_split_nor_cut(tmp_path: Path, method: Method, long: Long) -> None:
    chats, documents = store_of(tmp_path / "chats", [50, 100]), store_of(tmp_path / "documents", [90], salt=1)
    stores = [chats, documents]
    with pytest.raises(UserError, match="a row has 100 tokens, more than a sequence of 99"):
        pack(order_of(stores), stores, method, 99, 2, place, long=long, whole=[0])
    pack(order_of(stores), stores, method, 100, 2, place, long=long, whole=[0])


@pytest.mark.parametrize("method", ["none", "best_fit"])
def test_what_a_batch_holds_and_of_which_source_each_token_is(tmp_path: Path, method: Method) -> None:
    stores = [store_of(tmp_path / str(salt), list(range(2, 40)), salt) for salt in range(2)]
    packing = pack(order_of(stores), stores, method, 64, 3, place)
    for step in range(packing.updates):
        made, pieces = batch(packing, stores, step), rows_of(packing, stores, step)
        of = sources_of(packing, step)
        assert of.shape == made.tokens.shape
        for piece in pieces:
            assert (of[piece.row, piece.column : piece.column + piece.length] == piece.source).all()
        assert (sources_of(packing, step, slice(1, 3)) == of[1:3]).all()
        held = held_by(packing, step)
        assert held.examples == sum(piece.begin == 0 for piece in pieces)
        assert held.tokens == np.count_nonzero(made.segments) == packing.tokens_by_update[step]
        assert held.trained_tokens == np.count_nonzero(made.trained) == packing.trained_by_update[step]
        assert held.pairs == sum(piece.length * (piece.length + 1) // 2 for piece in pieces)
