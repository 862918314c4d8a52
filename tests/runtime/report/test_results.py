"""results.json: the shape that other tools rely on."""

from __future__ import annotations

import json

from example_study import points

from runtime.report.results import study_results, to_json
from runtime.report.study_report import StudyReport


def test_shape(report: StudyReport):
    content = json.loads(json.dumps(to_json(report.results), allow_nan=False))
    assert content.keys() >= {"study", "arms", "differences", "claims"}
    assert (content["complete"], content["stops"], content["judges"], content["distances"]) == (True, [], [], {})
    assert content["study"] == "reasons"
    assert list(content["arms"]) == ["base", "actions", "reasons"]
    entry = content["arms"]["reasons"]["bait_margin"][0]
    assert list(entry) == [
        *("metric", "stage", "seed", "step", "tokens", "value", "low", "high", "level", "n", "unreadable")
    ]
    assert list(content["differences"][0]) == [
        *("arm", "against", "eval", "metric", "step", "value", "low", "high", "level", "pairs")
    ]
    assert all(claim.keys() >= {"claim", "outcome", "detail"} for claim in content["claims"])


def test_every_point_has_each_seed_and_the_seeds_together(report: StudyReport):
    arms = to_json(report.results)["arms"]
    assert [entry["seed"] for entry in arms["base"]["bait_margin"]] == [None]
    assert [entry["seed"] for entry in arms["reasons"]["bait_rate"]] == [0, 1, 2, None]
    assert len(arms["reasons"]["bait_margin"]) == 8 * 4
    assert arms["base"]["bait_rate"][0]["stage"] is None
    assert (
        arms["reasons"]["bait_rate"][0] | {"stage": "finetune", "step": 200, "tokens": 200_000, "n": 60}
        == (arms["reasons"]["bait_rate"][0])
    )


def test_every_point_of_an_arm_is_compared_with_a_base_that_has_one(report: StudyReport):
    content = to_json(report.results)
    found = [one for one in content["differences"] if (one["arm"], one["eval"]) == ("reasons", "bait_margin")]
    assert [one["step"] for one in found] == [25 * step for step in range(1, 9)]
    last = found[-1]
    pooled = [one for one in content["arms"]["reasons"]["bait_margin"] if one["seed"] is None][-1]
    base = content["arms"]["base"]["bait_margin"][0]
    assert abs(last["value"] - (pooled["value"] - base["value"])) < 1e-9
    assert last["low"] < last["value"] < last["high"]
    assert (last["against"], last["pairs"], last["level"]) == ("base", 60, 0.95)


def test_without_a_base_there_are_no_differences(report: StudyReport):
    results = study_results("reasons", [point for point in points() if point.arm != "base"])
    assert results.differences == ()
    assert results.claims == ()
