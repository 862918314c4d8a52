"""Intervals: right at the edges, deterministic, and covering what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from runtime.evals.score import Scored, from_json, to_json
from runtime.evals.statistics import Cell, Interval, align, band, difference, estimate, replicates, wilson


def scored(values, metric: str = "mean(margin)", weights=None, items=None) -> Scored:
    values = np.asarray(values, dtype=np.float64)
    names = tuple(f"item-{number:04d}" for number in range(len(values))) if items is None else tuple(items)
    return Scored(metric, names, values, np.ones(len(values)) if weights is None else np.asarray(weights, np.float64))


def cell(*by_seed: Scored, label: str = "arm") -> Cell:
    return Cell(label, dict(enumerate(by_seed)))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts: tuple[int, int]):
    successes, n = counts
    expected = binomtest(successes, n).proportion_ci(0.95, "wilson")
    np.testing.assert_allclose(wilson(successes / n, n), (expected.low, expected.high), atol=1e-12)


def test_a_rate_with_one_answer_an_item_is_wilson():
    result = estimate(cell(scored([1] * 7 + [0] * 53, "rate(aligned)")))
    assert result == Interval(7 / 60, *wilson(7 / 60, 60), 60)


def test_unanimous_rates_are_not_certain():
    none, all_ = (estimate(cell(scored([value] * 60, "rate(aligned)"))) for value in (0, 1))
    assert (none.low, all_.high) == (0.0, 1.0)
    assert none.high == pytest.approx(0.060, abs=0.001)
    gap = difference(cell(scored([0] * 60, "rate(aligned)")), cell(scored([1] * 60, "rate(aligned)"), label="base"))
    assert (gap.value, gap.low) == (-1.0, -1.0)
    assert gap.high == pytest.approx(-1 + 0.083, abs=0.02)


def test_several_answers_to_an_item_do_not_count_as_independent():
    """20 items with 4 answers each that agree are 20 answers, not 80."""
    values = np.repeat([1.0] * 8 + [0.0] * 12, 4)
    items = np.repeat([f"item-{number}" for number in range(20)], 4)
    low, high = wilson(0.4, 20)
    result = estimate(cell(scored(values, "rate(aligned)", items=items)))
    assert result.n == 20
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.01)


def test_seeds_that_all_agree_add_little_to_items():
    values = [1] * 24 + [0] * 36
    one = estimate(cell(scored(values, "rate(aligned)")))
    three = estimate(cell(*[scored(values, "rate(aligned)")] * 3))
    assert (three.low, three.high) == pytest.approx((one.low, one.high), abs=0.005)


def test_a_mean_over_a_single_item_has_no_interval():
    assert estimate(cell(scored([1.5]))) == Interval(1.5, None, None, 1)
    assert difference(cell(scored([1.5])), cell(scored([1.0]))) == Interval(0.5, None, None, 1)
    rate = estimate(cell(scored([1], "rate(aligned)")))
    assert (rate.value, rate.high) == (1.0, 1.0)
    assert rate.low == pytest.approx(0.207, abs=0.001)


def test_equal_values_have_an_interval_of_no_width():
    result = estimate(cell(scored([2.0] * 10)))
    assert result == Interval(2.0, 2.0, 2.0, 10)


def test_nothing_scored_is_no_value():
    nothing = Interval(None, None, None, 0)
    assert estimate(cell(scored([]))) == nothing
    assert difference(cell(scored([1, 2])), cell(scored([]))) == nothing
    assert difference(cell(scored([1], items=["a"])), cell(scored([1], items=["b"]))) == nothing
    assert difference(Cell("x", {0: scored([1, 2])}), Cell("y", {1: scored([1, 2])})) == nothing


def test_weights_are_total_over_total():
    result = estimate(cell(scored([1.0, 4.0, 4.0], "mean(nll)", weights=[2, 1, 1])))
    assert result.value == 3 - 0.5


def test_differences_take_the_items_that_both_sides_have():
    left = scored([1.0, 2.0, 9.0], items=["a", "b", "c"])
    right = scored([0.5, 0.5, -7.0], items=["a", "b", "d"])
    result = difference(cell(left), cell(right, label="base"))
    assert (result.value, result.n) == (1.0, 2)


def test_pairing_takes_out_what_items_have_in_common():
    generator = np.random.default_rng(0)
    hard = generator.normal(0, 10, 100)
    result = difference(cell(scored(hard + 1 + generator.normal(0, 0.1, 100))), cell(scored(hard), label="base"))
    assert result.low is not None
    assert result.high is not None
    assert 0.95 < result.low < 1.0 < result.high < 1.05


def test_seeds_are_paired_and_a_base_without_seeds_stands_for_all():
    generator = np.random.default_rng(0)
    arm = cell(*[scored(generator.normal(1, 1, 40)) for _ in range(3)])
    once = Cell("base", {None: scored(np.zeros(40))})
    thrice = cell(*[scored(np.zeros(40))] * 3, label="base")
    assert difference(arm, once) == difference(arm, thrice)


def test_seeds_that_differ_widen_the_interval():
    values = np.random.default_rng(0).normal(0, 1, 200)
    alike = estimate(cell(scored(values), scored(values), scored(values)))
    apart = estimate(cell(scored(values - 2), scored(values), scored(values + 2)))
    assert apart.high - apart.low > 5 * (alike.high - alike.low)


numbers = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


@settings(deadline=None, max_examples=25)
@given(numbers, st.randoms(use_true_random=False))
def test_the_order_of_items_changes_nothing(values: list[float], random):
    whole = scored(values)
    order = list(range(len(values)))
    random.shuffle(order)
    shuffled = scored([values[index] for index in order], items=[whole.items[index] for index in order])
    assert estimate(cell(whole)) == estimate(cell(shuffled))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=2, max_size=30))
def test_differences_are_antisymmetric(pairs: list[tuple[float, float]]):
    left, right = (cell(scored(side), label=label) for side, label in zip(zip(*pairs, strict=True), "ab", strict=True))
    there, back = difference(left, right), difference(right, left)
    assert there.value == -back.value
    np.testing.assert_allclose((there.low, there.high), (-back.high, -back.low), atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_differences_of_rates_are_antisymmetric(pairs: list[tuple[bool, bool]]):
    sides = zip(zip(*pairs, strict=True), "ab", strict=True)
    left, right = (cell(scored(side, "rate(aligned)"), label=label) for side, label in sides)
    there, back = difference(left, right), difference(right, left)
    np.testing.assert_allclose((there.low, there.high), (-back.high, -back.low), atol=1e-9)


def test_equal_arms_differ_by_nothing():
    values = np.random.default_rng(0).normal(0, 1, 50)
    assert difference(cell(scored(values)), cell(scored(values), label="base")) == Interval(0.0, 0.0, 0.0, 50)


def test_arms_are_resampled_together():
    values = np.random.default_rng(0).normal(0, 1, 50)
    aligned = align([cell(scored(values)), cell(scored(values + 1), label="base")])
    assert aligned is not None
    drawn = replicates(aligned)
    np.testing.assert_allclose(drawn[:, 1] - drawn[:, 0], 1.0)


def test_many_items_are_resampled_in_parts():
    values = np.random.default_rng(0).normal(0, 1, 3000)
    result = estimate(cell(scored(values)))
    assert result.low is not None
    assert result.high is not None
    assert result.high - result.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(3000), rel=0.05)


def test_the_band_holds_all_points_at_once():
    drawn = np.random.default_rng(0).normal(0, 1, (10_000, 8))
    low, high = band(drawn)
    inside = ((drawn >= low) & (drawn <= high)).all(axis=1).mean()
    assert inside == pytest.approx(0.95, abs=0.005)
    single_low, single_high = band(drawn[:, :1])
    np.testing.assert_allclose((single_low[0], single_high[0]), np.quantile(drawn[:, 0], [0.025, 0.975]))
    assert low[0] < single_low[0]
    assert single_high[0] < high[0]


def test_wilson_covers_on_average():
    """Over all rates 95%, at a given one more or less (see facts.md)."""
    n = 60
    covered = []
    for rate in np.linspace(0.01, 0.99, 99):
        ends = np.array([wilson(successes / n, n) for successes in range(n + 1)])
        counts = np.random.default_rng(0).binomial(n, rate, 4000)
        covered.append(((ends[counts, 0] <= rate) & (rate <= ends[counts, 1])).mean())
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)
    assert min(covered) > 0.85


def test_the_bootstrap_covers():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        result = estimate(cell(scored(generator.normal(3.0, 2.0, 60))))
        assert result.low is not None
        assert result.high is not None
        covered += result.low <= 3.0 <= result.high
    assert covered / 200 == pytest.approx(0.94, abs=0.03)


def test_scores_survive_json():
    whole = Scored("mean(nll)", ("a", "b"), np.array([0.1, 1 / 3]), np.array([3.0, 5.0]), unreadable=2)
    back = from_json(to_json(whole))
    assert (back.metric, back.items, back.unreadable) == (whole.metric, whole.items, whole.unreadable)
    assert back.value.tobytes() == whole.value.tobytes()
    assert back.weight.tobytes() == whole.weight.tobytes()
