"""Answers to the prompts of evaluations: who is asked what, how often, and what is made of what comes back."""

from __future__ import annotations

from pathlib import Path

from compiler.evals import Labels
from runtime.evals.answers import Said, joined, labelled, metric_of, respond, said
from runtime.evals.judged import Judged, read_judged, write_judged
from runtime.evals.judging import Judgement
from runtime.model_calls.calls import Caller
from runtime.model_calls.requests import Request, Settings, key_of
from tests.runtime.model_calls.asking import calling, rows_of
from tests.runtime.model_calls.conftest import server as server
from tests.runtime.model_calls.server import Body, Server

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def asked_of(store: Path, records: list[dict[str, object]], samples: int = 2) -> list[Said]:
    with calling(store) as caller:
        return said(respond([rows_of(records)], samples, caller, None, "ask"))


def test_each_prompt_is_asked_once_a_sample_and_equal_rows_get_answers_of_their_own(
    server: Server, tmp_path: Path
) -> None:
    server.answer = lambda body, count: f"{body['messages'][-1]['content']} {count}"
    records: list[dict[str, object]] = [{"messages": [user(text)]} for text in ("a", "b", "a")]
    found = asked_of(tmp_path, records)
    assert [each.sample for each in found] == [0, 1] * 3
    assert len({each.item for each in found}) == 3
    assert sorted(each.text for each in found) == ["a 0", "a 1", "a 2", "a 3", "b 0", "b 1"]
    assert asked_of(tmp_path, records) == found
    more = asked_of(tmp_path, records[:2], samples=3)
    assert len(server.seen) == 7  # a third answer to b; that to a was stored for the equal row
    assert len(more) == 6


def test_a_conversation_goes_on_where_the_prompt_ends(server: Server, tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, user("1 + 1?"), {"role": "assistant", "content": "2"}]
    asked_of(tmp_path, [{"messages": [*messages, user("And 2 + 2?")]}], samples=1)
    (found,) = asked_of(tmp_path, [{"messages": messages, "right": "two"}], samples=1)
    assert [len(body["messages"]) for body in server.seen] == [4, 2]  # what the assistant said last is answered anew
    assert found.record == {"messages": messages[:2], "right": "two"}


def test_tools_are_shown_and_calls_of_them_kept(server: Server, tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}
    message = {"role": "assistant", "content": "Let me see.", "tool_calls": [call]}
    server.answer = lambda body, count: {"message": message, "finish_reason": "tool_calls"}
    records: list[dict[str, object]] = [{"messages": [user("What is there?")], "tools": [TOOL]}]
    (found,) = asked_of(tmp_path, records, samples=1)
    assert server.seen[0]["tools"][0]["function"]["name"] == "look"
    assert found.text == 'Let me see.\n[calls look with {"at": "sky"}]'
    assert found.finish == "tool_calls"


def test_random_streams_follow_from_the_seed_the_row_and_the_sample_alone(tmp_path: Path) -> None:
    seen: list[Request] = []

    class Listening:
        """Takes down what is asked, and answers nothing."""

        def converse(self, what: object, exchanges: object, total: object) -> list[object]:
            seen.extend(next(exchange) for exchange in exchanges())  # type: ignore[operator]
            return []

    listening: Caller = Listening()  # type: ignore[assignment]
    rows = [rows_of([{"messages": [user(text)]} for text in ("a", "b", "a")])]
    for seed in (0, 1):
        respond(rows, 2, listening, seed, "ask")
        respond(rows[::-1], 2, listening, seed, "ask")
    assert seen[:6] == seen[6:12]
    assert len({request.seed for request in seen}) == 12
    assert all(request.seed is not None and 0 <= request.seed < 2**63 for request in seen)
    keys = {key_of(request, model, Settings()) for request in seen for model in ("one", "other")}
    assert len(keys) == 24


def answered(*texts: str, finish: str = "stop") -> list[Said]:
    record = {"messages": [user("Well?")], "id": 7}
    return [Said(f"item{number // 2}", number % 2, record, "p:1", text, finish) for number, text in enumerate(texts)]


LABELS = Labels(patterns=(("no", r"(?i)\bno\b"), ("yes", r"(?i)\byes\b")))


def test_an_answer_has_every_label_whose_pattern_is_found() -> None:
    found = labelled(answered("Yes!", "No.", "yes and no", "Perhaps", ""), LABELS)
    assert [each.label for each in found] == ["yes", "no", "no and yes", "no label", "no label"]


def test_what_is_no_answer_of_the_models_is_unreadable() -> None:
    assert [each.unreadable for each in answered("no", finish="content_filter")] == ["refused by the provider's filter"]
    assert [each.unreadable for each in answered("", finish="model_length")] == ["longer than the model reads"]
    cut = answered("no, since", finish="model_length") + answered("no, si", finish="max_tokens")
    assert [each.label for each in labelled(cut, LABELS)] == ["no", "no"]


def test_a_rate_is_of_the_answers_that_can_be_read() -> None:
    answers = [*answered("yes", "no", "hm", "yes and no"), *answered("", finish="content_filter")]
    scored = metric_of(joined(answers, labelled(answers, LABELS)), "rate(yes)")
    items = ("item0", "item0", "item1", "item1")
    assert (scored.items, scored.value.tolist(), scored.unreadable) == (items, [1, 0, 0, 1], 1)
    assert scored.is_rate


def test_a_mean_is_of_the_scores_and_nothing_may_be_left() -> None:
    answers = answered("a", "b")
    judged = joined(answers, [Judgement(None, 7.5, "ANSWER: 7.5"), Judgement(None, None, "Hm.", "said 'Hm.'")])
    scored = metric_of(judged, "mean(score)")
    assert (scored.value.tolist(), scored.weight.tolist(), scored.unreadable) == ([7.5], [1], 1)
    empty = metric_of(judged[1:], "mean(score)")
    assert (empty.items, empty.value.shape, empty.unreadable) == ((), (0,), 1)


def test_judged_answers_come_back_as_they_were_written(tmp_path: Path) -> None:
    answers = answered("a", "b")
    judged = joined(answers, [Judgement("yes", 1.0, "so"), Judgement("no", 0.0, "", None)])
    write_judged(tmp_path, judged)
    assert read_judged(tmp_path) == judged
    assert judged[0] == Judged(
        item="item0", sample=0, id="7", messages='[{"role": "user", "content": "Well?"}]', tools="[]", answer="a",
        finish="stop", label="yes", value=1.0, detail="so", unreadable=None,
    )  # fmt: skip
    assert judged[0].conversation == [user("Well?")]
    write_judged(tmp_path, [])
    assert read_judged(tmp_path) == []


def test_a_refusal_of_a_filter_is_kept_as_such(server: Server, tmp_path: Path) -> None:
    def refused(body: Body, count: int) -> dict[str, object]:
        return {"message": {"role": "assistant", "content": "blocked"}, "finish_reason": "content_filter"}

    server.answer = refused
    (found,) = asked_of(tmp_path, [{"messages": [user("Well?")]}], samples=1)
    assert found.unreadable == "refused by the provider's filter"
