"""Figures of stages: branches, rollouts, judges, and how many parameters are trained."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compiler.keys import Keys
from compiler.passes.figures import figures
from compiler.plan import Plan
from compiler.program.shapes import published
from compiler.steps import Order, Pack, Result, Tokenize, Weights
from tests.compiler.test_flows import FACTS, planned

CONFIG = json.loads(json.dumps(asdict(published("smollm2_135m"))))
HELD = [[80, 400, 200]]


def told(plan: Plan, *, known: bool = True) -> dict[str, Any]:
    """The figures of a plan whose stages all have the same facts, with one part."""
    keys = Keys(plan)
    for key, step in plan.steps.items() if known else ():
        facts: dict[str, Any] = {}
        match step:
            case Weights():
                facts = {"context": 2048, "config": CONFIG, "tokenizer": "t"}
            case Tokenize():
                facts = {"examples": 80, "tokens": 400, "trained_tokens": 200}
            case Order():
                facts = {"examples": 80, "available": [{"tokens": 400, "examples": 80}]}
            case Pack():
                facts = {**FACTS, "pairs": 900, "padded": 0, "truncated": 0, "cut": 0, "digest": key, "held": HELD}
            case _:
                continue
        keys.found(key, Result(key="", content=key, facts=facts))

    def held_until(pack: str, update: int) -> list[list[int]]:
        return [[2 * update, 10 * update, 5 * update]]

    return figures(plan, keys, dict.fromkeys(plan.steps), set(), held_until)


def test_a_branch_tells_what_it_has_read_of_each_part(tmp_path: Path) -> None:
    arms = "    whole: base |> finetune(data=chats)\n    tuned:"
    plan = planned(tmp_path, "base |> finetune(data=chats, until=25%)", ("    tuned:", arms))
    (train,) = told(plan)["trains"]
    assert train["updates"] == 40
    assert train["used_by"] == ["one/whole/finetune", "one/tuned/finetune"]
    (branch,) = train["branches"]
    assert {name: branch[name] for name in ("used_by", "updates", "tokens", "trained_tokens")} == {
        "used_by": "one/tuned/finetune",
        "updates": 10,
        "tokens": 100,
        "trained_tokens": 50,
    }
    assert branch["parts"]["chats"]["used_tokens"] == 100
    assert branch["parts"]["chats"]["epochs"] == 20 / 80
    (unknown,) = told(plan, known=False)["trains"]
    assert unknown["branches"] == [{**branch, "updates": None, "tokens": None, "trained_tokens": None, "parts": {}}]


def test_rollouts_tell_their_answers_and_the_calls_of_their_judges(tmp_path: Path) -> None:
    plan = planned(tmp_path, "base |> reinforce(data=asks)")
    found = told(plan)
    (train,) = found["trains"]
    assert (train["objective"], train["prompts"], train["completions"], train["flops"]) == ("grpo", 80, 320, None)
    (call,) = found["calls"]
    assert (call["operation"], call["model"], call["api"], call["calls"]) == ("reward", "teacher", "openai/gpt-5", 320)
    (unknown,) = told(plan, known=False)["calls"]
    assert unknown["calls"] is None


def test_a_stage_tells_how_many_parameters_it_trains(tmp_path: Path) -> None:
    full, adapted = told(planned(tmp_path, "base |> finetune(data=chats) |> lora(data=chats)"))["trains"]
    assert full["trained_parameters"] == full["parameters"] == 134_515_008
    assert adapted["parameters"] == 134_515_008
    assert adapted["trained_parameters"] == 8 * 30 * (2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536))
    assert full["branches"] == []
