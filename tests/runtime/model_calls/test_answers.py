"""Stored answers: kept through kills and damage, known by all that makes them, and by nothing else."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from runtime.errors import UserError
from runtime.model_calls.answers import Answers, Used
from runtime.model_calls.requests import Answer, Request, Settings, key_of

REQUEST = Request([{"role": "user", "content": "Is it so?"}])
ANSWER = Answer("It is.", input_tokens=7, output_tokens=3, seconds=0.5)
CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def filled(root: Path, count: int, said: list[str] | None = None) -> Answers:
    answers = Answers(root, (said if said is not None else []).append)
    for number in range(count):
        answers.put(bytes([number % 256, number // 256]) * 16, "m", replace(ANSWER, content=f"answer {number} " * 20))
    return answers


def test_an_answer_is_what_was_stored(tmp_path: Path) -> None:
    answer = Answer("a\nb ☂ \0", "tool_calls", (CALL,), "hm", 7, None, 0.25)
    with Answers(tmp_path, print) as answers:
        assert answers.get(bytes(32)) is None
        answers.put(bytes(32), "m", answer)
        assert answers.get(bytes(32)) == answer
    with Answers(tmp_path, print) as answers:
        assert answers.get(bytes(32)) == answer


@pytest.mark.parametrize(
    ("request_", "model", "settings"),
    [
        (replace(REQUEST, sample=1), "m", Settings()),
        (replace(REQUEST, messages=[{"role": "user", "content": "Is it so? "}]), "m", Settings()),
        (replace(REQUEST, messages=[{"role": "system", "content": "Is it so?"}]), "m", Settings()),
        (replace(REQUEST, tools=[{"function": {"name": "look"}}]), "m", Settings()),
        (REQUEST, "n", Settings()),
        (REQUEST, "m", Settings(temperature=Fraction(0))),
        (REQUEST, "m", Settings(top_p=Fraction(1, 2))),
        (REQUEST, "m", Settings(max_tokens=5)),
        (REQUEST, "m", Settings(template_args={"enable_thinking": "false"})),
    ],
)
def test_whatever_can_change_an_answer_changes_its_key(request_: Request, model: str, settings: Settings) -> None:
    assert key_of(request_, model, settings) != key_of(REQUEST, "m", Settings())


def test_a_key_follows_from_values_not_from_how_they_are_written() -> None:
    turned = replace(REQUEST, messages=[{"content": "Is it so?", "role": "user"}])
    assert key_of(turned, "m", Settings()) == key_of(REQUEST, "m", Settings())
    warm = [key_of(REQUEST, "m", Settings(temperature=Fraction(text))) for text in ("0.5", "1/2", "0.50")]
    assert len(set(warm)) == 1


def test_the_first_of_two_answers_counts_and_both_were_paid_for(tmp_path: Path) -> None:
    with Answers(tmp_path, print) as one, Answers(tmp_path, print) as other:
        one.put(bytes(32), "m", ANSWER)
        assert other.put(bytes(32), "m", replace(ANSWER, content="No.")) == ANSWER
        assert len(other) == 1
        assert other.used("m") == Used(2, 14, 6)
        assert other.used("n") == Used()


def test_a_damaged_answer_is_not_believed(tmp_path: Path) -> None:
    filled(tmp_path, 3).close()
    database = sqlite3.connect(tmp_path / "answers" / "answers.sqlite")
    with database:
        database.execute("UPDATE answers SET answer = replace(answer, 'answer 1', 'answer 2')")
    database.close()
    said: list[str] = []
    with Answers(tmp_path, said.append) as answers:
        assert answers.get(bytes([1, 0]) * 16) is None
        assert answers.get(bytes([0, 0]) * 16) is not None
    assert len(said) == 1
    assert "damaged" in said[0]


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "answers.sqlite").write_bytes(b"no database" * 1000)
    said: list[str] = []
    with filled(tmp_path, 2, said) as answers:
        assert len(answers) == 2
    assert "set aside as damaged-1.sqlite; 0 answers" in said[0]
    assert (tmp_path / "answers" / "damaged-1.sqlite").exists()


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bytes_lose_answers_but_never_change_one(tmp_path: Path, seed: int) -> None:
    count = 300
    with filled(tmp_path, count) as answers:
        expected = {number: answers.get(bytes([number % 256, number // 256]) * 16) for number in range(count)}
    path = tmp_path / "answers" / "answers.sqlite"
    drawn = random.Random(seed)
    content = bytearray(path.read_bytes())
    start = drawn.randrange(len(content) - 5000)
    content[start : start + 5000] = drawn.randbytes(5000)
    path.write_bytes(content)
    said: list[str] = []
    with Answers(tmp_path, said.append) as answers:
        found = {number: answers.get(bytes([number % 256, number // 256]) * 16) for number in range(count)}
        assert all(answer in (None, expected[number]) for number, answer in found.items())
        lost = [number for number, answer in found.items() if answer is None]
        assert said or not lost
        for number in lost:
            answers.put(bytes([number % 256, number // 256]) * 16, "m", ANSWER)
            assert answers.get(bytes([number % 256, number // 256]) * 16) == ANSWER


def test_what_can_be_read_of_a_broken_file_is_taken_over(tmp_path: Path) -> None:
    filled(tmp_path, 500).close()
    path = tmp_path / "answers" / "answers.sqlite"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = bytes(4096)
    content[100:4096] = bytes(3996)
    path.write_bytes(content)
    said: list[str] = []
    with Answers(tmp_path, said.append) as answers:
        answers.put(bytes(31) + b"x", "m", ANSWER)
        assert answers.get(bytes(31) + b"x") == ANSWER
    assert "set aside" in said[0]


def test_what_one_process_mends_the_others_go_on_with(tmp_path: Path) -> None:
    filled(tmp_path, 500).close()
    path = tmp_path / "answers" / "answers.sqlite"
    said: list[str] = []
    with Answers(tmp_path, said.append) as one, Answers(tmp_path, said.append) as other:
        content = bytearray(path.read_bytes())
        content[4096:] = bytes(len(content) - 4096)
        path.write_bytes(content)
        for answers, key in ((one, b"1"), (other, b"2"), (one, b"3")):
            answers.put(key * 32, "m", ANSWER)
    with Answers(tmp_path, said.append) as answers:
        assert [answers.get(key * 32) for key in (b"1", b"2", b"3")] == [ANSWER] * 3
    assert [line for line in said if "set aside" in line] == said[:1]


def test_a_store_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("a file")
    with pytest.raises(UserError, match="no folder can be made") as raised:
        Answers(tmp_path, print)
    assert "--store" in raised.value.help
