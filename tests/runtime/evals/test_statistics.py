"""Intervals: right at the edges, deterministic, and covering what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp, ttest_rel

from runtime.evals.aligned import align
from runtime.evals.gaps import Gap, Part, joint_levels
from runtime.evals.intervals import spread_interval
from runtime.evals.score import Scored, from_json, to_json
from runtime.evals.spread import influences, spread
from runtime.evals.statistics import Cell, Interval, difference, estimate, wilson


def scored(values, metric: str = "mean(margin)", weights=None, items=None) -> Scored:
    values = np.asarray(values, dtype=np.float64)
    names = tuple(f"item-{number:04d}" for number in range(len(values))) if items is None else tuple(items)
    return Scored(metric, names, values, np.ones(len(values)) if weights is None else np.asarray(weights, np.float64))


def cell(*by_seed: Scored, label: str = "arm") -> Cell:
    return Cell(label, dict(enumerate(by_seed)))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys_and_wider_where_next_to_nothing_was_seen(counts: tuple[int, int]):
    successes, n = counts
    expected = binomtest(successes, n).proportion_ci(0.95, "wilson")
    low, high = wilson(successes / n, n)
    if 1 <= successes <= 3:
        assert low <= expected.low + 1e-12
    else:
        assert low == pytest.approx(expected.low, abs=1e-12)
    if 1 <= n - successes <= 3:
        assert high >= expected.high - 1e-12
    else:
        assert high == pytest.approx(expected.high, abs=1e-12)


def test_one_success_may_be_a_twentieth_of_one():
    """Brown, Cai and DasGupta's end for a single success: minus the logarithm of 0.95, over n."""
    assert wilson(1 / 100, 100)[0] == pytest.approx(-np.log(0.95) / 100)


def test_a_rate_with_one_answer_an_item_is_wilson():
    result = estimate(cell(scored([1] * 7 + [0] * 53, "rate(aligned)")))
    assert result == Interval(7 / 60, *wilson(7 / 60, 60), 60)


def test_unanimous_rates_are_not_certain():
    none, all_ = (estimate(cell(scored([value] * 60, "rate(aligned)"))) for value in (0, 1))
    assert (none.low, all_.high) == (0.0, 1.0)
    assert none.high == pytest.approx(0.060, abs=0.001)
    gap = difference(cell(scored([0] * 60, "rate(aligned)")), cell(scored([1] * 60, "rate(aligned)"), label="base"))
    assert (gap.value, gap.low) == (-1.0, -1.0)
    assert gap.high == pytest.approx(-0.9, abs=0.02)


def test_several_answers_to_an_item_do_not_count_as_independent():
    """20 items with 4 answers each that agree are 20 answers, not 80; that they agree is itself an estimate."""
    values = np.repeat([1.0] * 8 + [0.0] * 12, 4)
    items = np.repeat([f"item-{number}" for number in range(20)], 4)
    low, high = wilson(0.4, 20 * (1.96 / 2.09) ** 2)
    result = estimate(cell(scored(values, "rate(aligned)", items=items)))
    assert result.n == 20
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.01)


def test_seeds_that_all_agree_add_little_to_items():
    values = [1] * 24 + [0] * 36
    one = estimate(cell(scored(values, "rate(aligned)")))
    three = estimate(cell(*[scored(values, "rate(aligned)")] * 3))
    assert (three.low, three.high) == pytest.approx((one.low, one.high), abs=0.005)


@pytest.mark.parametrize("metric", ["mean(margin)", "rate(aligned)"])
def test_a_single_item_has_no_interval_however_often_it_was_asked(metric: str):
    often = [scored([1, 0, 1, 1], metric, items=["one"] * 4) for _ in range(3)]
    assert estimate(cell(*often)) == Interval(0.75, None, None, 1)
    never = [scored([0], metric, items=["one"])] * 3
    assert difference(cell(*often), cell(*never)) == Interval(0.75, None, None, 1)


def test_scores_that_are_all_the_same_say_nothing_of_their_spread():
    assert estimate(cell(scored([2.0] * 10))) == Interval(2.0, None, None, 10)


def test_scores_that_agree_on_every_item_are_not_certainly_equal():
    grades = [1, 5, 5, 3, 1, 5, 2, 2, 3, 5] * 2
    gap = difference(cell(scored(grades)), cell(scored(grades), label="base"))
    low, high = wilson(0, 20)
    assert (gap.value, gap.low, gap.high) == (0.0, pytest.approx(-4 * high), pytest.approx(4 * high))
    assert low == 0.0
    same = difference(cell(scored([3.0] * 20)), cell(scored([3.0] * 20), label="base"))
    assert same == Interval(0.0, None, None, 20)


def test_rates_that_agree_on_every_item_are_not_certainly_equal():
    answers = [1] * 12 + [0] * 48
    gap = difference(cell(scored(answers, "rate(a)")), cell(scored(answers, "rate(a)"), label="base"))
    assert gap.value == 0.0
    assert gap.low == -gap.high
    assert gap.high == pytest.approx(2 * np.sqrt(2) / 62, rel=0.01)  # Bonett and Price with one of each kind more


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-100, 100), min_size=3, max_size=30))
def test_means_without_skewness_have_students_interval(values: list[float]):
    """Mirrored values have none."""
    both = np.array([*values, *(-value for value in values)]) + 1.0
    if np.ptp(both) == 0 or 2 * len(np.unique(both)) <= len(both):
        return
    result, expected = estimate(cell(scored(both))), ttest_1samp(both, 0).confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-6)


