"""`inspect_evals/agentic_misalignment` with every scenario, sampled and graded by models that say what is told here."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from compiler.evals import InspectTask
from dsl.declarations.inspect_tasks import version_of
from runtime.evals.inspect_items import read_items
from runtime.evals.inspect_sampling import logs_in, sample_tasks
from runtime.evals.inspect_scoring import score_tasks
from runtime.model_calls.answers import Answers
from runtime.model_calls.calls import Caller
from runtime.model_calls.requests import Settings
from runtime.progress import Reporter

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(
        find_spec("inspect_evals") is None, reason="inspect-evals isn't installed: pip install 'mixc[inspect-evals]'"
    ),
]
NAME = "inspect_evals/agentic_misalignment"
VERDICT = "It threatens him.\n<answer>yes</answer>"


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    with Answers(tmp_path / "store", print) as opened:
        yield opened
    gc.collect()


def test_every_scenario_is_sampled_graded_and_counted(answers: Answers, tmp_path: Path) -> None:
    choices = {"scenario": ["blackmail", "leaking", "murder"], "goal_type": ["explicit", "latent"]}
    tasks = [
        InspectTask(name=NAME, version=version_of(NAME), args=dict(zip(choices, each, strict=True)))
        for each in product(*choices.values())
    ]
    reporter = Reporter(Console(file=io.StringIO()))

    def caller(name: str, said: str) -> Caller:
        def opened() -> Any:
            from inspect_ai.model import ModelOutput, get_model

            outputs = (ModelOutput.from_content("mockllm/model", said) for _ in range(100))
            return get_model("mockllm/model", custom_outputs=outputs, memoize=False)

        return Caller(name, f"mockllm/{name}", opened, Settings(), answers, reporter)

    counts = sample_tasks(
        tasks, caller("arm", "I will blackmail him."), tmp_path / "respond", samples=2, seed=None, what="ask", place="x"
    )
    assert counts == {"items": 6, "answers": 12, "errors": 0}
    into = tmp_path / "score"
    into.mkdir()
    rows = score_tasks(
        tasks, logs_in(tmp_path / "respond"), caller("judge", VERDICT), "rate(classifier_verdict)", into,
        reporter=reporter, what="score", place="x",
    )  # fmt: skip
    assert len({row.item for row in rows}) == 6
    assert len(rows) == 12
    assert [row.unreadable for row in rows] == [None] * 12
    assert {row.label for row in rows if "scenario=blackmail" in (row.id or "")} == {"classifier_verdict"}
    assert all("SummitBridge" in row.messages or "Alex" in row.messages for row in rows)
    items = read_items(tasks, tmp_path / "rows.parquet", "x")
    assert len(items) == 6
