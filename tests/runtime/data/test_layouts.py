"""Layouts: what data sets look like, and the record that each becomes."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.data.broken import BrokenError
from runtime.data.layouts import arranged
from runtime.data.rows import Format

SYSTEM = {"role": "system", "content": "s"}
USER, ANSWER = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}
OTHER = {"role": "assistant", "content": "no"}
CALL = {"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "f"}}


def of(format: Format, **record: Any) -> dict[str, Any]:
    layout, result, _ = arranged(format, record)
    return {"layout": layout, **result}


def refusal(format: Format, **record: Any) -> str:
    with pytest.raises(BrokenError) as caught:
        arranged(format, record)
    return str(caught.value)


def test_messages_with_tools() -> None:
    result = {"role": "tool", "content": "1", "tool_call_id": "c"}
    turns = [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, result, ANSWER]
    whole = {"layout": "messages", "messages": turns, "tools": [TOOL]}
    assert of("chat", messages=turns, tools=[TOOL]) == whole
    assert of("chat", messages=turns, tools='[{"type": "function", "function": {"name": "f"}}]') == whole
    assert of("chat", messages=turns, tools=['{"type": "function", "function": {"name": "f"}}']) == whole
    assert of("chat", messages=turns, functions=[{"name": "f"}]) == whole
    of_a_table = [{"tool_calls": None, "tool_call_id": None, "content": None, **turn} for turn in turns]
    assert of("chat", messages=of_a_table, tools=[TOOL]) == whole
    earlier = [USER, {"role": "assistant", "function_call": CALL["function"]}, {"role": "function", "content": "1"}]
    assert of("chat", messages=earlier)["messages"] == [*turns[:2], {"role": "tool", "content": "1"}]
    as_objects = [USER, {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"a": 1}}]}]
    assert of("chat", messages=as_objects)["messages"] == as_objects
    assert of("chat", messages=turns, tools="")["layout"] == "messages"
    assert refusal("chat", messages=turns, tools="[") == (
        "its tools are a string of JSON that can't be read: it is not JSON: Expecting value at column 2"
    )
    assert of("chat", messages='[{"role": "user", "content": "hi"}]') == {"layout": "messages", "messages": [USER]}


def test_roles_and_system_prompts() -> None:
    assert of("chat", messages=[{"role": "developer", "content": "s"}, USER])["messages"] == [SYSTEM, USER]
    apart = of("chat", system="s", messages=[USER, ANSWER], id=1)
    assert apart == {"layout": "messages, system apart", "messages": [SYSTEM, USER, ANSWER], "id": 1}
    assert of("chat", system="", prompt="hi", completion="hello")["messages"] == [USER, ANSWER]
    both = of("chat", system="other", messages=[SYSTEM, USER])
    assert (both["messages"], both["system"]) == ([SYSTEM, USER], "other")


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_has_one_name(name: str) -> None:
    (_, answer) = of("chat", messages=[USER, {**ANSWER, name: "so"}])["messages"]
    assert answer == {**ANSWER, "reasoning_content": "so"}
    assert of("chat", messages=[USER, {**ANSWER, name: ""}])["messages"] == [USER, ANSWER]
    assert refusal("chat", messages=[USER, {**ANSWER, name: ["so"]}]) == (
        "the reasoning of message 2 is a list, not a string"
    )


def test_content_in_parts() -> None:
    parts = [{"type": "thinking", "thinking": "so"}, {"type": "text", "text": "hel"}, "lo"]
    (_, answer) = of("chat", messages=[USER, {"role": "assistant", "content": parts}])["messages"]
    assert answer == {**ANSWER, "reasoning_content": "so"}


def test_sharegpt() -> None:
    turns = [
        {"from": "human", "value": "hi"},
        {"from": "function_call", "value": '{"name": "f", "arguments": {"a": 1}}'},
        {"from": "observation", "value": "1"},
        {"from": "gpt", "value": "hello", "weight": 1},
    ]
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "f", "arguments": {"a": 1}}]}
    assert of("chat", conversations=turns, system="s", tools="[]") == {
        "layout": "ShareGPT, system apart",
        "messages": [SYSTEM, USER, call, {"role": "tool", "content": "1"}, {**ANSWER, "weight": 1}],
        "tools": [],
    }
    assert of("chat", conversations=[USER, ANSWER])["messages"] == [USER, ANSWER]
    assert refusal("chat", conversations=[{"from": "alien", "value": "x"}]).startswith("message 1 is from 'alien'")
    assert refusal(
        "chat", conversations=[{"from": "human", "value": "x"}, {"from": "function_call", "value": "f()"}]
    ) == ("its call in message 2 is a string of JSON that can't be read: it is not JSON: Expecting value at column 1")
    assert refusal("chat", conversations="x").startswith("its conversations are a string of JSON that can't be read")


def test_prompts_and_answers() -> None:
    pair = {"messages": [USER, ANSWER]}
    assert of("chat", prompt="hi", completion="hello") == {"layout": "prompt/completion", **pair}
    assert of("chat", prompt="hi", response="hello") == {"layout": "prompt/response", **pair}
    assert of("chat", prompt=[USER], completion="hello") == {"layout": "prompt/completion", **pair}
    assert of("chat", instruction="hi", output="hello") == {"layout": "instruction/output", **pair}
    assert of("chat", instruction="hi", input=None, response="hello") == {"layout": "instruction/response", **pair}
    assert of("chat", messages=None, prompt="hi", completion="hello")["messages"] == [USER, ANSWER]
    assert of("chat", messages=[USER, ANSWER], prompt="hi") == {"layout": "messages", **pair, "prompt": "hi"}


def test_prompts_keep_what_judges_refer_to() -> None:
    assert of("prompts", prompt="hi", answer=4) == {"layout": "prompt", "messages": [USER], "answer": 4}
    assert of("prompts", prompt=[SYSTEM, USER])["messages"] == [SYSTEM, USER]
    assert of("prompts", messages=[USER], tools=[TOOL]) == {"layout": "messages", "messages": [USER], "tools": [TOOL]}
    assert of("prompts", instruction="a", input="b")["messages"] == [{"role": "user", "content": "a\n\nb"}]
    assert arranged("prompts", {"prompt": "hi"})[2] == ()
    assert arranged("prompts", {"messages": [USER, ANSWER]})[2] == ("prompts that end with the assistant",)
    assert (
        refusal("prompts", question="x") == "it has no messages, conversations, prompt or instruction (it has question)"
    )


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "hi", "chosen": "hello", "rejected": "no"},
        {"prompt": [USER], "chosen": [ANSWER], "rejected": [OTHER]},
        {"prompt": "hi", "chosen": [USER, ANSWER], "rejected": [USER, OTHER]},
        {"messages": [USER], "chosen": "hello", "rejected": "no"},
        {"messages": [USER], "chosen": [ANSWER], "rejected": [OTHER]},
        {"chosen": [USER, ANSWER], "rejected": [USER, OTHER]},
        {"chosen": "\n\nHuman: hi\n\nAssistant: hello", "rejected": "\n\nHuman: hi\n\nAssistant: no"},
    ],
)
def test_preference_pairs(record: dict[str, Any]) -> None:
    pair = of("preference", **record, score=1)
    del pair["layout"]
    assert pair == {"messages": [USER], "chosen": "hello", "rejected": "no", "score": 1}


def test_preference_pairs_share_all_but_the_answer() -> None:
    turns = [SYSTEM, USER, ANSWER, USER]
    pair = of("preference", chosen=[*turns, ANSWER], rejected=[*turns, OTHER], tools=[TOOL])
    assert (pair["messages"], pair["tools"], pair["layout"]) == (turns, [TOOL], "chosen/rejected")
    assert of("preference", system="s", prompt="hi", chosen="a", rejected="b")["messages"] == [SYSTEM, USER]
    dialogue = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: "
    pair = of("preference", chosen=f"{dialogue}d", rejected=f"{dialogue}e")
    assert [each["content"] for each in pair["messages"]] == ["a", "b", "c"]
    assert (pair["layout"], pair["chosen"], pair["rejected"]) == ("Human/Assistant dialogues", "d", "e")


def test_preference_pairs_that_are_none() -> None:
    assert refusal("preference", prompt="x", chosen="y") == "it has no rejected answer (it has chosen, prompt)"
    assert refusal("preference", chosen="x", rejected="y").startswith("it has no prompt")
    assert refusal("preference", chosen=[ANSWER], rejected=[OTHER]).startswith("it has no prompt")
    assert refusal("preference", prompt="x", chosen="y", rejected="y") == "its chosen and rejected answers are the same"
    assert refusal("preference", prompt="x", chosen="y", rejected=" ") == "its rejected answer is empty"
    assert "chosen answer is a number" in refusal("preference", prompt="x", chosen=1, rejected="y")
    assert "differ before the last" in refusal("preference", chosen=[USER, ANSWER], rejected=[SYSTEM, OTHER])
    assert "end with the user" in refusal("preference", chosen=[USER], rejected=[USER])
    called = {"role": "assistant", "content": "x", "tool_calls": [CALL]}
    assert "has a tool call or reasoning" in refusal("preference", chosen=[USER, called], rejected=[USER, ANSWER])


def test_pre_tokenised() -> None:
    whole = {"layout": "pre-tokenised", "tokens": [5, 6, 7], "trained": [0, 1, 1], "id": 1}
    assert of("chat", input_ids=[5, 6, 7], labels=[-100, 6, 7], id=1) == whole
    assert of("chat", input_ids=[5, 6, 7], loss_mask=[0, 1, 1], id=1) == whole
    padded = of("chat", input_ids=[5, 6, 7, 0], completion_mask=[0, 1, 1, 0], attention_mask=[1, 1, 1, 0], id=1)
    assert padded == whole
    assert of("documents", input_ids=[5, 6]) == {"layout": "pre-tokenised", "tokens": [5, 6], "trained": [1, 1]}
    assert arranged("documents", {"input_ids": [5]})[2] == ()
    assert "without labels or mask" in arranged("chat", {"input_ids": [5]})[2][0]
    assert of("documents", text="x", input_ids=[5])["layout"] == "text"
    assert refusal("chat", input_ids=[5, 6], labels=[6, -100]).startswith("its labels are other tokens")
    assert refusal("chat", input_ids=[5, 6], labels=[5]) == "its columns of tokens have 2, 1 and 2 entries"
    assert refusal("chat", input_ids=[5, True]).startswith("its input_ids are not a list of whole numbers")
    assert refusal("chat", input_ids=[5], attention_mask=[0]) == "it has no tokens"
