"""Evaluations by prompts through the command line: answered once, judged, judged anew, killed, in suites, served."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from compiler.steps import Report
from compiler.values import END
from runtime.progress import Reporter
from runtime.saved import find_study
from runtime.store import Store
from tests.end_to_end.project import make_project, mixc
from tests.end_to_end.test_faults import start
from tests.runtime.model_calls.conftest import server as server
from tests.runtime.model_calls.server import Body, Server, serving

SPEC = """\
edition: 2026

model tiny:
  from: ./tiny

model judge:
  api: openai-api/local/judge
  price: {input: 1 dollar, output: 2 dollars}
  spend: 1 dollar
  max_tokens: 50

model served:
  api: openai-api/local/other
  temperature: 0.5
  max_tokens: 20

source chats:
  format: chat
  files: chats.jsonl

train finetune:
  objective: supervised
  data: chats
  sequence: 512 tokens
  batch: 1 example
  for: 20 steps
  optimizer: adamw(lr=1e-2)
  precision: float32

eval quality:
  doc: How good an answer is.
  prompts: prompts.jsonl
  samples: 2
  max_tokens: 12
  judge: judge
  prompt: rubric.md
  scale: 1..10

eval kind:
  prompts: prompts.jsonl
  max_tokens: 8
  classify: {letter: "[a-z]", other: "^[^a-z]+$"}
  metric: rate(letter)

eval both:
  suite: [quality, kind]

study answers:
  question: Do answers get better?
  base: tiny
  seeds: [0, 1]
  arms:
    tuned: base |> finetune
    other: served
  evals:
    both: [start, end]
  expect:
    - both.quality(tuned) > both.quality(base)
    - both.kind(other) >= 50%
