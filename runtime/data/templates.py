"""Renders chats through a model's Jinja template, and tells which characters belong to which message.

No marks are put into the text. They are put into the template's syntax tree: every loop over messages yields an *empty*
string of a type of its own at the start of its body, and one behind the loop. So the rendering is to the character what
the template alone gives, whatever it trims, splits, rewrites or compares, and the places of the marks among the pieces
that Jinja yields tell where each message begins and ends. One rendering gives both text and places.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from runtime.errors import UserError

TODAY = date(2026, 1, 1)
"""The day that a template sees which asks for today's: the same files give the same tokens on every day."""

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
        return _compile(self.source)

    @cached_property
    def generation_prompt(self) -> str:
        """What the template writes for the model to go on from, as it opens an assistant's turn; often one line.

        Some templates open one whether asked or not; then it is what they write behind the last message. Blanks before
        it may as well belong to the message before, and are left out.
        """
        user = {"role": "user", "content": "x"}
        for chat in ([user], [{"role": "system", "content": "x"}, user]):
            try:
                closed, opened = (render(self, chat, generation_prompt=wanted) for wanted in (False, True))
            except RenderError:
                continue
            if opened.text == closed.text and closed.spans:
                return closed.text[closed.spans[-1].stop :].lstrip()
            if opened.text.startswith(closed.text):
                return opened.text[len(closed.text) :].lstrip()
        return ""


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

    A tool call's arguments are given to the template as an object where they are the JSON text of one, so that all
    templates write them in the same way. Raises RenderError.
    """
    context = template.compiled.new_context(
        {
            **template.special,
            **template.arguments,
            "messages": [_Tagged(message, number) for number, message in enumerate(messages)],
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
            if type(piece) is not _Mark:
                pieces.append(piece)
                position += len(piece)
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
    except Exception as error:  # a template is a program: whatever it does wrong, this one chat can't be rendered
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RenderError(f"the chat template fails: {reason[0]}") from error
    return Rendered("".join(pieces), tuple(spans))


def _extend(spans: list[Span], message: int, start: int, stop: int) -> None:
    if spans and spans[-1].message == message and spans[-1].stop == start:
        start = spans.pop().start
    spans.append(Span(message, start, stop))


class _Mark(str):
    """An empty text that knows where it stands in the template. `message` is None behind the loop."""

    __slots__ = ("loop", "message")
    loop: int
    message: int | None

    def __str__(self) -> str:  # Jinja passes what it yields through str(), which must not lose the type
        return self


class _Tagged(dict[str, Any]):
    """A message that knows its number. The sandbox keeps templates away from names that begin with `_`."""

    __slots__ = ("_number",)

    def __init__(self, message: Message, number: int) -> None:
        super().__init__(message)
        self._number = number
        if message.get("tool_calls"):
            self["tool_calls"] = [_with_parsed_arguments(call) for call in message["tool_calls"]]


def _with_parsed_arguments(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call.get("function", call)
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        return call
    try:
        parsed = json.loads(arguments)
    except ValueError:
        return call
    if not isinstance(parsed, dict):
        return call
    function = {**function, "arguments": parsed}
    return {**call, "function": function} if "function" in call else function


def _mark_item(item: object, loop: int) -> str:
    """The mark of a loop's variable where it is a message; nothing for a loop over anything else."""
    return _mark(loop, item._number) if type(item) is _Tagged else ""


@jinja2.pass_context  # which keeps Jinja from calling it once and for all when it compiles
def _mark_end(context: object, item: object, loop: int) -> str:
    return _mark(loop, None)


def _mark(loop: int, message: int | None) -> _Mark:
    mark = _Mark()
    mark.loop, mark.message = loop, message
    return mark


class _GenerationTag(Extension):
    """`{% generation %}`: accepted, and without effect. What is trained follows from one rule for all templates."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own interface)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _MarkLoops(NodeTransformer):
    def __init__(self) -> None:
        self.loops = 0

    def visit_For(self, node: nodes.For) -> list[nodes.Node]:  # noqa: N802 (Jinja's own interface)
        number, self.loops = self.loops, self.loops + 1
        self.generic_visit(node)
        names = [node.target] if isinstance(node.target, nodes.Name) else list(node.target.find_all(nodes.Name))
        node.body[:0] = [_marking("mark item", nodes.Name(name.name, "load"), number) for name in names]
        return [node, _marking("mark end", nodes.Const(None), number)]


def _marking(name: str, item: nodes.Expr, loop: int) -> nodes.Output:
    """Names of filters have a blank, so that no template can write them."""
    return nodes.Output([nodes.Filter(item, name, [nodes.Const(loop)], [], None, None)])


def _tojson(value: object, ensure_ascii: bool = False, **options: Any) -> str:
    """JSON as Hugging Face writes it: not escaped for HTML, keys in their order."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _environment() -> ImmutableSandboxedEnvironment:
    """What Hugging Face's templates are written for, sandboxed."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
    )
    environment.filters |= {"tojson": _tojson, "mark item": _mark_item, "mark end": _mark_end}
    environment.globals |= {"raise_exception": _raise_exception, "strftime_now": TODAY.strftime}
    return environment


@lru_cache(maxsize=32)
def _compile(source: str) -> jinja2.Template:
    environment = _environment()
    tree = _MarkLoops().visit(environment.parse(source))
    for node in tree.find_all(nodes.Node):
        node.environment = environment
        if "lineno" in node.attributes and node.lineno is None:
            node.lineno = 1
    return jinja2.Template.from_code(environment, environment.compile(tree), environment.make_globals(None))
