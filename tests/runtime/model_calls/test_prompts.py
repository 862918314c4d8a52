"""Prompts of a spec, and judgements that are read or aren't, but never guessed."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.data.rows import Format
from runtime.errors import UserError
from runtime.model_calls.prompts import PromptFile, chosen, offered, offered_by, scored

CHAT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Look at it."},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look", "arguments": {"at": "it"}}}]},
        {"role": "tool", "content": "seen"},
        {"role": "assistant", "content": "It is there."},
    ],
    "label": "fine",
}


def filled(source: str, record: dict[str, Any] = CHAT, format: Format = "chat", **more: Any) -> str:
    return PromptFile(source, "p.md", offered_by(format)).filled({**offered(record, format), **more}, "rows.jsonl:3")


def test_a_prompt_shows_fields_and_columns() -> None:
    assert filled("{{ user }} | {{ assistant | trim }} | {{ system }} | {{ label }} | {{ turns }}") == (
        "Look at it. | It is there. | Be kind. | fine | 2"
    )
    assert filled("{{ text }} of {{ kind }}", {"text": "words", "kind": "x"}, "documents") == "words of x"


def test_a_transcript_tells_who_said_what_and_which_tools_were_called() -> None:
    assert filled("{{ transcript }}") == (
        'System: Be kind.\n\nUser: Look at it.\n\nAssistant: [calls look with {"at": "it"}]\n\nTool: seen\n\n'
        "Assistant: It is there."
    )


def test_a_field_that_is_not_there_is_told_with_the_row_and_what_there_is() -> None:
    with pytest.raises(UserError, match=r"rows\.jsonl:3 lacks: 'verdict'") as raised:
        filled("{{ user }} {{ verdict }}")
    assert "{{ label }}" in raised.value.help
    assert raised.value.place == "p.md"


def test_a_prompt_that_would_fill_the_memory_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.data.template_sandbox.CHARACTERS", 1000)
    file = PromptFile("{% for number in range(200) %}{{ text }}{% endfor %}", "judge.md", ["text"])
    with pytest.raises(UserError, match=r"judge.md: the prompt fails on a.jsonl:1: it writes more than 1,000"):
        file.filled({"text": "ten things"}, "a.jsonl:1")


@pytest.mark.parametrize(
    ("source", "message"),
    [("Judge this.", "shows the model nothing"), ("{{ user", "not Jinja"), ("{% for %}{{ user }}", "not Jinja")],
)
def test_a_prompt_that_cannot_work_is_refused_before_any_call(source: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PromptFile(source, "p.md", offered_by("chat"))


@pytest.mark.parametrize(
    "source",
    [
        "{{ user.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('true').read() }}{{ user }}",
        "{% for i in range(10**9) %}{{ user }}{% endfor %}",
        "{{ user * 10**10 }}",
        "{% include '/etc/passwd' %}{{ user }}",
    ],
)
def test_a_prompt_reaches_nothing_but_the_row(source: str) -> None:
    with pytest.raises(UserError):
        filled(source)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ANSWER: yes", "yes"),
        ("It takes the bait.\n\nANSWER: No.", "no"),
        ("**Answer:** **Yes**", "yes"),
        ("> *answer*: `no`", "no"),
        ("## ANSWER\nno", None),
        ("ANSWER:\n\nyes", "yes"),
        ("Yes.", "yes"),
        ("<think>ANSWER: yes</think>\nANSWER: no", "no"),
        ("ANSWER: <your judgement>\nANSWER: yes", "yes"),
        ("ANSWER: yes\nOn reflection:\nANSWER: no", None),
        ("ANSWER: yes\nANSWER: yes", "yes"),
        ("ANSWER: yes or no", None),
        ("ANSWER: yes, it does", None),
        ("ANSWER: maybe", None),
        ("I would say yes", None),
        ("The answer: is hard.", None),
        ("", None),
        ("ANSWER:", None),
    ],
)
def test_a_choice_is_read_only_beyond_doubt(text: str, expected: str | None) -> None:
    assert chosen(text, ("yes", "no")) == expected


def test_answers_of_several_words() -> None:
    assert chosen("ANSWER: Took the  bait!", ("took the bait", "did not")) == "took the bait"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ANSWER: 7", 7),
        ("**ANSWER: 7/10**", 7),
        ("ANSWER: 7.5", 7.5),
        ("7", 7),
        ("ANSWER: 7/5", None),
        ("ANSWER: 11", None),
        ("ANSWER: 0", None),
        ("ANSWER: -7", None),
        ("ANSWER: seven", None),
        ("ANSWER: 7 or 8", None),
        ("ANSWER: 7\nANSWER: 8", None),
        ("ANSWER: 1e1", None),
        ("ANSWER: \u0667", 7),
        ("It is a 7 of 10.", None),
    ],
)
def test_a_score_is_read_only_within_the_scale(text: str, expected: float | None) -> None:
    read = scored(text, Fraction(1), Fraction(10))
    assert read == expected
    assert type(read) is type(expected)


@given(
    st.text(), st.lists(st.sampled_from(["yes", "no", "ANSWER: yes", "ANSWER: no", "answer:", "\n", "7", "<think>"]))
)
def test_whatever_a_judge_says_it_is_an_answer_or_none(text: str, parts: list[str]) -> None:
    for said in (text, "\n".join(parts), text.join(parts)):
        assert chosen(said, ("yes", "no")) in ("yes", "no", None)
        score = scored(said, Fraction(1), Fraction(10))
        assert score is None or 1 <= score <= 10
