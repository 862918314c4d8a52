"""Renders chats through a model's Jinja template, and tells which characters belong to which message.

No marks are put into the text. They are put into the template's syntax tree: every loop over messages yields an *empty*
string of a type of its own at the start of its body, and one behind the loop. So the rendering is to the character what
the template alone gives, whatever it trims, splits, rewrites or compares, and the places of the marks among the pieces
that Jinja yields tell where each message begins and ends. One rendering gives both text and places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jinja2

from runtime.data.messages import REASONING_FIELDS
from runtime.data.template_marks import Mark, compile_marked
from runtime.data.template_sandbox import CHARACTERS, NumberedMessage
from runtime.errors import UserError

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Span:
    """Characters `start` to `stop` (exclusive) of a rendering; `message` is an index into the chat's messages."""

    message: int
    start: int
    stop: int


@dataclass(frozen=True)
class Rendered:
    """A chat as text. `spans` are in order and apart; what none covers belongs to the template."""

    text: str
    spans: tuple[Span, ...]


class RenderError(Exception):
    """One chat can't be rendered: the template refuses it, or fails on it. The text says why, in a line."""


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template with what it is given besides the chat.

    Attributes:
        source: Jinja, with the names that Hugging Face's tokenizers define.
        special: `bos_token`, `eos_token` and so on, as text.
        arguments: the spec's `template_args:`.
    """

    source: str
    special: Mapping[str, str]
    arguments: Mapping[str, Any]

    @cached_property
    def compiled(self) -> jinja2.Template:
        return compile_marked(self.source)

    @cached_property
    def generation_prompt(self) -> str:
        """What the template writes for the model to go on from, as it opens an assistant's turn; often one line.

        Some templates open one whether asked or not, or else write an end token; then it is what they write behind the
        last message. Blanks before it may as well belong to the message before, and are left out.
        """
        user = {"role": "user", "content": "x"}
        for chat in ([user], [{"role": "system", "content": "x"}, user]):
            try:
                closed, opened = (render(self, chat, generation_prompt=wanted) for wanted in (False, True))
            except RenderError:
                continue
            if opened.text.startswith(closed.text) and len(opened.text) > len(closed.text):
                return opened.text[len(closed.text) :].lstrip()
            end = closed.spans[-1].stop if closed.spans else len(closed.text)
            if opened.text.startswith(closed.text[:end]):
                return opened.text[end:].lstrip()
        return ""

    @cached_property
    def takes_arguments_as_text(self) -> bool:
        """Whether it puts the arguments of tool calls into a text as they are, and fails on an object."""
        for content in ({}, {"content": ""}):
            taken: list[object] = []
            for arguments in ({}, "{}"):
                call = {"id": "call00000", "type": "function", "function": {"name": "x", "arguments": arguments}}
                chat = [{"role": "user", "content": "x"}, {"role": "assistant", **content, "tool_calls": [call]}]
                with suppress(Exception):
                    self.compiled.render({**self.special, **self.arguments, "messages": chat, "tools": None})
                    taken.append(arguments)
            if taken:
                return taken == ["{}"]
        return False

    @cached_property
    def opening(self) -> tuple[str, ...]:
        """The generation prompt in pieces: its lines, and a thought that it opens apart from the header before it."""
        lines = self.generation_prompt.splitlines(keepends=True)
        return tuple(part for line in lines for part in re.split(r"(?<=.)(?=</?think>|\[/?THINK\])", line))


def chat_template(
    source: str | None, special: Mapping[str, str], arguments: Mapping[str, Any] | None = None
) -> ChatTemplate:
    """The template, compiled; UserError where there is none or where it isn't Jinja."""
    if source is None:
        raise UserError("the model has no chat template", "name one with `template:`, or use an instruct model")
    template = ChatTemplate(source, dict(special), dict(arguments or {}))
    try:
        _ = template.compiled
    except jinja2.TemplateSyntaxError as error:
        raise UserError(
            f"the chat template is not Jinja: {error.message} (its line {error.lineno})",
            "mend the template, or name another one with `template:`",
        ) from error
    return template


