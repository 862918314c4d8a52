"""Judges measured against hand labels, with figures worked out by hand or by scipy."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from scipy.stats import spearmanr

from compiler.evals import Calibration, Judging
from compiler.operations import Asked
from runtime.errors import UserError
from runtime.evals.calibration import Compared, check_believed, kappa, measure, spearman
from runtime.evals.hand_labels import HandLabels
from runtime.evals.statistics import wilson

YES_NO = Judging(model=Asked(name="judge", api="x/y"), prompt="rubric.md", answers=("yes", "no"))
SCALE = Judging(model=Asked(name="judge", api="x/y"), prompt="rubric.md", low="1", high="10")


def compared(*pairs: tuple[str | float, str | float | None]) -> list[Compared]:
    return [
        Compared(hand, judge, f"hand.jsonl:{line}", f"answer {line}", "ANSWER: so" if judge is None else "")
        for line, (hand, judge) in enumerate(pairs, 1)
    ]


def believed(rows: list[Compared], judging: Judging, agreement: str, between: float | None = None) -> None:
    labels = HandLabels((), (), 0, between)
    calibration = Calibration(labels="hand.jsonl", agreement=agreement)
    check_believed(measure(rows, judging), rows, labels, "haiku", calibration, "a.mix:1:1")


CHOICES = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15


def test_agreement_and_kappa_of_the_textbook_example() -> None:
    # p_o = 35/50; by chance yes 25/50 * 30/50 and no 25/50 * 20/50: p_e = 0.5, kappa = 0.2 / 0.5
    found = measure(compared(*CHOICES), YES_NO)
    assert found.agreement == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    assert (found.low, found.high) == wilson(0.7, 50)
    assert found.confusion == {"yes": {"yes": 20, "no": 5}, "no": {"yes": 10, "no": 15}}
    assert (found.n, found.unreadable, found.correlation) == (50, 0, None)


def test_an_unreadable_judgement_agrees_with_no_label() -> None:
    found = measure(compared(("yes", "yes"), ("yes", None), ("no", "no"), ("no", "no")), YES_NO)
    assert found.agreement == 0.75
    assert found.unreadable == 1
    # p_e = 2/4 * 1/4 + 2/4 * 2/4 + 0 * 1/4 = 0.375
    assert found.kappa == pytest.approx((0.75 - 0.375) / (1 - 0.375))
    assert found.confusion["yes"] == {"yes": 1, "no": 0, "unreadable": 1}


def test_kappa_says_nothing_where_chance_alone_would_agree() -> None:
    assert kappa({"yes": {"yes": 5, "no": 0}, "no": {"yes": 0, "no": 0}}) is None


def test_scores_are_compared_by_rank() -> None:
    generator = np.random.default_rng(3)
    hand = generator.integers(1, 11, 40).astype(float)
    judge = np.clip(np.round(hand + generator.normal(1, 1.5, 40)), 1, 10)
    found = measure(compared(*zip(hand.tolist(), judge.tolist(), strict=True)), SCALE)
    assert found.correlation == pytest.approx(cast(Any, spearmanr(hand, judge)).statistic)
    assert found.difference == pytest.approx(np.abs(judge - hand).mean())
    assert found.bias == pytest.approx((judge - hand).mean())
    assert found.low is not None
    assert found.high is not None
    assert found.correlation is not None
    assert 0.6 < found.low < found.correlation < found.high < 1
    assert measure(compared(*zip(hand.tolist(), judge.tolist(), strict=True)), SCALE) == found
    assert (found.agreement, found.kappa) == (None, None)


def test_ranks_are_correlated_over_the_last_axis() -> None:
    left = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0], [4.0, 3.0, 2.0, 1.0]])
    right = np.array([[10.0, 20.0, 30.0, 40.0]] * 3)
    found = spearman(left, right)
    assert found[[0, 2]].tolist() == pytest.approx([1.0, -1.0])
    assert np.isnan(found[1])


def test_few_scores_have_a_correlation_and_no_interval() -> None:
    found = measure(compared((1.0, 2.0), (5.0, 4.0), (9.0, 8.0)), SCALE)
    assert found.correlation == pytest.approx(1.0)
    assert (found.low, found.high) == (None, None)


def test_a_judge_that_agrees_enough_is_believed() -> None:
    believed(compared(*CHOICES), YES_NO, "7/10")
    believed(compared((1.0, 2.0), (5.0, 4.0), (9.0, 8.0)), SCALE, "0.99")


def test_a_judge_that_does_not_is_refused_with_figures_and_examples() -> None:
    with pytest.raises(UserError) as told:
        believed(compared(*CHOICES), YES_NO, "9/10", between=0.8)
    assert told.value.message.splitlines() == [
        "the judge haiku can't be believed: it agrees with 35 of 50 hand-labelled answers of hand.jsonl, 70% (95% "
        "interval 56% to 81%), kappa 0.40; at least 90% is asked for",
        "  hand / judge     yes      no",
        "  yes               20       5",
        "  no                10      15",
        '  hand.jsonl:26: by hand no, by the judge yes: "answer 26"',
        '  hand.jsonl:27: by hand no, by the judge yes: "answer 27"',
        '  hand.jsonl:28: by hand no, by the judge yes: "answer 28"',
        "  readers agree with each other in 80% of their pairs of labels",
    ]


def test_the_scores_that_are_furthest_off_are_shown() -> None:
    with pytest.raises(UserError) as told:
        believed(compared((1.0, 9.0), (5.0, 4.0), (9.0, 8.0), (3.0, 3.0)), SCALE, "0.8")
    assert "ranks 4 hand-labelled answers of hand.jsonl with a correlation of -0.20 to the hand's" in told.value.message
    assert "is 2.50 off on average; at least 0.80 is asked for" in told.value.message
    assert told.value.message.splitlines()[1] == '  hand.jsonl:1: by hand 1, by the judge 9: "answer 1"'


@pytest.mark.parametrize(
    ("rows", "judging", "message"),
    [
        ([("yes", "yes")] * 3 + [("yes", None)], YES_NO, "1 of its 4 judgements can't be read"),
        ([(1.0, 1.0), (2.0, 2.0)], SCALE, "there are too few to tell a rank correlation"),
        ([(5.0, 1.0), (5.0, 2.0), (5.0, 3.0)], SCALE, "the hand labels give one score throughout"),
        ([(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)], SCALE, "the judge gives one score throughout"),
    ],
)
def test_what_cannot_be_measured_is_told(
    rows: list[tuple[str | float, str | float | None]], judging: Judging, message: str
) -> None:
    with pytest.raises(UserError) as told:
        believed(compared(*rows), judging, "1/10")
    assert message in told.value.message
    assert told.value.help