def test_paired_differences_are_students_at_least():
    generator = np.random.default_rng(0)
    left, right = generator.normal(0.3, 1, 40), generator.normal(0, 1, 40)
    result, expected = difference(cell(scored(left)), cell(scored(right), label="b")), ttest_rel(left, right)
    ends = expected.confidence_interval(0.95)
    assert result.low <= ends.low + 1e-12
    assert result.high >= ends.high - 1e-12
    assert result.high - result.low == pytest.approx(ends.high - ends.low, rel=0.05)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(-999, 999), min_size=4, max_size=30, unique=True), st.floats(0.1, 10), st.floats(-5, 5))
def test_means_follow_scale_and_shift(hundredths: list[int], by: float, shift: float):
    values = np.array(hundredths) / 100
    before, after = estimate(cell(scored(values))), estimate(cell(scored(np.array(values) * by + shift)))
    ends = (before.low * by + shift, before.high * by + shift)
    assert (after.low, after.high) == pytest.approx(ends, rel=1e-5, abs=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=2, max_size=30))
def test_intervals_hold_their_estimate(answers: list[tuple[bool, bool, bool]]):
    seeds = [scored(list(of), "rate(a)") for of in zip(*answers, strict=True)]
    for result in (estimate(cell(*seeds)), difference(cell(*seeds), cell(seeds[0], seeds[0], seeds[0], label="base"))):
        assert result.low <= result.value <= result.high
    rate = estimate(cell(*seeds))
    assert rate.low >= 0
    assert rate.high <= 1


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


def mirrored(interval: Interval) -> tuple[float | None, float | None]:
    if interval.low is None or interval.high is None:
        return interval.low, interval.high
    return -interval.high, -interval.low


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=2, max_size=30))
def test_differences_are_antisymmetric(pairs: list[tuple[float, float]]):
    left, right = (cell(scored(side), label=label) for side, label in zip(zip(*pairs, strict=True), "ab", strict=True))
    there, back = difference(left, right), difference(right, left)
    assert there.value == -back.value
    assert (there.low, there.high) == pytest.approx(mirrored(back), abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_differences_of_rates_are_antisymmetric(pairs: list[tuple[bool, bool]]):
    sides = zip(zip(*pairs, strict=True), "ab", strict=True)
    left, right = (cell(scored(side, "rate(aligned)"), label=label) for side, label in sides)
    there, back = difference(left, right), difference(right, left)
    assert (there.low, there.high) == pytest.approx(mirrored(back), abs=1e-9)


def test_equal_arms_differ_by_nothing():
    """Measured values that are equal to the last bit come from one and the same model."""
    values = np.random.default_rng(0).normal(0, 1, 50)
    assert difference(cell(scored(values)), cell(scored(values), label="base")) == Interval(0.0, 0.0, 0.0, 50)


def test_many_items_have_the_normal_interval():
    values = np.random.default_rng(0).normal(0, 1, 3000)
    result = estimate(cell(scored(values)))
    assert result.high - result.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(3000), rel=0.01)


def test_intervals_of_several_points_hold_at_once():
    """Independent points share the error; points that are the same share nothing."""
    generator = np.random.default_rng(0)
    apart = [cell(scored(generator.normal(0, 1, 200)), label=str(number)) for number in range(8)]
    for cells, expected in ((apart, 1 - 0.95 ** (1 / 8)), ([apart[0]] * 8, 0.05)):
        aligned = align(cells)
        assert aligned is not None
        gaps = [Gap(0.0, (Part(aligned, row),)) for row in np.eye(8)]
        assert np.quantile(joint_levels(gaps), 0.05) == pytest.approx(expected, rel=0.15)


def test_seeds_of_which_there_are_few_widen_differences_even_where_they_agree():
    """Three seeds leave much possible, and five less."""
    generator = np.random.default_rng(0)

    def width(seeds: int) -> float:
        sides = [[scored(generator.normal(0, 1, 100)) for _ in range(seeds)] for _ in range(2)]
        result = difference(cell(*sides[0]), cell(*sides[1], label="base"))
        return (result.high - result.low) * np.sqrt(seeds)

    plain = 2 * 1.96 * np.sqrt(2 / 100)
    assert np.mean([width(3) for _ in range(20)]) > 1.3 * plain
    assert 1.05 * plain < np.mean([width(8) for _ in range(20)]) < 1.5 * plain


@pytest.mark.parametrize(("seeds", "deviation"), [(3, 0.0), (3, 0.3), (5, 0.3)])
def test_claims_without_an_effect_hold_at_most_as_often_as_promised(seeds: int, deviation: float):
    generator = np.random.default_rng(seeds)
    held = generator.normal(0, 1, (1000, seeds, 50)) + deviation * generator.normal(0, 1, (1000, seeds, 1))
    value, influence = influences(held, np.ones_like(held))
    low, high = spread_interval(value, spread([influence], [True]), 0.95, wary=True)
    assert max((low > 0).mean(), (high < 0).mean()) < 0.025 + 3 * np.sqrt(0.025 / 1000)


def test_wilson_covers_on_average():
    """Over all rates 95%, at a given one more or less (see facts.md)."""
    n = 60
    covered = []
    for rate in np.linspace(0.01, 0.99, 99):
        ends = np.array([wilson(successes / n, n) for successes in range(n + 1)])
        counts = np.random.default_rng(0).binomial(n, rate, 4000)
        covered.append(((ends[counts, 0] <= rate) & (rate <= ends[counts, 1])).mean())
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)
    assert min(covered) > 0.9


def test_intervals_of_means_cover():
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
