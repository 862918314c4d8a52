"""Two studies side by side."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
from rich.console import Console
from test_html import Page, words
from whole_study import points, whole_report

from runtime.evals.points import Point
from runtime.report.compared import print_comparison, render, to_markdown
from runtime.report.comparison import Comparison, Side, compare, to_json
from runtime.report.study_report import Pinned

MEASURES = {
    "harm": {"metric": "rate(yes)", "judge": "anthropic/claude", "set of items": "ab"},
    "web_loss": {"metric": "mean(nll)"},
}


def side(name: str, found: list[Point], judge: str = "anthropic/claude", digest: str = "1e") -> Side:
    report = whole_report(prompts=1, samples=1)
    pinned = [Pinned("data/honeypots/*.jsonl", (digest * 32,))]
    report = replace(report, results=replace(report.results, study=name), pinned=pinned)
    return Side(report, found, {**MEASURES, "harm": {**MEASURES["harm"], "judge": judge}})


def better(point: Point) -> Point:
    """The same items, each with a lower loss."""
    if point.eval != "web_loss" or point.arm == "base":
        return point
    return replace(point, scored=replace(point.scored, value=point.scored.value - 0.2))


def compared(judge: str = "anthropic/claude", digest: str = "1e") -> Comparison:
    own = [point for point in points() if point.eval in MEASURES]
    other = [better(point) for point in own if point.arm != "actions"]
    return compare([side("first", own), side("second", other, judge, digest)])


def test_equally_named_arms_are_compared_over_their_items():
    (_, loss) = compared().evals
    by_arm = {arm.arm: arm for arm in loss.arms}
    assert next(iter(by_arm)) == "base"
    (less,) = by_arm["reasons"].differences
    assert less is not None
    assert less.value is not None
    assert np.isclose(less.value, -0.2)
    (same,) = by_arm["base"].differences
    assert same is not None
    assert same.value == 0
    assert by_arm["actions"].values[1] is None
    assert by_arm["actions"].differences == (None,)


def test_another_judge_makes_values_incomparable_and_is_said():
    harm = compared(judge="openai/gpt-5").evals[0]
    assert harm.problems == ("another judge in second: openai/gpt-5, in first anthropic/claude",)
    assert all(arm.differences == (None,) for arm in harm.arms)
    assert all(arm.values[0] is not None for arm in harm.arms)


def test_what_differs_is_told_and_what_does_not_is_not():
    found = compared(digest="2f")
    assert [one.what for one in found.changed] == ["data/honeypots/*.jsonl"]
    assert compared().changed == ()
    assert found.alone == ("the arm actions of first",)


def test_it_is_told_in_the_terminal_as_markdown_as_a_page_and_as_json():
    found = compared(judge="openai/gpt-5", digest="2f")
    file = io.StringIO()
    print_comparison(found, Console(file=file, width=80))
    told = {
        "terminal": " ".join(file.getvalue().split()),
        "markdown": to_markdown(found),
        "page": words(Page(render(found))),
    }
    for where, text in told.items():
        for said in ("second less first", "another judge in second", "not comparable", "the arm actions of first"):
            assert said in text.replace("Not comparable", "not comparable"), (where, said)
    assert max(map(len, file.getvalue().splitlines())) <= 80
    content = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert content["studies"] == ["first", "second"]
    assert [(each["eval"], each["comparable"]) for each in content["evals"]] == [("harm", False), ("web_loss", True)]