"""
RUBRIC = "Rate {{ answer }} as an answer to {{ prompt }}; good is {{ good }}. All: {{ transcript }}"


def project(folder: Path, spec: str = SPEC) -> Path:
    make_project(folder, spec)
    rows: list[dict[str, Any]] = [
        {"prompt": f"Question {number}?", "good": "four", "id": f"q{number}"} for number in range(5)
    ]
    said = [{"role": role, "content": role[0]} for role in ("system", "user", "assistant", "user")]
    rows.append({"messages": said, "good": "more", "id": "turns"})
    (folder / "prompts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "rubric.md").write_text(RUBRIC)
    return folder


def answer(body: Body, count: int) -> str:
    if body["model"] == "judge":
        return f"Hm.\nANSWER: {len(body['messages'][-1]['content']) % 10 + 1}"
    return f"answer {count}"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Server]]:
    """A project whose study was killed while the first model answered, and then run to its end."""
    folder = project(tmp_path_factory.mktemp("prompts"))
    with serving(answer=answer) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        process = start(folder)
        while not 4 <= sum(stored(folder).values()) < ANSWERS:
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.01)
        process.kill()
        process.communicate()
        run(folder)
        yield folder, running


ANSWERS = 6 * (2 + 1)
"""That a point has: to six prompts, two and one."""


def run(folder: Path, *words: str) -> str:
    done = mixc(folder, "run", "study.mix", *words)
    assert done.returncode == 0, done.stderr
    return done.stderr


def stored(folder: Path) -> dict[str, int]:
    """Answers in the store, by who gave them."""
    path = folder / "runs" / "answers" / "answers.sqlite"
    if not path.exists():
        return {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        try:
            return dict(database.execute("SELECT model, count(*) FROM answers GROUP BY model").fetchall())
        except sqlite3.OperationalError:  # it is only just made
            return {}


def calls(folder: Path) -> dict[str, int]:
    """How often each model answered and the answer was stored."""
    with closing(sqlite3.connect(folder / "runs" / "answers" / "answers.sqlite")) as database:
        return dict(database.execute("SELECT model, calls FROM used").fetchall())


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "runs" / "studies" / "answers" / "results.json").read_text())


def judged(folder: Path, name: str, eval: str) -> list[dict[str, Any]]:
    """The judged answers of an arm at its end, with its first seed."""
    store = Store(folder / "runs", print)
    context = find_study("answers", store, Reporter(Console(file=io.StringIO())))
    (report,) = (step for _, step in context.keys.plan.of(Report))
    point = next(
        each
        for each in report.points
        if (each.arm, each.eval, each.moment) == (name, eval, END) and each.seed in (0, None)
    )
    return pq.read_table(context.folder(point.score) / "judged.parquet").to_pylist()


def test_a_killed_run_asks_nothing_twice(ran: tuple[Path, Server]) -> None:
    folder, server = ran
    counts = calls(folder)
    assert counts == stored(folder)
    own = {model: count for model, count in counts.items() if not model.startswith("openai-api")}
    # The base and seed 0 before its first update are one; seed 1 draws others of the same model.
    assert sorted(own.values()) == [ANSWERS, ANSWERS, 2 * ANSWERS]
    assert counts["openai-api/local/other"] == ANSWERS
    assert max(server.whole.values()) <= 3  # three answers to a prompt of one served model, each once


def test_results_are_named_by_their_suite_and_counted_in_prompts(ran: tuple[Path, Server]) -> None:
    folder, _ = ran
    found = results(folder)
    assert set(found["arms"]) == {"base", "tuned", "other"}
    assert all(sorted(evals) == ["both.kind", "both.quality"] for evals in found["arms"].values())
    (base,) = found["arms"]["base"]["both.quality"]
    assert (base["metric"], base["n"], base["unreadable"], base["seed"]) == ("mean(score)", 6, 0, None)
    assert 1 <= base["value"] <= 10
    assert [each["claim"] for each in found["claims"]] == [
        "both.quality(tuned) > both.quality(base)",
        "both.kind(other) >= 50%",
    ]
    assert "no result" not in " ".join(each["detail"] for each in found["claims"])


def test_judged_answers_are_kept_beside_their_prompts(ran: tuple[Path, Server]) -> None:
    folder, _ = ran
    rows = judged(folder, "other", "both.quality")
    assert [row["sample"] for row in rows] == [0, 1] * 6
    other, turns = [row for row in rows if row["id"] == "turns"]
    assert [each["role"] for each in json.loads(turns["messages"])] == ["system", "user", "assistant", "user"]
    assert turns["answer"] != other["answer"]
    assert turns["detail"] == f"Hm.\nANSWER: {turns['value']:.0f}"
    assert (turns["label"], turns["unreadable"], turns["finish"]) == (None, None, "stop")
    kinds = judged(folder, "tuned", "both.kind")
    assert all(row["label"] in ("letter", "other", "no label") or row["unreadable"] for row in kinds)


def test_another_judge_rubric_or_metric_samples_nothing(ran: tuple[Path, Server], tmp_path: Path) -> None:
    """Last: it changes the answers that the server gives."""
    folder, server = ran
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    (again / "rubric.md").write_text(f"{RUBRIC} Be strict.")
    (again / "study.mix").write_text(SPEC.replace("rate(letter)", "rate(other)"))
    server.answer = lambda body, count: "I won't say."
    before, seen = calls(again), len(server.seen)
    said = run(again)
    assert {body["model"] for body in server.seen[seen:]} == {"judge"}
    changed = {model for model, count in calls(again).items() if count != before[model]}
    assert changed == {"openai-api/local/judge"}
    # Nothing can be read of what the judge says now: that is said, and decides nothing.
    assert "WARNING: all of 12 answers of served to quality are unreadable (100%)" in " ".join(said.split())
    found = results(again)
    (base,) = found["arms"]["base"]["both.quality"]
    assert (base["value"], base["n"], base["unreadable"]) == (None, 0, 12)
    assert found["claims"][0]["outcome"] == "undecided"
    (kind,) = found["arms"]["other"]["both.kind"]
    assert (kind["metric"], kind["value"]) == ("rate(other)", 0)


def test_the_plan_tells_calls_and_what_they_may_cost(tmp_path: Path, server: Server) -> None:
    folder = project(tmp_path)
    planned = mixc(folder, "plan", "study.mix")
    assert planned.returncode == 0, planned.stderr
    assert not server.seen
    words = " ".join(planned.stdout.split())
    assert "quality is judged by judge (openai-api/local/judge) at 5 points: 60 times, for $0.0" in words
    assert "quality asks base, tuned at 4 points: 48 times" in words
    assert "kind asks served (openai-api/local/other) at 1 point: 6 times, for an unknown price" in words
