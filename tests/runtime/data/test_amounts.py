"""Amounts of mixes: exact to one example a source, through mixes within mixes, whatever stands in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.values import Amount, Quantity, Unit
from runtime.data.amounts import solve
from runtime.data.mixed import Mixed, Part, Phase
from runtime.data.order import make_order
from runtime.data.proportional import proportional
from runtime.data.streams import CountUnit, Source, streams
from runtime.errors import UserError

ALL, REST = Amount("all"), Amount("rest")


def source(name: str, lengths: list[int]) -> Source:
    tokens = np.array(lengths, np.int64)
    return Source(name, name, tokens, np.maximum(tokens // 2, 1))


def quantity(count: int | Fraction, unit: Unit) -> Quantity:
    return Quantity(Fraction(count), unit)


def fixed(count: int | Fraction, unit: Unit) -> Amount:
    return Amount("quantity", quantity(count, unit))


def ratio(value: int | Fraction) -> Amount:
    return Amount("ratio", Fraction(value))


def percent(value: int | Fraction) -> Amount:
    return Amount("percent", Fraction(value) / 100)


def mix(*parts: tuple[int | Mixed, Amount], **options: Any) -> Mixed:
    return Mixed((Phase(None, tuple(Part(of, amount) for of, amount in parts)),), **options)


def counts(sources: list[Source], mixed: Mixed, length: Quantity | None = None) -> list[int]:
    return solve(streams(sources, 5), mixed, length).sum(axis=0).tolist()


tens = [source(name, [10] * 100) for name in "abcd"]


@given(st.lists(st.integers(1, 100_000), min_size=2, max_size=6), st.sampled_from(["tokens", "examples"]))
@settings(deadline=None)
def test_shares_down_to_one_in_a_hundred_thousand_are_exact(weights: list[int], unit: CountUnit) -> None:
    sources = [source(str(number), [7, 3, 12, 5] * 50) for number in range(len(weights))]
    budget = 400_000
    mixed = mix(
        *((number, ratio(weight)) for number, weight in enumerate(weights)),
        budget=quantity(budget, unit),
        max_epochs=Fraction(10**6),
    )
    for each, stream, count, weight in zip(sources, streams(sources, 5), counts(sources, mixed), weights, strict=True):
        wanted = Fraction(budget * weight, sum(weights))
        got = stream.amount(0, count, unit)
        assert abs(got - wanted) <= Fraction(each.longest(unit), 2) or count == 1
        assert count >= 1


Tree = list[tuple[int, Any]]
"""Weights, each with the index of a source or with a tree."""
trees: st.SearchStrategy[Tree] = st.recursive(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=4),
    lambda inner: st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3) | inner), min_size=1, max_size=3),
    max_leaves=12,
)


def nested(tree: Tree, **options: Any) -> Mixed:
    return mix(*((of if isinstance(of, int) else nested(of), ratio(weight)) for weight, of in tree), **options)


def flat(tree: Tree) -> dict[int, Fraction]:
    shares: dict[int, Fraction] = {}
    for weight, of in tree:
        for index, share in ({of: Fraction(1)} if isinstance(of, int) else flat(of)).items():
            shares[index] = shares.get(index, Fraction(0)) + share * Fraction(weight, sum(each for each, _ in tree))
    return shares


@given(trees, st.integers(1, 5000), st.sampled_from(["tokens", "trained tokens", "examples"]))
@settings(deadline=None)
def test_mixes_within_mixes_are_the_products_of_their_shares(tree: Tree, budget: int, unit: Unit) -> None:
    sources = [source(name, [3, 9, 5, 11, 8, 1] * 40) for name in "abcd"]
    options: dict[str, Any] = {"budget": quantity(budget, unit), "max_epochs": Fraction(1000)}
    shares = flat(tree)
    assert counts(sources, nested(tree, **options)) == counts(
        sources, mix(*((index, ratio(share)) for index, share in shares.items()), **options)
    )


def reordered(tree: Tree, shuffle: Callable[[Tree], Tree]) -> Tree:
    return shuffle([(weight, of if isinstance(of, int) else reordered(of, shuffle)) for weight, of in tree])


@given(trees, st.integers(1, 3000), st.data())
@settings(max_examples=40, deadline=None)
def test_nothing_depends_on_the_order_of_parts_or_on_names(tree: Tree, budget: int, data: st.DataObject) -> None:
    sources = [source(name, [3, 9, 5, 11, 8, 1] * 40) for name in "abcd"]
    renamed = [replace(each, name=each.name * 2) for each in sources]
    options: dict[str, Any] = {"budget": quantity(budget, "tokens"), "max_epochs": Fraction(1000)}
    other = reordered(tree, lambda parts: data.draw(st.permutations(parts)))
    first = make_order(sources, nested(tree, **options), None, 7)
    assert first.digest == make_order(renamed, nested(other, name="another", **options), None, 7).digest


def test_all_of_a_mix_is_its_budget_and_two_epochs_are_two() -> None:
    inner = mix((0, percent(80)), (1, REST), budget=quantity(200, "tokens"))
    assert counts(tens, mix((inner, ALL), (2, fixed(5, "examples")))) == [16, 4, 5, 0]
    assert counts(tens, mix((inner, fixed(2, "epochs")), (2, fixed(5, "examples")))) == [32, 8, 5, 0]
    assert counts(tens, mix((inner, ALL), (2, REST), budget=quantity(500, "tokens"))) == [16, 4, 30, 0]
    assert counts(tens, mix((inner, ALL)), quantity(3, "epochs")) == [48, 12, 0, 0]


def test_any_other_amount_scales_what_is_fixed_in_a_mix() -> None:
    inner = mix((0, fixed(50, "tokens")), (1, REST), budget=quantity(200, "tokens"))
    assert counts(tens, mix((inner, fixed(400, "tokens")))) == [10, 30, 0, 0]
    assert counts(tens, mix((inner, percent(40)), (2, REST), budget=quantity(1000, "tokens"))) == [10, 30, 60, 0]
    assert counts(tens, mix((inner, fixed(40, "examples")))) == [10, 30, 0, 0]
    shares = mix((0, ratio(3)), (1, ratio(1)))
    assert counts(tens, mix((shares, fixed(40, "examples")), (2, ALL))) == [30, 10, 100, 0]
    with pytest.raises(UserError, match="'a' is a share, and nothing says of how much"):
        counts(tens, mix((shares, ALL), (2, ALL)))


def test_a_source_that_two_parts_reach_counts_once() -> None:
    inner = mix((0, ratio(1)), (1, ratio(1)))
    mixed = mix((0, percent(50)), (inner, percent(50)), budget=quantity(1200, "tokens"))
    with pytest.raises(UserError, match="'a' is to give 1,110 tokens and has 1,000") as caught:
        counts(
            [source("a", [10] * 80), *tens[1:]],
            replace(mixed, max_epochs=Fraction(5, 4), budget=quantity(1480, "tokens")),
        )
    assert "max_epochs: 2" in caught.value.help
    assert counts(tens, mixed) == [90, 30, 0, 0]


def test_a_cap_of_a_mix_holds_through_all_phases_and_the_one_around_it_too() -> None:
    inner = mix((0, ratio(1)), (1, ratio(1)), max_epochs=Fraction(1, 2), underfill="allow")
    phases = tuple(Phase(Fraction(1, 2), (Part(inner, percent(80)), Part(2, REST))) for _ in range(2))
    outer = Mixed(phases, budget=quantity(2000, "tokens"))
    assert solve(streams(tens, 5), outer, None).tolist() == [[40, 40, 20, 0], [10, 10, 20, 0]]
    strict = replace(inner, underfill="error")
    parts = (Part(strict, percent(80)), Part(2, REST))
    with pytest.raises(
        UserError, match=r"'a' is to give 400 tokens and has 100; 'b' .* \(max_epochs: 0.50\)"
    ) as caught:
        counts(tens, replace(outer, phases=tuple(Phase(Fraction(1, 2), parts) for _ in range(2))))
    assert "`max_epochs: 1`" in caught.value.help
    loose = mix((0, ratio(1)), (1, ratio(1)), max_epochs=Fraction(9))
    with pytest.raises(UserError, match=r"'a' is to give 1,500 tokens and has 1,000.* \(max_epochs: 1\)"):
        counts(tens, mix((loose, REST), budget=quantity(3000, "tokens")))


def test_a_mix_with_phases_is_no_part() -> None:
    inner = Mixed((Phase(Fraction(1, 2), (Part(0, ALL),)),) * 2, name="curriculum")
    with pytest.raises(UserError, match="'curriculum' has phases and is a part of another mix") as caught:
        counts(tens, mix((inner, ALL)))
    assert "write its phases in the mix around it" in caught.value.help


def test_a_mix_within_a_mix_that_does_not_make_up_its_whole_is_named() -> None:
    inner = mix((0, percent(80)), budget=quantity(200, "tokens"), name="facts")
    with pytest.raises(UserError, match="the parts of 'facts' come to 160 tokens, less than the whole of 200"):
        counts(tens, mix((inner, ALL), (2, ALL)))


def test_a_source_without_rows_is_an_error() -> None:
    with pytest.raises(UserError, match="'e' has no rows"):
        counts([*tens, source("e", [])], mix((0, ALL)))


def test_amounts_in_another_unit_make_up_the_whole_to_one_row() -> None:
    sources = [source("a", [7, 9, 11]), source("b", [2] * 500)]
    assert counts(sources, mix((0, fixed(2, "examples")), (1, REST), budget=quantity(200, "tokens")))[0] == 2
    both = mix((0, fixed(2, "examples")), (0, fixed(9, "tokens")), (1, REST), budget=quantity(200, "tokens"))
    assert counts(sources, both)[0] == 3


sizes = st.lists(st.integers(0, 10**12), min_size=1, max_size=8).filter(any)


@given(sizes, st.fractions(Fraction(1, 4), 20))
def test_proportional_shares_are_sizes_to_the_power_of_one_over_the_temperature(
    sizes: list[int], temperature: Fraction
) -> None:
    weights = np.array(proportional([Fraction(size) for size in sizes], temperature), np.float64)
    expected = (np.array(sizes, np.float64) / max(sizes)) ** float(1 / temperature)
    assert np.allclose(weights / weights.max(), expected, rtol=1e-9, atol=1e-17)
    assert [weight > 0 for weight in weights] == [size > 0 for size in sizes]


def test_proportional_weights_are_pinned() -> None:
    """They are part of what a run is: the same on every machine, for good."""
    assert proportional([Fraction(1000), Fraction(10), Fraction(0)], Fraction(10, 7)) == [10**18, 39810717055349725, 0]
    assert proportional([Fraction(3), Fraction(1)], Fraction(1)) == [10**18, 333333333333333333]


def test_proportional_shares_of_sources_and_mixes() -> None:
    sources = [source("a", [10] * 900), source("b", [20] * 50), source("c", [1] * 1)]
    flat = mix((0, REST), (1, REST), temperature=Fraction(2), budget=quantity(400, "tokens"))
    assert counts(sources, flat) == [30, 5, 0]
    assert counts(sources, replace(flat, budget=quantity(527, "examples"), max_epochs=Fraction(20))) == [426, 101, 0]
    of_budget = mix((0, REST), budget=quantity(1000, "tokens"))
    assert counts(sources, replace(flat, phases=mix((of_budget, REST), (1, REST)).phases)) == [20, 10, 0]
    warm = replace(flat, temperature=Fraction(1000), max_epochs=Fraction(20))
    assert counts(sources, warm) == [20, 10, 0]