def render(
    template: ChatTemplate,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    generation_prompt: bool = False,
) -> Rendered:
    """The whole chat as text, and the characters of every message.

    A tool call's arguments are given to the template in the form that it writes them from, an object or the JSON text
    of one, whichever the chat has. Raises RenderError.
    """
    context = template.compiled.new_context(
        {
            **template.special,
            **template.arguments,
            "messages": [_given(message, number, template) for number, message in enumerate(messages)],
            "tools": tools or None,
            "documents": None,
            "add_generation_prompt": generation_prompt,
        }
    )
    pieces: list[str] = []
    spans: list[Span] = []
    loops: list[tuple[int, int]] = []  # the loops over messages that are open, each with the message it stands at
    position = start = 0
    try:
        for piece in template.compiled.root_render_func(context):
            if type(piece) is not Mark:
                pieces.append(piece)
                position += len(piece)
                if position > CHARACTERS:
                    raise RenderError(f"the chat template writes more than {CHARACTERS:,} characters for one chat")
                continue
            depth = next((depth for depth, (loop, _) in enumerate(loops) if loop == piece.loop), None)
            if depth is None and piece.message is None:
                continue  # behind a loop over something else
            if loops and position > start:
                _extend(spans, loops[-1][1], start, position)
            start = position
            if depth is not None:
                del loops[depth:]
            if piece.message is not None:
                loops.append((piece.loop, piece.message))
    except RenderError:
        raise
    except Exception as error:  # a template is a program: whatever it does wrong, this one chat can't be rendered
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = reason.replace(f"'{NumberedMessage.__module__}.{NumberedMessage.__name__} object'", "a message")
        raise RenderError(f"the chat template fails: {reason}") from error
    return Rendered("".join(pieces), tuple(spans))


def _extend(spans: list[Span], message: int, start: int, stop: int) -> None:
    if spans and spans[-1].message == message and spans[-1].stop == start:
        start = spans.pop().start
    spans.append(Span(message, start, stop))


def _given(message: Message, number: int, template: ChatTemplate) -> NumberedMessage:
    """A message as templates are given it: without nulls, its reasoning under the names that templates look for."""
    given = NumberedMessage(message)
    given._number = number
    if None in given.values():
        for name in [name for name, value in given.items() if value is None]:
            del given[name]
    if len(message) > 2:  # than a role and a content
        reasoning = reasoning_of(given)
        if reasoning is not None:
            given.setdefault("thinking", reasoning)
            given["reasoning_content"] = reasoning
        if given.get("tool_calls"):
            convert = _with_arguments_as_text if template.takes_arguments_as_text else _with_parsed_arguments
            given["tool_calls"] = [convert(call) for call in given["tool_calls"]]
    return given


def reasoning_of(message: Message) -> str | None:
    """The reasoning that stands in a field of the message's own."""
    return next((message[name] for name in REASONING_FIELDS if message.get(name) is not None), None)


def _with_parsed_arguments(call: Mapping[str, Any]) -> Mapping[str, Any]:
    arguments = call.get("function", call).get("arguments")
    if not isinstance(arguments, str):
        return call
    try:
        parsed = json.loads(arguments)
    except ValueError:
        return call
    return _with_arguments(call, parsed) if isinstance(parsed, dict) else call


def _with_arguments_as_text(call: Mapping[str, Any]) -> Mapping[str, Any]:
    arguments = call.get("function", call).get("arguments")
    return call if isinstance(arguments, str) else _with_arguments(call, json.dumps(arguments, ensure_ascii=False))


def _with_arguments(call: Mapping[str, Any], arguments: object) -> Mapping[str, Any]:
    function = {**call.get("function", call), "arguments": arguments}
    return {**call, "function": function} if "function" in call else function
