"""Calls of tools in what a model writes."""

from __future__ import annotations

import pytest

from runtime.model_calls.tool_calls import Call, form_of, parsed

HERMES = 'For each call, return <tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
LLAMA = 'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.'


def test_the_template_tells_the_form() -> None:
    assert form_of(HERMES) == "hermes"
    assert form_of(LLAMA) == "llama3"
    assert form_of("{{ messages }}") is None
    assert form_of(None) is None


def test_calls_are_taken_out_of_the_text() -> None:
    text = 'I look.\n<tool_call>\n{"name": "look", "arguments": {"at": {"x": 1}}}\n</tool_call>'
    assert parsed(text, "hermes", ["look"]) == ("I look.", [Call("look", {"at": {"x": 1}})])
    assert parsed('{"name": "look", "parameters": {}}', "llama3", ["look"]) == ("", [Call("look", {})])


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "look", "arguments"}\n</tool_call>',
        '<tool_call>{"name": "run", "arguments": {}}</tool_call>',
    ],
)
def test_what_is_no_call_stays_text(text: str) -> None:
    assert parsed(text, "hermes", ["look"]) == (text, [])
    assert parsed(text, None, ["look"]) == (text, [])
