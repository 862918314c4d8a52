"""Claims: what holds, what fails, what stays open, and what can't be judged."""

from __future__ import annotations

import re
from typing import cast

import numpy as np
import pytest
from scipy.stats import t

from compiler.values import END, Moment
from dsl.scalars import parse_text
from dsl.values import Compare
from runtime.evals.claims import Claim, Judgement, judge, judge_all
from runtime.evals.points import Point
from runtime.evals.score import Scored

ITEMS = tuple(f"item-{number:03d}" for number in range(100))
NOISE = np.random.default_rng(0).normal(0, 1, len(ITEMS))
START = Moment(kind="fraction", value="0")
HALF = Moment(kind="fraction", value="1/2")


def point(arm: str, values, eval: str = "margin", seed: int | None = 0, **more) -> Point:
    metric = "rate(aligned)" if eval.startswith("rate") else "mean(margin)"
    values = np.broadcast_to(np.asarray(values, dtype=np.float64), len(ITEMS))
    scored = Scored(metric, ITEMS, values, np.ones(len(ITEMS)))
    stage = None if arm == "base" else "finetune"
    return Point(arm, eval, stage, None if arm == "base" else seed, 10, 1000, scored, **more)


def rate(arm: str, percent: int, **more) -> Point:
    """The same items are aligned in every arm, as many as there are."""
    return point(arm, np.arange(len(ITEMS)) < percent, "rate", **more)


def judged(text: str, *points: Point, **more) -> Judgement:
    return judge(Claim(text, cast(Compare, parse_text("claim", text))), points, **more)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("margin(better) > margin(base)", "held"),
        ("margin(better) >= margin(base)", "held"),
        ("margin(better) < margin(base)", "failed"),
        ("margin(better) <= margin(base)", "failed"),
        ("margin(better) == margin(base)", "failed"),
        ("margin(better) != margin(base)", "held"),
        ("margin(same) > margin(base)", "undecided"),
        ("margin(same) < margin(base)", "undecided"),
        ("margin(better) - margin(base) > 0.4", "held"),
        ("margin(better) - margin(base) > 0.6", "failed"),
        ("margin(better) - margin(base) > 0.5", "undecided"),
        ("margin(twin) == margin(base)", "held"),
        ("margin(twin) > margin(base)", "failed"),
        ("margin(twin) >= margin(base)", "held"),
        ("margin(twin) != margin(base)", "failed"),
    ],
)
def test_outcomes(text: str, outcome: str):
    """The gap of `better` is 0.5 in the mean, with noise much smaller than the spread of items."""
    small = np.random.default_rng(1).normal(0, 0.1, len(ITEMS))
    small -= small.mean()
    points = [
        point("base", NOISE),
        point("better", NOISE + 0.5 + small),
        point("same", NOISE + small),
        point("twin", NOISE),
    ]
    assert judged(text, *points).outcome == outcome


def test_a_percent_is_points_and_the_sentence_says_so():
    points = [rate("base", 50), rate("arm", 30)]
    held = judged("rate(arm) <= rate(base) - 2%", *points)
    assert held.outcome == "held"
    assert held.detail.startswith("left is 30.0%, right 48.0%; left less right -18.0 points, 95% interval -2")
    assert held.detail.endswith("(100 items, 1 seed)")
    assert judged("rate(arm) * 3 <= rate(base)", *points).outcome == "failed"


def test_a_rate_of_nothing_is_not_certain():
    assert judged("rate(arm) <= 5%", rate("arm", 0)).outcome == "held"
    assert judged("rate(arm) <= 1%", rate("arm", 0)).outcome == "undecided"
    assert judged("rate(arm) < rate(base)", rate("arm", 0), rate("base", 0)).outcome == "undecided"


def test_seeds_that_disagree_leave_a_claim_open():
    base = point("base", NOISE)
    agreeing = [point("arm", NOISE + 0.5, seed=seed) for seed in range(3)]
    disagreeing = [point("arm", NOISE + shift, seed=seed) for seed, shift in enumerate((-1.0, 0.5, 2.0))]
    assert judged("margin(arm) > margin(base)", base, *agreeing).outcome == "held"
    assert judged("margin(arm) > margin(base)", base, *disagreeing).outcome == "undecided"


def along(arm: str, *shifts: float) -> list[Point]:
    moments = [Moment(kind="fraction", value=f"{number}/{len(shifts)}") for number in range(1, len(shifts))] + [END]
    noise = np.random.default_rng(len(arm)).normal(0, 0.1, len(ITEMS))
    return [point(arm, NOISE + shift + noise, moment=moment) for shift, moment in zip(shifts, moments, strict=True)]


