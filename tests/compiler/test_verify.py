"""Errors that only data shows: each with a code that has a page, and a place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compiler.keys import Keys
from compiler.passes.verify import Problem, verify
from compiler.plan import Plan
from compiler.steps import Pack, Result, Weights
from dsl.diagnostics.pages import read_page
from tests.compiler.test_plan import SPEC, planned

FACTS = {"updates": 40, "tokens": 8000, "trained_tokens": 4000}


def problems(plan: Plan, facts: dict[str, Any] | None = None, context: int = 2048) -> list[Problem]:
    """What is wrong with a plan whose stages all have the same facts, but for those by the name of their data."""
    keys = Keys(plan)
    for key, step in plan.of(Pack):
        own = (facts or {}).get(step.name, {})
        keys.found(key, Result(key="", content="", facts={**FACTS, **own}))
    for key, _ in plan.of(Weights):
        keys.found(key, Result(key="", content="", facts={"context": context}))
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
        ("", "", {}, 128, "MIX0404", "  sequence: 256 tokens"),
        ("  evals:\n", "  match: tokens(of=finetune, within=1%)\n  evals:\n", {}, 2048, None, ""),
        ("  evals:\n", "  match: tokens(within=1%)\n  evals:\n", {}, 2048, "MIX0405", "  match:"),
        ("every 50%]", "50 steps]", {}, 2048, "MIX0406", "eval margin"),
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
