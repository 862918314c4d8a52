"""What a chat template does with a chat besides writing it down, found by trying it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from runtime.data.template_sandbox import TODAY
from runtime.data.templates import ChatTemplate, Message, RenderError, chat_template, render

_USER = {"role": "user", "content": "qzxuserqzx"}
_ANSWER = {"role": "assistant", "content": "qzxanswerqzx"}
_SYSTEM = {"role": "system", "content": "qzxsystemqzx"}
_TOOL = {
    "type": "function",
    "function": {
        "name": "qzxtoolqzx",
        "description": "qzxtoolqzx",
        "parameters": {"type": "object", "properties": {}, "required": []},
    },
}
_CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": "callqzx00", "type": "function", "function": {"name": "qzxcallqzx", "arguments": {"place": "here"}}}
    ],
}
_RESULT = {"role": "tool", "content": "qzxresultqzx", "tool_call_id": "callqzx00", "name": "qzxcallqzx"}


@dataclass(frozen=True)
class TemplateFacts:
    """What a template drops or adds.

    Attributes:
        takes_tools: it writes the chat's tools into the prompt.
        takes_tool_calls: it writes an assistant's calls.
        takes_system: it writes a system message, or refuses it where None.
        own_system: the system prompt that it adds to a chat without one, "" where it adds none.
        rewrites_history: it writes an assistant's turn differently once another message follows.
        uses_date: it asks for today's date and gets `TODAY`.
        opens_turn: with a generation prompt it opens the assistant's turn.
        closes_turn: it writes something behind an assistant's words, an end-of-turn token.
    """

    takes_tools: bool
    takes_tool_calls: bool
    takes_system: bool | None
    own_system: str
    rewrites_history: bool
    uses_date: bool
    opens_turn: bool
    closes_turn: bool

    def notes(
        self, has_tools: bool, has_system: bool, lacks_system: bool, dropped: Mapping[str, int] | None = None
    ) -> tuple[str, ...]:
        """Sentences for the plan about data of which some chats have tools or a system message, or lack one.

        Args:
            dropped: how many chats hold something that the template left out, see `Encoded.dropped`.
        """
        told = [f"the chat template drops the {what} of {count:,} chats" for what, count in (dropped or {}).items()]
        if has_tools and not self.takes_tools:
            told.append("the chat template ignores tools, and the data has them")
        if has_tools and not self.takes_tool_calls:
            told.append("the chat template ignores tool calls, and the data may have them")
        if has_system and not self.takes_system:
            verb = "ignores" if self.takes_system is False else "refuses"
            told.append(f"the chat template {verb} system messages, and the data has them")
        if lacks_system and self.own_system:
            told.append(f"the chat template adds a system prompt of its own to chats without one: {self.own_system!r}")
        if self.rewrites_history:
            told.append("the chat template writes earlier assistant turns differently from the last one")
        if self.uses_date:
            told.append(f"the chat template asks for today's date and is given {TODAY.isoformat()}, whatever the day")
        if not self.opens_turn:
            told.append("the chat template opens no assistant turn: the model learns to write a turn's header itself")
        if not self.closes_turn:
            told.append("the chat template writes nothing behind an assistant's turn: the model doesn't learn to stop")
        return tuple(told)


def template_facts(template: ChatTemplate) -> TemplateFacts:
    """Renders a handful of small chats and compares."""
    return _facts(
        template.source, tuple(sorted(template.special.items())), tuple(sorted(template.arguments.items(), key=str))
    )


@lru_cache(maxsize=32)
def _facts(source: str, special: tuple[Any, ...], arguments: tuple[Any, ...]) -> TemplateFacts:
    template = chat_template(source, dict(special), dict(arguments))
    plain = _text(template, [_USER])
    called = _text(template, [_USER, _CALL, _RESULT], [_TOOL])
    with_system = _text(template, [_SYSTEM, _USER])
    thinking = {**_ANSWER, "content": "<think>\nqzxthoughtqzx\n</think>\n\nqzxanswerqzx"}
    last, earlier = _turn(template, [_USER, thinking]), _turn(template, [_USER, thinking, _USER, _ANSWER])
    answered = _turn(template, [_USER, _ANSWER])
    return TemplateFacts(
        takes_tools="qzxtoolqzx" in (_text(template, [_USER], [_TOOL]) or ""),
        takes_tool_calls="qzxcallqzx" in (called or ""),
        takes_system=None if with_system is None else "qzxsystemqzx" in with_system,
        own_system=_own_system(plain, with_system),
        rewrites_history=last is not None and earlier is not None and earlier != last,
        uses_date="strftime_now" in source and any(TODAY.strftime(part) in (plain or "") for part in ("%Y", "%y")),
        opens_turn=bool(template.generation_prompt),
        closes_turn=answered is None or bool(answered.partition(_ANSWER["content"])[2].strip()),
    )


def _text(template: ChatTemplate, messages: list[Message], tools: list[Message] | None = None) -> str | None:
    try:
        return render(template, messages, tools).text
    except RenderError:
        return None


def _turn(template: ChatTemplate, messages: list[Message]) -> str | None:
    """The second message as written."""
    try:
        chat = render(template, messages)
    except RenderError:
        return None
    return "".join(chat.text[span.start : span.stop] for span in chat.spans if span.message == 1)


def _own_system(plain: str | None, with_system: str | None) -> str:
    """What stands where a system message would, in a rendering without one."""
    if plain is None or with_system is None or _SYSTEM["content"] not in with_system:
        return ""
    head, _, tail = with_system.partition(_SYSTEM["content"])
    between = tail.partition(_USER["content"])[0]
    before = plain.partition(_USER["content"])[0]
    if not between or not before.startswith(head) or not before[len(head) :].endswith(between):
        return ""
    own = before[len(head) : len(before) - len(between)]
    return own.strip() or head.strip()