def test_at_all_is_one_joint_test_over_the_common_points():
    claim = "margin(left, at=all) > margin(right, at=all)"
    low = along("right", 0, 0, 0, 0)
    assert judged(claim, *along("left", 1, 1, 1, 1), *low).outcome == "held"
    assert judged(claim, *along("left", 1, 0, 1, 1), *low).outcome == "undecided"
    failed = judged(claim, *along("left", 1, 1, -1, 1), *low)
    assert failed.outcome == "failed"
    assert failed.detail.startswith("at point 3 of 4, jointly over all, ")
    assert judged(claim, *along("left", 1, 1), *low).outcome == "held"  # the half and the end are in common
    assert judged("margin(left, at=all) > margin(base)", *along("left", 1, 1), point("base", NOISE)).outcome == "held"


def test_moments():
    points = [
        point("arm", NOISE, moment=START),
        point("arm", NOISE + 1, moment=HALF),
        point("arm", NOISE + 2),
        point("arm", NOISE - 5, last=False),
    ]
    assert judged("margin(arm) > margin(arm, at=50%)", *points).outcome == "held"
    assert judged("margin(arm, at=start) < margin(arm, at=50%)", *points).outcome == "held"
    assert judged("margin(arm, at=end of finetune) == margin(arm)", *points).outcome == "held"
    missing = judged("margin(arm, at=25%) > 0", *points)
    assert missing == Judgement("undecided", "margin has no result for arm at that point")


def test_factors_name_arms_and_one_left_out_averages():
    levels = {
        f"{documents}.{chats}": {"documents": documents, "chats": chats}
        for documents in ("none", "web")
        for chats in ("none", "advice")
    }
    shifts = {"none.none": 0.0, "none.advice": 0.0, "web.none": 1.0, "web.advice": 3.0}
    points = [point(arm, NOISE + shift) for arm, shift in shifts.items()]
    one = judged(
        "margin(documents=web, chats=advice) - margin(documents=none, chats=none) > 2.9", *points, levels=levels
    )
    assert one.outcome == "held"
    mean = judged("margin(documents=web) - margin(documents=none) == 2", *points, levels=levels)
    assert mean.outcome == "held"
    nothing = judged("margin(documents=fiction) > 0", *points, levels=levels)
    assert nothing == Judgement("undecided", "margin names no arm of this study")


def test_stop_is_of_the_running_arm():
    points = [point("arm", 1 + NOISE / 10, moment=START), point("arm", 0.5 + NOISE / 10)]
    assert judged("margin < 0.8 * margin(at=start)", *points, running="arm").outcome == "held"


def test_members_of_suites_and_imports_are_found_by_the_names_of_the_plan():
    text = "assessment.margin(arm) > 0"
    claim = Claim(text, cast(Compare, parse_text("claim", text)), {"assessment.margin": "margin"})
    assert judge(claim, [point("arm", 1 + NOISE / 10)]).outcome == "held"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("margin(nobody) > 0", "margin has no result for nobody"),
        ("loss(arm) > 0", "loss has no result for arm"),
        ("1 > 0", "it names no evaluation"),
        ("1 / (margin(arm) - margin(arm)) > 0", "it divides by a result that may be zero"),
    ],
)
def test_what_cannot_be_judged_is_undecided_and_says_why(text: str, detail: str):
    assert judged(text, point("arm", NOISE)) == Judgement("undecided", detail)


def test_arms_without_common_items_are_undecided():
    other = Point("other", "margin", None, None, 0, 0, Scored("mean(margin)", ("x",), np.ones(1), np.ones(1)))
    assert "items of margin in common" in judged("margin(arm) > margin(other)", point("arm", NOISE), other).detail
    assert "single item" in judged("margin(other) > 0", other).detail


