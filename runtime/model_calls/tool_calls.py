"""Calls of tools in what a model writes: found where its chat template tells in which form it was taught to call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Form = Literal["hermes", "llama3"]
"""`hermes`: JSON with `name` and `arguments` between `<tool_call>` and `</tool_call>` (Hermes, Qwen 2.5 and 3).
`llama3`: the whole answer is JSON with `name` and `parameters` (Llama 3.1 to 3.3)."""

_HERMES = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """A call of a tool."""

    name: str
    arguments: Mapping[str, Any]


def form_of(template: str | None) -> Form | None:
    """How a chat template has models call tools; None where it doesn't say, or not in a form known here."""
    if template is None:
        return None
    if "<tool_call>" in template and '"arguments"' in template:
        return "hermes"
    if "<|python_tag|>" in template or ('"parameters": dictionary of argument name' in template):
        return "llama3"
    return None


def parsed(text: str, form: Form | None, tools: Sequence[str]) -> tuple[str, list[Call]]:
    """What is left of a text without the calls in it, and the calls.

    Nothing is taken out of a text that isn't whole JSON of the form, or that names none of the `tools`: it stays text.
    """
    if form is None or not tools:
        return text, []
    return _FORMS[form](text, frozenset(tools))


def _hermes(text: str, tools: frozenset[str]) -> tuple[str, list[Call]]:
    calls: list[Call] = []

    def taken(match: re.Match[str]) -> str:
        call = _call(match[1], "arguments", tools)
        if call is None:
            return match[0]
        calls.append(call)
        return ""

    left = _HERMES.sub(taken, text)
    return (left.strip(), calls) if calls else (text, [])


def _llama3(text: str, tools: frozenset[str]) -> tuple[str, list[Call]]:
    call = _call(text.strip().removeprefix("<|python_tag|>"), "parameters", tools)
    return (text, []) if call is None else ("", [call])


_FORMS: Mapping[Form, Callable[[str, frozenset[str]], tuple[str, list[Call]]]] = {"hermes": _hermes, "llama3": _llama3}


def _call(text: str, field: str, tools: frozenset[str]) -> Call | None:
    try:
        written = json.loads(text)
    except ValueError:
        return None
    if not isinstance(written, dict) or written.get("name") not in tools:
        return None
    arguments = written.get(field)
    return Call(written["name"], arguments) if isinstance(arguments, dict) else None
