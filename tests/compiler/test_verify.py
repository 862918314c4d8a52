"""Errors that only data shows: each with a code that has a page, and a place."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from compiler.keys import Keys
from compiler.passes.verify import Problem, verify
from compiler.plan import Plan
from compiler.program.shapes import published
from compiler.steps import Pack, Result, Weights
from dsl.diagnostics.pages import read_page
from tests.compiler.test_plan import SPEC, planned

FACTS: dict[str, Any] = {
    "updates": 40,
    "tokens": 8000,
    "trained_tokens": 4000,
    "examples": 80,
    "cumulative_tokens": [200 * update for update in range(1, 41)],
    "cumulative_trained_tokens": [100 * update for update in range(1, 41)],
    "cumulative_examples": [2 * update for update in range(1, 41)],
}
CONFIG = json.loads(json.dumps(asdict(published("llama3_2_1b")) | {"tied_embeddings": False}))


def problems(plan: Plan, facts: dict[str, Any] | None = None, context: int = 2048) -> list[Problem]:
    """What is wrong with a plan whose stages all have the same facts, but for those by the name of their data."""
    keys = Keys(plan)
    for key, step in plan.of(Pack):
        own = (facts or {}).get(step.name, {})
        keys.found(key, Result(key="", content="", facts={**FACTS, **own}))
    for key, _ in plan.of(Weights):
        keys.found(key, Result(key="", content="", facts={"context": context, "config": CONFIG}))
    return verify(plan, keys)


def test_a_sound_plan_has_no_problem(tmp_path: Path) -> None:
    assert problems(planned(tmp_path)) == []
    assert verify(planned(tmp_path), Keys(planned(tmp_path))) == []  # nothing known, nothing wrong


@pytest.mark.parametrize(
    ("before", "after", "facts", "context", "code", "field"),
    [
        ("", "", {"advice": {"updates": 19}}, 2048, "MIX0402", "train finetune"),
        (
            "batch: 1 example\n",
            "batch: 1 example\n  schedule: constant(warmup=9k tokens)\n",
            {},
            2048,
            "MIX0403",
            "train",
        ),
        (
            "batch: 1 example\n",
            "batch: 1 example\n  schedule: wsd(warmup=50%, decay=5k tokens)\n",
            {},
            2048,
            "MIX0403",
            "train",
        ),
        (
            "batch: 1 example\n",
            "batch: 1 example\n  schedule: wsd(warmup=50%, decay=4k tokens)\n",
            {},
            2048,
            None,
            "",
        ),
        ("", "", {}, 128, "MIX0404", "  sequence: 256 tokens"),
        ("  evals:\n", "  match: tokens(of=finetune, within=1%)\n  evals:\n", {}, 2048, None, ""),
        ("  evals:\n", "  match: tokens(within=1%)\n  evals:\n", {}, 2048, "MIX0405", "  match:"),
        ("every 50%]", "50 steps]", {}, 2048, "MIX0406", "eval margin"),
        ("(data=advice)\n", "(data=advice, until=50%)\n", {}, 2048, None, ""),
        ("every 50%]", "21 steps]", {}, 2048, None, ""),
        (
            "batch: 1 example\n",
            "batch: 1 example\n  groups:\n    - embeddings: frozen\n    - output: {lr: 10%}\n",
            {},
            2048,
            "MIX0408",
            "    - ",
        ),
        ("batch: 1 example\n", "batch: 1 example\n  groups:\n    - embedding: frozen\n", {}, 2048, None, ""),
        ("batch: 1 example\n", "batch: 1 example\n  groups:\n    - '*': frozen\n", {}, 2048, "MIX0408", "    - "),
    ],
)
def test_a_problem_has_a_page_and_a_place(
    tmp_path: Path, before: str, after: str, facts: dict[str, Any], context: int, code: str | None, field: str
) -> None:
    text = SPEC.replace(before, after) if before else SPEC
    found = problems(planned(tmp_path, text), facts, context)
    assert {problem.code for problem in found} == ({code} if code else set())
    for problem in found:
        assert read_page(problem.code) is not None
        line = int(problem.place.split(":")[-2])
        assert text.splitlines()[line - 1].startswith(field.split(" finetune")[0])
        assert problem.help


def test_a_point_behind_where_an_arm_leaves_never_comes(tmp_path: Path) -> None:
    text = SPEC.replace("advice: base |> finetune(data=advice)", "advice: base |> finetune(data=advice, until=50%)")
    (found,) = problems(planned(tmp_path, text.replace("every 50%]", "21 steps]")))
    assert (found.code, found.message) == (
        "MIX0406",
        "margin at 21 steps never happens: advice leaves finetune before",
    )


def test_the_dose_of_a_branch_is_what_it_has_read(tmp_path: Path) -> None:
    branch = ("advice: base |> finetune(data=advice)", "advice: base |> finetune(data=advice, until=50%)")
    dosed = SPEC.replace("  evals:\n", "  match: tokens(of=finetune, within=49%)\n  evals:\n")
    (found,) = problems(planned(tmp_path, dosed.replace(*branch)))
    assert "advice 4,000, character 8,000, steep 8,000 tokens" in found.message
    assert problems(planned(tmp_path, dosed.replace(*branch).replace("49%", "50%"))) == []
