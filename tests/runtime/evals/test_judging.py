"""Judges of evaluations: what they are shown, and what is read out of their words."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.evals import Judging
from runtime.errors import UserError
from runtime.evals.judging import JudgedAnswer, Judgement, judge_answers
from tests.runtime.model_calls.asking import ASKED, asked_text, calling
from tests.runtime.model_calls.conftest import server as server
from tests.runtime.model_calls.server import Server

SCALE = Judging(model=ASKED, prompt="rubric.md", low="1", high="10")
LABELS = Judging(model=ASKED, prompt="rubric.md", answers=("yes", "no"))
RECORD = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}],
    "right": "four",
}


def judged(store: Path, judging: Judging, prompt: str, *texts: str, first: int = 0) -> list[Judgement]:
    with calling(store) as caller:
        answers = [JudgedAnswer(RECORD, text, f"rows.jsonl:{line}") for line, text in enumerate(texts, 1)]
        return judge_answers(answers, judging, prompt, caller, first)


def test_a_judge_sees_the_row_the_prompt_the_answer_and_all_of_it(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: "I think so.\nANSWER: 7"
    prompt = "{{ right }}|{{ prompt }}|{{ answer }}|{{ scale }}|{{ transcript }}"
    assert judged(tmp_path, SCALE, prompt, "4") == [Judgement(None, 7.0, "I think so.\nANSWER: 7")]
    row, said, answer, scale, whole = asked_text(server.seen[0]).split("\n\nEnd with")[0].split("|")
    assert (row, answer, scale) == ("four", "4", "1 to 10")
    assert said == "System: Be brief.\n\nUser: 2 + 2?"
    assert whole == f"{said}\n\nAssistant: 4"


def test_a_judge_chooses_among_labels(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: "**Answer:** Yes."
    assert [each.label for each in judged(tmp_path, LABELS, "Is {{ answer }} one of {{ answers }}?", "4")] == ["yes"]
    assert "It is one of: yes, no." in asked_text(server.seen[0])


def test_what_cannot_be_read_is_asked_for_twice_and_never_taken_for_a_no(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: "ANSWER: no" if count and "4?" in asked_text(body) else "Hard to say."
    found = judged(tmp_path, LABELS, "{{ answer }}?", "4", "5")
    assert [each.label for each in found] == ["no", None]
    assert found[1].unreadable == "writer said 'Hard to say.'"
    assert len(server.seen) == 4
    assert judged(tmp_path, LABELS, "{{ answer }}?", "4", "5") == found
    assert len(server.seen) == 4


def test_another_first_sample_is_another_judgement(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: f"ANSWER: {count + 1}"
    assert [judged(tmp_path, SCALE, "{{ answer }}", "4", first=first)[0].value for first in (0, 2, 0)] == [1, 2, 1]


def test_a_column_that_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"asks for something that rows\.jsonl:1 lacks: 'wrong' is undefined"):
        judged(tmp_path, SCALE, "{{ wrong }}", "4")
