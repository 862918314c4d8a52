"""The order of a run: exact amounts, a permutation each epoch, the same at any slice."""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.values import Amount, Quantity, Unit
from runtime.data import order as order_module
from runtime.data.keys import key, row_hashes, subkey
from runtime.data.mixed import Mixed, Part, Phase
from runtime.data.order import Order, load_order, make_order, uses
from runtime.data.permutation import permute
from runtime.data.streams import Source
from runtime.errors import UserError

KEY = key(0, "order", "mix", 0)


def source(name: str, lengths: list[int]) -> Source:
    tokens = np.array(lengths, np.int64)
    return Source(name, name, tokens, np.maximum(tokens // 2, 1))


def quantity(count: int | Fraction, unit: Unit) -> Quantity:
    return Quantity(Fraction(count), unit)


def percent(index: int, value: int | Fraction) -> Part:
    return Part(index, Amount("percent", Fraction(value) / 100))


def of(index: int, amount: Amount | Quantity) -> Part:
    return Part(index, Amount("quantity", amount) if isinstance(amount, Quantity) else amount)


def made(sources: list[Source], *parts: Part, **options: Any) -> Order:
    length, name = options.pop("length", None), options.pop("key", KEY)
    return make_order(sources, Mixed(tuple(options.pop("phases", [Phase(None, parts)])), **options), length, name)


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=60)


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_permutations_are_permutations(size: int, name: int) -> None:
    assert sorted(permute(np.arange(size), size, name).tolist()) == list(range(size))


def test_what_is_drawn_is_pinned() -> None:
    """Keys and permutations are part of what a run is: these numbers are the same on every platform, for good."""
    assert key(1, "order", "mix", 0) == 12002471847924652859
    assert permute(np.arange(10), 10, 7).tolist() == [3, 8, 7, 0, 1, 6, 2, 4, 9, 5]
    assert permute(np.arange(3), 10**12, 7).tolist() == [778792121166, 600662998115, 304318043473]
    identity = np.arange(64, dtype=np.uint8).reshape(2, 32)
    assert row_hashes(identity, np.array([0, 1]), 9).tolist() == [18115090258933949752, 2270550455140140847]


def test_permutations_look_random_even_when_small() -> None:
    """Neighbours are no nearer to each other than chance: each difference is as frequent as any, to 5%."""
    for size in (7, 30, 100):
        moved = permute(np.arange(size)[None, :], size, np.arange(20_000)[:, None])
        differences = np.bincount((np.diff(moved, axis=1) % size).ravel(), minlength=size)[1:]
        assert np.abs(differences / differences.mean() - 1).max() < 0.05


@given(st.lists(sizes, min_size=1, max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_each_part_is_met_to_within_one_example(lengths: list[list[int]], data: st.DataObject) -> None:
    sources = [source(str(number), each) for number, each in enumerate(lengths)]
    weights = data.draw(st.lists(st.integers(1, 10), min_size=len(sources), max_size=len(sources)))
    unit: Unit = data.draw(st.sampled_from(["tokens", "trained tokens", "examples"]))
    budget = data.draw(st.integers(1, 300))
    parts = [Part(number, Amount("ratio", Fraction(weight))) for number, weight in enumerate(weights)]
    order = made(sources, *parts, budget=quantity(budget, unit), max_epochs=Fraction(1000))
    at, numbers = order.rows(0, len(order))
    for index, each in enumerate(sources):
        rows = numbers[at == index]
        wanted = Fraction(budget * weights[index], sum(weights))
        got = int(each.lengths(unit)[rows].sum())
        assert len(rows) >= 1, "the rarest part appears"
        assert abs(got - wanted) <= int(each.lengths(unit).max()) / 2 or len(rows) == 1


@given(st.lists(sizes, min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_epoch_is_a_permutation_and_the_cap_holds_to_the_record(
    lengths: list[list[int]], epochs: int, seed: int
) -> None:
    sources = [source(str(number), each) for number, each in enumerate(lengths)]
    parts = [of(number, quantity(epochs, "epochs")) for number in range(len(sources))]
    order = made(sources, *parts, max_epochs=Fraction(epochs), key=key(seed, "order", "x", 0))
    at, numbers = order.rows(0, len(order))
    for index, each in enumerate(sources):
        assert np.bincount(numbers[at == index], minlength=len(each)).tolist() == [epochs] * len(each)


@given(st.integers(1, 5000), st.lists(st.integers(0, 5000), min_size=1, max_size=5), st.integers(1, 99))
@settings(max_examples=40, deadline=None)
def test_any_slice_is_that_of_the_whole(count: int, cuts: list[int], first: int) -> None:
    sources = [source("a", [3] * 700), source("b", [5] * 90)]
    parts = percent(0, 90), of(1, Amount("rest"))
    phases = [Phase(Fraction(share, 100), order) for share, order in ((first, parts), (100 - first, parts[1:]))]
    order = made(sources, phases=phases, budget=quantity(count * 3, "tokens"), max_epochs=Fraction(999))
    at, numbers = order.rows(0, len(order))
    edges = [0, *sorted(min(cut, len(order)) for cut in cuts), len(order)]
    slices = [order.rows(start, stop) for start, stop in pairwise(edges)]
    assert np.concatenate([each[0] for each in slices]).tolist() == at.tolist()
    assert np.concatenate([each[1] for each in slices]).tolist() == numbers.tolist()
    assert np.bincount(at, minlength=2).tolist() == order.used.tolist()


def test_parts_are_spread_over_the_run() -> None:
    sources = [source("many", [1] * 100_000), source("few", [1] * 1000), source("one", [1])]
    parts = [of(0, quantity(49_000, "tokens")), percent(1, 2), of(2, Amount("all"))]
    order = made(sources, *parts, budget=quantity(50_001, "tokens"))
    at, _ = order.rows(0, len(order))
    assert np.bincount(at).tolist() == [49_000, 1000, 1]
    tenths = np.array_split(at, 10)
    assert all(90 <= (tenth == 1).sum() <= 110 for tenth in tenths)


def test_fixed_amounts_come_first_then_percents_then_ratios() -> None:
    sources = [source(name, [10] * 1000) for name in "abcd"]
    order = made(
        sources,
        of(0, quantity(1000, "tokens")),
        percent(1, 50),
        Part(2, Amount("ratio", Fraction(3))),
        of(3, Amount("rest")),
        budget=quantity(10_000, "tokens"),
    )
    assert order.used.tolist() == [100, 500, 300, 100]
    used = uses(order, sources)
    assert [use.used_tokens for use in used] == [1000, 5000, 3000, 1000]
    assert [use.share for use in used] == [Fraction(n, 10) for n in (1, 5, 3, 1)]
    assert used[1].epochs == Fraction(1, 2)


def test_amounts_in_examples_and_all_of_a_part() -> None:
    sources = [source("a", [7, 9, 11]), source("b", [2] * 500)]
    order = made(sources, of(0, Amount("all")), of(1, Amount("rest")), budget=quantity(227, "tokens"))
    assert order.used.tolist() == [3, 100]
    order = made(sources, of(0, quantity(2, "examples")), of(1, quantity(30, "trained tokens")))
    assert order.used.tolist() == [2, 30]


def test_a_bare_source_is_one_pass_or_what_the_stage_asks_for() -> None:
    sources = [source("a", [10] * 50)]
    for amount in (Amount("all"), Amount("rest")):
        assert len(made(sources, of(0, amount))) == 50
        assert len(made(sources, of(0, amount), length=quantity(3, "epochs"))) == 150
        assert len(made(sources, of(0, amount), length=quantity(Fraction(3, 2), "epochs"))) == 75
        assert len(made(sources, of(0, amount), length=quantity(120, "tokens"))) == 12


def test_two_epochs_of_a_budget_are_two_budgets_and_repeat_no_row_before_all_were_used() -> None:
    sources = [source("a", [10] * 100)]
    order = made(sources, percent(0, 100), budget=quantity(400, "tokens"), length=quantity(2, "epochs"))
    _, numbers = order.rows(0, len(order))
    assert len(numbers) == 80
    assert len(set(numbers.tolist())) == 80


def test_a_stage_in_another_unit_than_the_budget_is_as_many_budgets() -> None:
    sources = [source("a", [10] * 100), source("b", [30] * 100)]
    parts = [percent(0, 50), percent(1, 50)]
    order = made(sources, *parts, budget=quantity(600, "tokens"), length=quantity(80, "examples"))
    assert order.used.tolist() == [60, 20]


def test_phases_follow_each_other_and_go_on_with_their_rows() -> None:
    sources = [source("web", [10] * 1000), source("story", [10] * 100)]
    phases = [
        Phase(Fraction(4, 5), (percent(0, 90), percent(1, 10))),
        Phase(Fraction(1, 5), (Part(0, Amount("ratio", Fraction(3))), Part(1, Amount("ratio", Fraction(2))))),
    ]
    order = made(sources, phases=phases, budget=quantity(5000, "tokens"), max_epochs=Fraction(2))
    assert order.phase_starts.tolist() == [0, 400, 500]
    at, numbers = order.rows(0, 500)
    assert np.bincount(at[:400]).tolist() == [360, 40]
    assert np.bincount(at[400:]).tolist() == [60, 40]
    stories = numbers[at == 1]
    assert len(set(stories.tolist())) == 80, "no story twice before all were used"
    with pytest.raises(UserError, match="the phases come to 4,000 tokens, and the whole is 5,000"):
        made(sources, phases=phases[:1], budget=quantity(5000, "tokens"))


def test_underfill_tells_the_part_and_three_ways_out() -> None:
    sources = [source("web", [10] * 1000), source("fiction", [10] * 20)]
    parts = [percent(0, 50), percent(1, 50)]
    with pytest.raises(UserError) as caught:
        made(sources, *parts, budget=quantity(1000, "tokens"))
    assert caught.value.message == "'fiction' is to give 500 tokens and has 200 (max_epochs: 1)"
    assert "0.4 of the amount or the budget" in caught.value.help
    assert "`max_epochs: 3`" in caught.value.help
    assert "`underfill: allow`" in caught.value.help
    allowed = made(sources, *parts, budget=quantity(1000, "tokens"), underfill="allow")
    assert allowed.used.tolist() == [50, 20]
    assert made(sources, *parts, budget=quantity(1000, "tokens"), max_epochs=Fraction(3)).used.tolist() == [50, 50]


def test_less_than_one_example_short_is_no_underfill() -> None:
    sources = [source("a", [10] * 100)]
    assert len(made(sources, percent(0, 100), budget=quantity(1009, "tokens"))) == 100
    with pytest.raises(UserError, match="'a' is to give 1,010 tokens and has 1,000"):
        made(sources, percent(0, 100), budget=quantity(1010, "tokens"))


def test_amounts_that_do_not_make_up_the_whole() -> None:
    sources = [source("a", [10] * 100), source("b", [10] * 100)]
    with pytest.raises(UserError, match="the parts come to 1,300 tokens, more than the whole of 1,000"):
        made(sources, of(0, quantity(800, "tokens")), percent(1, 50), budget=quantity(1000, "tokens"))
    with pytest.raises(UserError, match="the parts come to 700 tokens, less than the whole of 1,000"):
        made(sources, of(0, quantity(200, "tokens")), percent(1, 50), budget=quantity(1000, "tokens"))
    with pytest.raises(UserError, match="'b' is a share, and nothing says of how much"):
        made(sources, of(0, Amount("all")), of(1, Amount("rest")))
    with pytest.raises(UserError, match="can't be in minutes"):
        made(sources, of(0, Amount("rest")), length=quantity(3, "minutes"))


def test_the_order_follows_from_key_and_content_not_from_names() -> None:
    sources = [source("a", [10] * 100)]
    renamed = [replace(sources[0], name="b")]
    first, same, other = (
        made(given, of(0, Amount("all")), key=name).rows(0, 100)[1].tolist()
        for given, name in ((sources, KEY), (renamed, KEY), (sources, subkey(KEY, "other")))
    )
    assert first == same
    assert first != other


def test_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_module, "BLOCK", 8)
    sources = [source(str(number), [1] * (number + 1)) for number in range(30)]
    order = made(sources, *(of(number, Amount("all")) for number in range(30)))
    at, numbers = order.rows(0, len(order))
    assert np.bincount(at).tolist() == list(range(1, 31))
    assert len({(a, b) for a, b in zip(at.tolist(), numbers.tolist(), strict=True)}) == len(order)
    for start in range(0, len(order), 7):
        part = order.rows(start, min(start + 7, len(order)))
        assert part[0].tolist() == at[start : start + 7].tolist()
        assert part[1].tolist() == numbers[start : start + 7].tolist()


def test_what_stands_beside_a_source_does_not_change_which_of_its_rows_come_first() -> None:
    one, two = source("a", [10] * 100), source("b", [10] * 100)
    _, alone = made([one], of(0, quantity(30, "examples"))).rows(0, 30)
    at, numbers = made([two, one], of(0, Amount("all")), of(1, quantity(30, "examples"))).rows(0, 130)
    assert set(numbers[at == 1].tolist()) == set(alone.tolist())


def test_a_mix_of_a_thousand_parts() -> None:
    sources = [source(str(number), [10] * 20) for number in range(1000)]
    parts = [Part(number, Amount("ratio", Fraction(number + 1))) for number in range(1000)]
    order = made(sources, *parts, budget=quantity(10_000, "examples"), max_epochs=Fraction(1000))
    at, _ = order.rows(0, len(order))
    counts = np.bincount(at, minlength=1000)
    assert counts.tolist() == order.used.tolist()
    wanted = 10_000 * (np.arange(1000) + 1) / 500_500
    assert (np.abs(counts - wanted) <= np.maximum(1 - wanted, 0.5)).all()
    saved = sum(getattr(order, field.name).nbytes for field in fields(order))
    assert saved < 100_000, "a number a block, few a part"


def test_orders_are_saved(tmp_path: Path) -> None:
    order = made([source("a", [10] * 100)], of(0, Amount("all")))
    order.save(tmp_path / "order")
    again = load_order(tmp_path / "order")
    assert again.digest == order.digest != made([source("a", [10] * 100)], of(0, Amount("all")), key=1).digest
    assert again.rows(0, 100)[1].tolist() == order.rows(0, 100)[1].tolist()
    (tmp_path / "order" / "starts.npy").write_bytes(b"x")
    with pytest.raises(UserError, match=r"starts.npy can't be read"):
        load_order(tmp_path / "order")