def test_a_study_s_claims_share_the_error():
    """Holm: the least likely is judged at 1 - 5% / 3, and the others follow only as long as each is decided."""
    points = [rate("base", 50), rate("far", 20), rate("near", 40)]
    texts = ("rate(near) < rate(base)", "rate(far) < rate(base)", "rate(near) > 31%")
    claims = [Claim(text, cast(Compare, parse_text("claim", text))) for text in texts]
    alone = [judge(claim, points) for claim in claims]
    near, far, open_ = judge_all(claims, points)
    assert (far.outcome, far.level) == ("held", pytest.approx(1 - 0.05 / 3))
    assert (near.outcome, near.level) == ("held", pytest.approx(1 - 0.05 / 2))
    assert (open_.outcome, open_.level) == ("undecided", pytest.approx(0.95))
    assert [each.p for each in (near, far, open_)] == [each.p for each in alone]
    assert "97.5% interval" in near.detail
    assert "(95% over the study's 3 claims), p = 0.00" in near.detail
    by_name = {claim.text: judgement for claim, judgement in zip(claims, (near, far, open_), strict=True)}
    backwards = judge_all(claims[::-1], points[::-1])
    assert [by_name[claim.text] for claim in claims[::-1]] == backwards


def test_a_claim_that_holds_alone_may_be_open_among_many():
    points = [rate("base", 50), rate("arm", 43)]
    texts = ["rate(arm) < rate(base)", *(f"rate(nobody{number}) < rate(base)" for number in range(9))]
    claims = [Claim(text, cast(Compare, parse_text("claim", text))) for text in texts]
    assert judge(claims[0], points).outcome == "held"
    (first, *others) = judge_all(claims, points)
    assert (first.outcome, first.level) == ("undecided", pytest.approx(0.995))
    assert all(other.p is None for other in others)


def test_p_is_where_the_interval_touches_zero():
    points = [rate("base", 50), rate("arm", 45)]
    judgement = judged("rate(arm) < rate(base)", *points)
    d, n = -5 / 102, 102  # Bonett and Price: five pairs differ, and one of each kind more
    error = np.sqrt((7 / n - d**2) / (n - 1))
    assert judgement.p == pytest.approx(2 * t.sf(abs(d) / error, n - 1), rel=1e-3)


def test_what_would_decide_it():
    generator = np.random.default_rng(4)
    noise = generator.normal(0, 1, len(ITEMS))
    noise -= noise.mean()
    open_ = judged("margin(arm) > margin(base)", point("base", NOISE), point("arm", NOISE + 0.1 + noise))
    assert open_.outcome == "undecided"
    assert open_.would_decide is not None
    found = re.fullmatch(r"about ([\d,]+) prompts would decide it if the difference stays \+0\.10", open_.would_decide)
    assert found is not None
    prompts = int(found[1].replace(",", ""))
    assert prompts == pytest.approx((1.98 * noise.std() / 0.1) ** 2, rel=0.1)
    apart = [point("arm", NOISE + shift, seed=seed) for seed, shift in enumerate((-0.3, 0.5, 1.0))]
    seeds = judged("margin(arm) > margin(base)", point("base", NOISE), *apart)
    assert seeds.would_decide is not None
    assert re.fullmatch(r"about \d+ seeds would decide it if the difference stays \+0\.4", seeds.would_decide)
    assert judged("margin(arm) > margin(base)", point("base", NOISE), point("arm", NOISE + 2)).would_decide is None
    equal = judged("rate(arm) < rate(base)", rate("arm", 40), rate("base", 40)).would_decide
    assert equal == "no number of prompts would decide it while both sides are equal"


def test_a_guard_is_a_claim_of_non_inferiority():
    assert judged("rate(tuned) >= rate(base) - 5%", rate("tuned", 50), rate("base", 50)).outcome == "held"
    assert judged("rate(tuned) >= rate(base) - 5%", rate("tuned", 49), rate("base", 50)).outcome == "held"
    assert judged("rate(tuned) >= rate(base) - 2%", rate("tuned", 50), rate("base", 50)).outcome == "undecided"
    assert judged("rate(tuned) >= rate(base) - 2%", rate("tuned", 30), rate("base", 50)).outcome == "failed"


def test_quotients_and_equal_rates():
    assert judged("rate(arm) / rate(base) < 0.8", rate("arm", 20), rate("base", 60)).outcome == "held"
    few = judged("rate(arm) / rate(base) < 2", rate("arm", 20), rate("base", 0))
    assert few.detail == "it divides by a result that may be zero"
    assert judged("rate(arm) == rate(base)", rate("arm", 40), rate("base", 40)).outcome == "undecided"


def test_the_order_of_points_changes_nothing():
    points = [point("base", NOISE)] + [point("arm", NOISE * (1 + seed / 9) + 0.1, seed=seed) for seed in range(3)]
    text = "margin(arm) > margin(base)"
    assert judged(text, *points) == judged(text, *points[::-1])
