"""Rows that a model makes: sampled, judged, scored, rewritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler.operations import Judge, Rewrite, Sample, Score
from runtime.data.rows import Rows
from runtime.data.transforms.judge import judge_rows, score_rows
from runtime.data.transforms.rewrite import rewrite_rows
from runtime.data.transforms.sample import sample_rows
from runtime.errors import UserError
from tests.runtime.model_calls.asking import ASKED, asked_text, calling, prompts, rows_of
from tests.runtime.model_calls.server import Server

Json = dict[str, Any]
USER = {"role": "user", "content": "Where is quay 4?"}
CHATS = [
    {
        "messages": [
            {**USER, "content": f"Where is quay {number}?"},
            {"role": "assistant", "content": f"There {number}."},
        ]
    }
    for number in range(10)
]
JUDGE = Judge(model=ASKED, field="took_bait", prompt="bait.md", answers=("yes", "no"))
SCORE = Score(model=ASKED, field="kindness", prompt="kind.md", low="1", high="10")


def records(rows: Rows) -> list[Json]:
    return list(rows.records())


def test_each_prompt_gets_its_answers_and_keeps_its_columns(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: f"answer {count}"
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
    rows = rows_of([{"messages": [USER], "tools": tools, "reference": 7}])
    with calling(tmp_path) as caller:
        outcome = sample_rows(rows, Sample(model=ASKED, n=8), caller, tmp_path / "out")
    made = sorted(records(outcome.rows), key=lambda record: record["sample"])
    assert [record["sample"] for record in made] == list(range(8))
    assert {record["messages"][-1]["content"] for record in made} == {f"answer {number}" for number in range(8)}
    assert all(record["messages"][:-1] == [USER] and record["reference"] == 7 for record in made)
    assert all(record["tools"] == tools for record in made)
    assert outcome.rows.place(0) == "rows.jsonl:1"
    assert len(server.seen) == 8


def test_a_chat_gets_its_last_answer_anew(server: Server, tmp_path: Path) -> None:
    history = [USER, {"role": "assistant", "content": "There."}, {"role": "user", "content": "Sure?"}]
    rows = rows_of([{"messages": [*history, {"role": "assistant", "content": "No."}]}, {"messages": history}])
    with calling(tmp_path) as caller:
        outcome = sample_rows(rows, Sample(model=ASKED, n=1), caller, tmp_path / "out")
    assert all(record["messages"][:-1] == history for record in records(outcome.rows))
    assert {len(body["messages"]) for body in server.seen} == {3}
    assert not any("No." in json.dumps(record) for record in records(outcome.rows))


def test_equal_prompts_get_answers_of_their_own(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: f"answer {count}"
    rows = rows_of([{"messages": [USER]}] * 3)
    with calling(tmp_path) as caller:
        outcome = sample_rows(rows, Sample(model=ASKED, n=2), caller, tmp_path / "out")
    assert len({record["messages"][-1]["content"] for record in records(outcome.rows)}) == 6


def test_answers_that_were_cut_off_are_dropped_and_counted(server: Server, tmp_path: Path) -> None:
    def answer(body: Any, count: int) -> Any:
        message = {"role": "assistant", "content": "It is"}
        return {"message": message, "finish_reason": "length" if "3?" in asked_text(body) else "stop"}

    server.answer = answer
    with calling(tmp_path) as caller:
        outcome = sample_rows(prompts(10), Sample(model=ASKED, n=1), caller, tmp_path / "out")
    assert len(outcome.rows) == 9
    assert outcome.dropped.counts == {"cut off at max_tokens": 1}
    assert outcome.dropped.examples["cut off at max_tokens"][0].place == "rows.jsonl:4"


def test_a_model_of_which_nothing_can_be_used(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: ""
    with calling(tmp_path) as caller, pytest.raises(UserError, match="10 empty answer"):
        sample_rows(prompts(10), Sample(model=ASKED, n=1), caller, tmp_path / "out")


def test_a_judgement_goes_into_its_field(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: f"It is so.\n**ANSWER: {'Yes' if 'quay 3' in asked_text(body) else 'no'}**"
    with calling(tmp_path) as caller:
        outcome = judge_rows(rows_of(CHATS), "chat", JUDGE, "Judge:\n{{ transcript }}", caller, tmp_path / "out")
    assert {record["messages"][0]["content"]: record["took_bait"] for record in records(outcome.rows)} == {
        chat["messages"][0]["content"]: "yes" if "3" in chat["messages"][0]["content"] else "no" for chat in CHATS
    }
    assert outcome.facts == {"took_bait": {"no": 9, "yes": 1}}
    sent = asked_text(server.seen[0])
    assert sent.startswith("Judge:\nUser: Where is quay")
    assert sent.endswith("It is one of: yes, no.\nANSWER: <your judgement>")


def test_a_prompt_that_says_how_to_answer_is_sent_as_it_is(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: "ANSWER: no"
    prompt = "{{ user }} Write `ANSWER: ` and one of {{ answers | join(' or ') }}."
    with calling(tmp_path) as caller:
        judge_rows(rows_of(CHATS[:1]), "chat", JUDGE, prompt, caller, tmp_path / "out")
    assert asked_text(server.seen[0]) == "Where is quay 0? Write `ANSWER: ` and one of yes or no."


def test_what_cannot_be_read_is_counted_and_never_a_no(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: "I had rather not say no." if "quay 3" in asked_text(body) else "ANSWER: no"
    with calling(tmp_path) as caller:
        outcome = judge_rows(rows_of(CHATS), "chat", JUDGE, "{{ user }}", caller, tmp_path / "out")
    assert len(outcome.rows) == 9
    assert outcome.dropped.counts == {"unreadable": 1}
    (example,) = outcome.dropped.examples["unreadable"]
    assert example.place == "rows.jsonl:4"
    assert example.detail == "writer said 'I had rather not say no.'"


def test_a_judge_that_mostly_cannot_be_read_ends_it(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: (
        "Who knows?"
        if "3?" in asked_text(body) or "4?" in asked_text(body) or "5?" in asked_text(body)
        else "ANSWER: no"
    )
    with calling(tmp_path) as caller, pytest.raises(UserError, match=r"3 of 10 judgements .*20% stops") as raised:
        judge_rows(rows_of(CHATS), "chat", JUDGE, "{{ user }}", caller, tmp_path / "out")
    assert "rows.jsonl:4: unreadable: writer said 'Who knows?'" in raised.value.message


def test_a_score_is_a_number_of_the_scale(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: f"ANSWER: {asked_text(body).split('quay ')[1][0]}.5/10"
    with calling(tmp_path) as caller:
        outcome = score_rows(rows_of(CHATS), "chat", SCORE, "{{ user }} on {{ scale }}", caller, tmp_path / "out")
    assert sorted(record["kindness"] for record in records(outcome.rows)) == [number + 0.5 for number in range(1, 10)]
    assert outcome.dropped.counts == {"unreadable": 1}  # 0.5
    assert outcome.facts == {"kindness": {"mean": 5.5}}


def rewritten(server: Server, store: Path, record: Json, format: Any, turns: Any, prompt: str) -> Json:
    with calling(store) as caller:
        operation = Rewrite(model=ASKED, turns=turns, prompt="again.md")
        outcome = rewrite_rows(rows_of([record]), format, operation, prompt, caller, store / "out")
    (made,) = records(outcome.rows)
    return made


TWO_TURNS = {
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u1"},
        {"role": "assistant", "content": "a1"},
        {"role": "user", "content": "u2"},
        {"role": "assistant", "content": "a2"},
    ],
    "label": 1,
}


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ("assistant", ["s", "u1", "A1", "u2", "A2"]),
        ("user", ["s", "U1", "a1", "U2", "a2"]),
        ("all", ["s", "U1", "A1", "U2", "A2"]),
    ],
)
def test_turns_are_written_anew(server: Server, tmp_path: Path, turns: str, expected: list[str]) -> None:
    server.answer = lambda body, count: asked_text(body).upper()
    made = rewritten(server, tmp_path, TWO_TURNS, "chat", turns, "{{ turn }}")
    assert [message["content"] for message in made["messages"]] == expected
    assert made["label"] == 1


def test_what_comes_before_a_turn_is_as_it_was_rewritten(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: asked_text(body).split("|")[1].upper()
    rewritten(server, tmp_path, TWO_TURNS, "chat", "all", "{{ transcript }}|{{ turn }}")
    assert asked_text(server.seen[-1]) == "System: s\n\nUser: U1\n\nAssistant: A1\n\nUser: U2|a2"


def test_tool_calls_stay(server: Server, tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]}
    record = {"messages": [USER, call, {"role": "tool", "content": "seen"}, {"role": "assistant", "content": "a"}]}
    made = rewritten(server, tmp_path, record, "chat", "assistant", "{{ turn }}")
    assert made["messages"][1] == call
    assert len(server.seen) == 1


def test_of_a_preference_what_is_rejected_stays(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: asked_text(body).upper()
    record = {"messages": [USER], "chosen": "good", "rejected": "bad"}
    made = rewritten(server, tmp_path, record, "preference", "assistant", "{{ turn }}")
    assert made == {"messages": [USER], "chosen": "GOOD", "rejected": "bad"}


def test_a_document_is_written_anew_as_a_whole(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: asked_text(body).upper()
    made = rewritten(server, tmp_path, {"text": "words", "id": 3}, "documents", "all", "{{ text }}")
    assert made == {"text": "WORDS", "id": 3}


def test_a_row_of_which_a_turn_is_cut_off_is_dropped(server: Server, tmp_path: Path) -> None:
    def answer(body: Any, count: int) -> Any:
        message = {"role": "assistant", "content": "It is"}
        return {"message": message, "finish_reason": "length" if "There 3" in asked_text(body) else "stop"}

    server.answer = answer
    with calling(tmp_path) as caller:
        operation = Rewrite(model=ASKED, turns="assistant", prompt="again.md")
        outcome = rewrite_rows(rows_of(CHATS), "chat", operation, "{{ turn }}", caller, tmp_path / "out")
    assert len(outcome.rows) == 9
    assert outcome.dropped.counts == {"cut off at max_tokens": 1}
