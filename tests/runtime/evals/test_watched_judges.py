"""Judges in use: what is asked of them beside the answers, and what becomes of a watch that fails."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import runtime.steps.judges
from compiler.evals import Judging
from compiler.keys import Keys
from compiler.plan import Plan
from runtime.errors import UserError
from runtime.evals.canary import canary_key, drift, load
from runtime.evals.judging import JudgedAnswer, Judgement, judge_answers
from runtime.files import Files
from runtime.progress import Reporter
from runtime.steps.context import Context
from runtime.steps.judges import judge_watched
from runtime.store import Store
from tests.runtime.model_calls.asking import ASKED, calling
from tests.runtime.model_calls.conftest import server as server
from tests.runtime.model_calls.server import Server

RUBRIC = "Is <{{ answer }}> a good answer to {{ prompt }}?"
JUDGING = Judging(model=ASKED, prompt="rubric.md", answers=("good", "bad"))


class Run:
    """A run of its own over one store: judges answers, and tells what a user saw."""

    def __init__(self, folder: Path, judging: Judging = JUDGING) -> None:
        (folder / "rubric.md").write_text(RUBRIC)
        self.folder, self.judging, self.console = folder, judging, io.StringIO()
        digest = hashlib.sha256(RUBRIC.encode()).hexdigest()
        self.context = Context(
            folder,
            Store(folder / "runs"),
            Reporter(Console(file=self.console, width=400)),
            Keys(Plan(spec="a.mix", root=str(folder), steps={})),
            Files(folder, {"rubric.md": (digest,)}),
        )

    def judge(self, *texts: str) -> list[Judgement]:
        record = {"messages": [{"role": "user", "content": "Hello?"}]}
        answers = [JudgedAnswer(record, text, "prompts.jsonl:1") for text in texts]
        with calling(self.folder / "runs") as caller:
            return judge_watched(self.context, self.judging, answers, caller)

    @property
    def told(self) -> list[str]:
        return self.console.getvalue().splitlines()


def calls(server: Server) -> int:
    return sum(server.whole.values())


def test_canaries_are_asked_once_a_run_in_which_something_new_is_asked(tmp_path: Path, server: Server) -> None:
    server.answer = lambda body, count: "ANSWER: good"
    first = Run(tmp_path)
    assert [each.label for each in first.judge("a", "b")] == ["good", "good"]
    first.judge("c")  # another arm, in the same run
    assert calls(server) == 3
    assert first.told == []

    again = Run(tmp_path)
    again.judge("a", "b", "c")  # all of it is stored
    assert calls(server) == 3
    again.judge("d")
    again.judge("e")
    assert calls(server) == 3 + 2 + 2
    assert [line.split(" (")[0] for line in again.told] == [
        f"writer: the judge answers its 2 canaries as on {load_first(again)}"
    ]


def load_first(run: Run) -> str:
    known = load(run.folder / "runs", canary_key(run.judging, run.context.files.digests["rubric.md"]))
    assert known is not None
    assert drift(known) is None
    return known.date


def test_a_killed_watch_pays_for_no_call_twice(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer = lambda body, count: "ANSWER: good"
    Run(tmp_path).judge("a", "b")

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("runtime.evals.canary.save", killed)
        with pytest.raises(KeyboardInterrupt):
            Run(tmp_path).judge("c")
    assert calls(server) == 5
    Run(tmp_path).judge("d")
    assert calls(server) == 6  # the two canaries had been judged again already


def test_a_watch_that_fails_loses_no_judgement(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer = lambda body, count: "ANSWER: good"
    Run(tmp_path).judge("a")

    def dear(answers: Sequence[JudgedAnswer], judging: Judging, prompt: str, caller: Any, first: int = 0) -> Any:
        if first:
            raise UserError("$5 of $5 for writer are spent", "raise `spend:`")
        return judge_answers(answers, judging, prompt, caller)

    monkeypatch.setattr(runtime.steps.judges, "judge_answers", dear)
    run = Run(tmp_path)
    assert [each.label for each in run.judge("b")] == ["good"]
    assert run.told == ["writer: its canaries could not be judged again: $5 of $5 for writer are spent"]


def test_scores_and_unreadable_words(tmp_path: Path, server: Server) -> None:
    server.answer = lambda body, count: "Hm." if "<a>" in body["messages"][0]["content"] else "ANSWER: 7.5"
    run = Run(tmp_path, Judging(model=ASKED, prompt="rubric.md", low="1", high="10"))
    unreadable, score = run.judge("a", "b")
    assert (unreadable.value, unreadable.label, unreadable.unreadable) == (None, None, "writer said 'Hm.'")
    assert (score.value, score.label, score.unreadable) == (7.5, None, None)
    assert calls(server) == 3  # what can't be read is asked for once more
    assert "a number from 1 to 10" in server.seen[0]["messages"][0]["content"]
