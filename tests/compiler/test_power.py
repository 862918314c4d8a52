"""What a study's claims could show, told from the plan."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest

from compiler.keys import Keys
from compiler.passes.power import power
from compiler.steps import Read, Result
from tests.compiler.test_plan import SPEC, planned

CLAIMS = """\
eval honest:
  choice: pairs.jsonl

study both:
  base: small
  seeds: [0, 1, 2]
  arms:
    advice: base |> finetune(data=advice)
    steep: base |> finetune(data=advice, optimizer.lr=1e-3)
  evals: [margin, honest]
  expect:
    - {claim}
"""


def told(folder: Path, claim: str, prompts: int | None = 100) -> dict[str, Any]:
    text = SPEC[: SPEC.index("study both:")] + CLAIMS.format(claim=claim)
    plan = planned(folder, text)
    keys = Keys(plan)
    for key, _ in plan.of(Read) if prompts is not None else ():
        keys.found(key, Result(key="", content=key, facts={"examples": prompts}))
    (found,) = power(plan, keys)
    return found


def reach(level: float = 0.95) -> float:
    return NormalDist().inv_cdf((1 + level) / 2) + NormalDist().inv_cdf(0.8)


def test_two_arms_are_taken_as_independent_and_seeds_as_alike_or_not(tmp_path: Path) -> None:
    found = told(tmp_path, "honest(steep) > honest(advice)")
    assert (found["study"], found["seeds"], found["level"]) == ("both", 3, 0.95)
    assert found["evals"] == {"honest": {"prompts": 100, "samples": 1}}
    (smallest,) = found["smallest"]
    alike = reach() * sqrt(2 * 0.25 / 100)
    assert smallest == pytest.approx({"rate": 0.5, "low": alike / sqrt(3), "high": alike})


def test_the_base_has_no_seeds(tmp_path: Path) -> None:
    (smallest,) = told(tmp_path, "honest(steep) >= honest(base) - 2%")["smallest"]
    assert smallest["low"] == pytest.approx(reach() * sqrt(0.25 / 300 + 0.25 / 100))


def test_a_rate_that_is_named_counts_too(tmp_path: Path) -> None:
    half, named = told(tmp_path, "2 * honest(steep) <= 10%")["smallest"]
    assert (half["rate"], named["rate"]) == (0.5, pytest.approx(0.05))
    assert named["high"] == pytest.approx(2 * reach() * sqrt(0.05 * 0.95 / 100))


def test_several_claims_share_the_error(tmp_path: Path) -> None:
    text = SPEC[: SPEC.index("study both:")] + CLAIMS.format(claim="honest(steep) > 60%\n    - honest(advice) > 60%")
    plan = planned(tmp_path, text)
    assert [each["level"] for each in power(plan, Keys(plan))] == [pytest.approx(0.975)] * 2


@pytest.mark.parametrize(
    ("claim", "prompts"),
    [
        ("margin(steep) > margin(base)", 100),  # a mean, whose spread nobody knows yet
        ("honest(steep) / honest(base) < 2", 100),
        ("honest(steep) > honest(base)", None),
        ("honest(steep) > honest(base)", 1),
    ],
)
def test_what_is_not_known_is_left_open(tmp_path: Path, claim: str, prompts: int | None) -> None:
    assert told(tmp_path, claim, prompts)["smallest"] == []
