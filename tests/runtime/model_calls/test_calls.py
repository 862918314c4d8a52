"""Calls: each asked once, tried again where that helps, told apart where it doesn't, and stopped at any time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import UserError
from runtime.model_calls.failures import Patience
from runtime.model_calls.prices import Price, price_of
from runtime.model_calls.requests import Answer, Exchange, Request
from runtime.stopping import Stopped
from tests.runtime.model_calls.asking import API, ASKED, IMPATIENT, ask, calling, question
from tests.runtime.model_calls.server import Faults, Server

TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks.",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}


def test_answers_come_in_the_order_of_the_questions(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: body["messages"][0]["content"].upper()
    texts = [f"q{number}" for number in range(100)]
    with calling(tmp_path) as caller:
        assert [answer.content for answer in ask(caller, *texts)] == [text.upper() for text in texts]
        assert caller.answers.used(API).calls == 100
    (body,) = [body for body in server.seen if body["messages"][0]["content"] == "q7"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("tester", 0.7, 200)


def test_a_stored_answer_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    with calling(tmp_path) as caller:
        first = ask(caller, "a", "b")
    with calling(tmp_path) as caller:
        assert ask(caller, "b", "a", "c")[:2] == first[::-1]
        assert len(caller.answers) == 3
    assert len(server.seen) == 3


def test_eight_samples_of_a_prompt_are_eight(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: f"answer {count}"
    with calling(tmp_path) as caller:
        answers = list(caller.converse("ask", lambda: (question("a", sample) for sample in range(8)), 8))
    assert sorted(answer.content for answer in answers) == [f"answer {number}" for number in range(8)]


def test_one_question_that_two_ask_at_once_is_asked_once(server: Server, tmp_path: Path) -> None:
    server.latency = 0.1
    with calling(tmp_path) as caller:
        ask(caller, *["a"] * 30)
    assert len(server.seen) == 1


def test_questions_that_follow_from_answers(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: body["messages"][0]["content"] + "!"

    def twice(text: str) -> Exchange[str]:
        first = yield Request([{"role": "user", "content": text}])
        second = yield Request([{"role": "user", "content": first.content}])
        return second.content

    with calling(tmp_path) as caller:
        assert list(caller.converse("ask", lambda: (twice(text) for text in "abc"), 3)) == ["a!!", "b!!", "c!!"]


def test_no_more_calls_at_once_than_connections(server: Server, tmp_path: Path) -> None:
    server.latency = 0.02
    with calling(tmp_path, connections=3) as caller:
        ask(caller, *map(str, range(30)))
    assert server.most_in_flight == 3


def test_tools_go_and_calls_come_back_in_the_layout_of_records(server: Server, tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    server.answer = lambda body, count: {"message": message, "finish_reason": "tool_calls"}
    history = [
        {"role": "system", "content": "Look."},
        {"role": "user", "content": "At it."},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look", "arguments": {"at": "it"}}}]},
        {"role": "tool", "content": "seen"},
    ]

    def exchange() -> Exchange[Answer]:
        answer = yield Request(history, [TOOL])
        return answer

    with calling(tmp_path) as caller:
        (answer,) = caller.converse("ask", lambda: [exchange()], 1)
    assert answer.problem is None
    assert answer.message == {"role": "assistant", "content": "", "tool_calls": [call]}
    (sent,) = server.seen
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant", "tool"]
    assert sent["messages"][2]["tool_calls"][0]["id"] == sent["messages"][3]["tool_call_id"]
    assert sent["tools"][0]["function"]["parameters"]["properties"].keys() == {"at"}


@pytest.mark.parametrize(
    ("call", "tool"),
    [
        ({"function": {"name": "look", "arguments": "not JSON"}}, TOOL),
        ({"function": {"name": "look", "arguments": [1]}}, TOOL),
        ({"function": {"name": "look"}}, {"function": {"name": "look", "parameters": {"type": 7}}}),
        ({"function": {"name": "look"}}, {"type": "function"}),
    ],
)
def test_tools_that_no_provider_takes_are_told(
    server: Server, tmp_path: Path, call: dict[str, Any], tool: dict[str, Any]
) -> None:
    def exchange() -> Exchange[Answer]:
        answer = yield Request([{"role": "assistant", "content": "", "tool_calls": [call]}], [tool])
        return answer

    with calling(tmp_path) as caller, pytest.raises(UserError, match="can't be sent a tool"):
        list(caller.converse("ask", lambda: [exchange()], 1))
    assert not server.seen


@pytest.mark.parametrize("fault", ["error", "limit", "cut", "nonsense", "stall"])
def test_what_passes_is_tried_again(server: Server, tmp_path: Path, fault: str) -> None:
    server.faults = replace(Faults(retry_after="0.01"), **{fault: 0.4})
    with calling(tmp_path, patience=replace(IMPATIENT, timeout=0.3 if fault == "stall" else 5.0)) as caller:
        answers = ask(caller, *map(str, range(20)))
    assert len({answer.content for answer in answers}) == 20
    if fault != "stall":  # a busy machine may take longer over a whole answer than is waited for here
        assert sum(server.whole.values()) == 20
    assert len(server.seen) > 20


@pytest.mark.parametrize("fault", ["error", "limit", "cut", "nonsense"])
def test_what_does_not_pass_ends(server: Server, tmp_path: Path, fault: str) -> None:
    server.faults = replace(Faults(retry_after="0.01"), **{fault: 1.0})
    with calling(tmp_path, patience=replace(IMPATIENT, retries=3)) as caller, pytest.raises(UserError) as raised:
        ask(caller, "a")
    assert "writer failed 4 times in a row" in raised.value.message
    assert len(server.seen) == 4


def test_a_server_that_wants_to_be_left_alone_is(server: Server, tmp_path: Path) -> None:
    server.faults = Faults(limit=1.0, retry_after="0.6")
    started = time.monotonic()
    with calling(tmp_path, patience=replace(IMPATIENT, retries=1)) as caller, pytest.raises(UserError):
        ask(caller, "a")
    assert time.monotonic() - started > 0.6
    server.faults = Faults(limit=1.0, retry_after="86400")
    with calling(tmp_path) as caller, pytest.raises(UserError, match="failed 1 times"):
        ask(caller, "a")


@pytest.mark.parametrize(
    ("status", "message", "help"),
    [
        (400, "refuses the call", "settings"),
        (401, "refuses the key", "LOCAL_API_KEY"),
        (403, "refuses the key", "LOCAL_API_KEY"),
        (404, "there is no writer", "base URL"),
        (422, "refuses the call", "settings"),
    ],
)
def test_what_is_refused_for_good_ends_at_once(
    server: Server, tmp_path: Path, status: int, message: str, help: str
) -> None:
    server.status = status
    with calling(tmp_path, connections=1) as caller, pytest.raises(UserError) as raised:
        ask(caller, "a", "b")
    assert message in raised.value.message
    assert help in raised.value.help
    assert "secret-key" not in str(raised.value)
    assert len(server.seen) == 1


def test_a_variable_that_is_not_set_is_named(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_API_KEY")
    with calling(tmp_path) as caller, pytest.raises(UserError, match="can't be asked without LOCAL_API_KEY"):
        ask(caller, "a")


def test_a_provider_that_is_not_known(tmp_path: Path) -> None:
    unknown = ASKED.model_copy(update={"api": "nobody/m"})
    with calling(tmp_path, unknown) as caller, pytest.raises(UserError, match="nobody") as raised:
        ask(caller, "a")
    assert "PROVIDER/NAME" in raised.value.help


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        ({"message": {"role": "assistant", "content": "half of"}, "finish_reason": "length"}, "cut off at max_tokens"),
        ({"message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}, "empty answer"),
        ({"message": {"role": "assistant", "content": "no"}, "finish_reason": "content_filter"}, "refused"),
    ],
)
def test_answers_that_are_none_are_told_apart_and_paid_once(
    server: Server, tmp_path: Path, choice: dict[str, Any], problem: str
) -> None:
    server.answer = lambda body, count: choice
    with calling(tmp_path) as caller:
        for _ in range(2):
            (answer,) = ask(caller, "a")
            assert problem in (answer.problem or "")
    assert len(server.seen) == 1


def test_the_key_is_in_no_file(server: Server, tmp_path: Path) -> None:
    with calling(tmp_path) as caller:
        ask(caller, "a")
    assert server.headers["authorization"] == "bearer secret-key-of-the-test"
    for path in (tmp_path / "answers").iterdir():
        assert b"secret-key" not in path.read_bytes()


def test_a_stop_ends_it_soon_and_keeps_what_arrives(server: Server, tmp_path: Path) -> None:
    server.latency = 0.3
    with calling(tmp_path, connections=5) as caller:
        threading.Timer(1.0, caller.stop.set).start()
        started = time.monotonic()
        with pytest.raises(Stopped):
            ask(caller, *map(str, range(1000)))
        assert time.monotonic() - started < 10
        kept = len(caller.answers)
    assert 0 < kept < 1000
    assert kept == sum(server.whole.values())


def test_a_stop_waits_for_no_call_that_takes_long(server: Server, tmp_path: Path) -> None:
    server.latency = 60
    with calling(tmp_path, patience=replace(IMPATIENT, timeout=100)) as caller:
        threading.Timer(1.0, caller.stop.set).start()
        started = time.monotonic()
        with pytest.raises(Stopped):
            ask(caller, "a", "b")
        assert time.monotonic() - started < 30


def test_a_stop_waits_for_no_retry(server: Server, tmp_path: Path) -> None:
    server.faults = Faults(error=1.0)
    with calling(tmp_path, patience=Patience(first=600, longest=600)) as caller:
        threading.Timer(0.5, caller.stop.set).start()
        with pytest.raises(Stopped):
            ask(caller, "a")


PRICE = Price(Fraction(1000), Fraction(10000))
"""A thousand dollars for a million tokens: an answer of 200 tokens may cost two dollars."""


def spending(dollars: str) -> dict[str, Any]:
    return {"asked": ASKED.model_copy(update={"spend": dollars, "price": ("1000", "10000")})}


def test_calls_end_below_the_ceiling_and_go_on_when_it_is_raised(server: Server, tmp_path: Path) -> None:
    server.latency = 0.01
    texts = list(map(str, range(40)))
    with calling(tmp_path, **spending("3")) as caller:
        with pytest.raises(UserError, match=r"of \$3\.00 for writer are spent") as raised:
            ask(caller, *texts)
        used = caller.answers.used(API)
        assert 0 < used.calls < 40
        assert PRICE.of(used.input_tokens, used.output_tokens) <= 3
        assert len(caller.answers) == len(server.seen) == used.calls
    assert "raise `spend:`" in raised.value.help
    with calling(tmp_path, **spending("3")) as caller, pytest.raises(UserError, match="are spent"):
        ask(caller, *texts)
    assert len(server.seen) == used.calls
    with calling(tmp_path, **spending("30")) as caller:
        assert len(ask(caller, *texts)) == 40
    assert len(server.seen) == 40


def test_what_is_stored_costs_nothing(server: Server, tmp_path: Path) -> None:
    with calling(tmp_path) as caller:
        ask(caller, "a")
    with calling(tmp_path, **spending("0.0001")) as caller:
        assert len(ask(caller, "a")) == 1


def test_calls_in_flight_count_at_their_worst(server: Server, tmp_path: Path) -> None:
    server.latency = 0.05
    with calling(tmp_path, **spending("5")) as caller, pytest.raises(UserError, match="are spent"):
        ask(caller, *map(str, range(100)))
    assert server.most_in_flight == 2  # each may cost two dollars and a few cents


def test_a_ceiling_needs_a_price(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_BASE_URL", "http://192.0.2.1/v1")
    asked = ASKED.model_copy(update={"spend": "5"})
    with calling(tmp_path, asked) as caller, pytest.raises(UserError, match="nothing says what openai-api/local/"):
        ask(caller, "a")


def test_a_server_on_this_machine_costs_nothing(server: Server, tmp_path: Path) -> None:
    with calling(tmp_path, ASKED.model_copy(update={"spend": "0.01", "max_tokens": 10**9})) as caller:
        assert len(ask(caller, "a", "b")) == 2


def test_a_snapshot_costs_what_its_model_does() -> None:
    assert price_of("anthropic/claude-sonnet-4-5-20250929", None) == Price(Fraction(3), Fraction(15))
    assert price_of("anthropic/claude-sonnet-4-5", "https://api.example.org") == Price(Fraction(3), Fraction(15))
    assert price_of("anthropic/claude-unheard-of", None) is None


def test_questions_are_read_as_they_are_asked(server: Server, tmp_path: Path) -> None:
    server.latency = 0.05
    made: list[int] = []

    def exchanges() -> Iterator[Exchange[Answer]]:
        for number in range(500):
            made.append(number)
            yield question(str(number))

    with calling(tmp_path, connections=5) as caller:
        threading.Timer(1.0, caller.stop.set).start()
        with pytest.raises(Stopped):
            list(caller.converse("ask", exchanges, 500))
    assert len(made) < 500
