"""The blanks inside scalars, one way: which are written follows from the type of the field that a scalar stands in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dsl.arguments import read_node
from dsl.declarations.shapes import (
    AnyOf,
    BuiltIn,
    Claimed,
    FlowOf,
    ListOf,
    Measured,
    Moments,
    Reference,
    Shape,
    Typed,
)
from dsl.field_shapes import Models, called, item_shape, positional_shape, shape_at, typed_scalars
from dsl.flows import eval_references
from dsl.parse import parse
from dsl.quoting import double_quoted
from dsl.scalars import ScalarError, ScalarKind, parse_scalar
from dsl.source import SourceFile, Span
from dsl.tree import Document, Node, Scalar, Sequence
from dsl.unparse import unparse
from dsl.values import Argument, Call, EvalReference, Name

_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"|[0-9]+(?:\.[0-9]+)?(?:[KMGT]iB?|[kMBT%]|[eE][+-]?[0-9]+)?|[A-Za-z_][A-Za-z0-9_]*'
    r"(?:\.[A-Za-z_][A-Za-z0-9_]*)*|\.\.|[<>=!]=|[<>+*/,()\[\]-]"
)
_WORDS_BEFORE_BRACKETS = frozenset(("and", "or", "not", "in"))
_OPERAND_END = re.compile(r'[\w.")\]%]')


def respaced(document: Document) -> SourceFile:
    """The file with one way of blanks inside its calls, flows, conditions, claims and quantities."""
    source = document.source
    edits = sorted(_edits(document))
    if not edits:
        return source
    pieces: list[str] = []
    done = 0
    for span, replacement in edits:
        pieces += source.text[done : span.start], replacement
        done = span.end
    changed = SourceFile(source.path, "".join([*pieces, source.text[done:]]))
    return source if parse(changed)[1] else changed  # where YAML reads a new blank otherwise: `f(a,#b)`


def text_places(document: Document) -> frozenset[int]:
    """Where scalars start that are no call, flow or other value, whatever they look like."""
    return frozenset(scalar.span.start for scalar, shape in typed_scalars(document.root) if _is_text(shape))


def spaced(shape: Shape, text: str) -> str | None:
    """A scalar's text with the blanks that it should have; None where the shape has no form, or this isn't it."""
    match shape:
        case Typed(kind="text" | "location" | "word"):
            return None
        case Typed(kind):
            return _tokens_spaced(kind, text)
        case Measured():
            return _tokens_spaced("quantity", text)
        case Moments():
            return _tokens_spaced("when", text)
        case Claimed():
            return _tokens_spaced("claim", text)
        case BuiltIn() | Reference() | FlowOf():
            return _flow_spaced(shape, text)
        case ListOf(item, or_one=True):
            return spaced(item, text)
        case AnyOf(shapes):
            return next((found for one in shapes if (found := spaced(one, text)) is not None), None)
        case _:
            return None


def _is_text(shape: Shape) -> bool:
    match shape:
        case Typed(kind="text" | "location"):
            return True
        case ListOf(item):
            return _is_text(item)
        case _:
            return False


def _edits(document: Document) -> Iterator[tuple[Span, str]]:
    for scalar, shape in typed_scalars(document.root):
        if scalar.style in ("literal", "folded") or "\n" in scalar.text:
            continue
        new = spaced(shape, scalar.text)
        if new is not None and new != scalar.text:
            yield scalar.span, _rewritten(scalar, new, document.source)


def _rewritten(scalar: Scalar, new: str, source: SourceFile) -> str:
    """What to write for a scalar in its style; a plain one keeps its line ends."""
    match scalar.style:
        case "single":
            return "'" + new.replace("'", "''") + "'"
        case "double":
            return double_quoted(new)
        case _:
            first, *rest = source.text[scalar.span.start : scalar.span.end].split("\n")
            if not rest:
                return new
            margin = " " * (len(rest[-1]) - len(rest[-1].lstrip(" ")))
            return f"\n{margin}".join(_broken(new, [first, *rest[:-1]]))


def _broken(text: str, lines: list[str]) -> list[str]:
    """A text broken where `lines` end, which differ from it in blanks alone; not where it has no blank."""
    ends: set[int] = set()
    seen = 0
    for line in lines:
        seen += sum(not character.isspace() for character in line)
        ends.add(seen)
    broken, seen = [""], 0
    for character in text:
        if character == " " and seen in ends:
            ends.discard(seen)
            broken.append("")
        else:
            broken[-1] += character
            seen += character != " "
    return broken


# Calls and flows.


def _flow_spaced(shape: Shape, text: str) -> str | None:
    if isinstance(shape, FlowOf) and shape.or_location and ("://" in text or "/" in text.split("(", 1)[0]):
        return None
    try:
        items = parse_scalar("flow", _whole(text)).items
    except ScalarError:
        return None
    return " |> ".join(
        item.text if isinstance(item, Name) else _call_spaced(item, called(shape, item.name.text, index))
        for index, item in enumerate(items)
    )


def _call_spaced(call: Call, models: Models) -> str:
    arguments = [
        _argument_spaced(one, shape_at(models, one.path) if one.path else positional_shape(models, index))
        for index, one in enumerate(call.arguments)
    ]
    return f"{call.name.text}({', '.join(arguments)})"


def _result_spaced(result: EvalReference) -> str:
    arguments = [_argument_spaced(one, Moments() if one.path == "at" else None) for one in result.arguments]
    return f"{result.name.text}({', '.join(arguments)})"


def _argument_spaced(argument: Argument, shape: Shape | None) -> str:
    value = argument.text if shape is None else _node_spaced(shape, read_node(argument.text, 0), argument.text)
    return f"{argument.path}={value}" if argument.path else value


def _node_spaced(shape: Shape, node: Node | None, text: str) -> str:
    """An argument's value; quoted text stays as it is, and so does a mapping, where blanks count."""
    match node:
        case Scalar(style="plain"):
            new = spaced(shape, node.text)
            return node.text if new is None else new
        case Sequence(items) if item := item_shape(shape):
            return f"[{', '.join(_node_spaced(item, each, text) for each in items)}]"
        case Scalar() | Sequence():
            return text[node.span.start : node.span.end]
        case _:
            return text


# What is written in tokens: quantities, moments, conditions, claims.


def _tokens_spaced(kind: ScalarKind, text: str) -> str | None:
    value = _canonical(kind, text)
    if value is None:
        return None
    calls: dict[int, EvalReference] = {}
    if kind == "claim":
        references = eval_references(parse_scalar("claim", _whole(text)))
        calls = {one.span.start: one for one in references if one.arguments}
    tokens = _tokens(text, calls)
    if tokens is None:
        return None
    new = "".join(_with_gap(tokens, index) for index in range(len(tokens)))
    return new if new == text or _canonical(kind, new) == value else text  # words run together: `every10%`


def _canonical(kind: ScalarKind, text: str) -> str | None:
    """A text by its value alone; None where it has none."""
    try:
        value: Any = parse_scalar(kind, _whole(text))
    except ScalarError:
        return None
    return unparse(value).replace(" ", "")


def _tokens(text: str, calls: dict[int, EvalReference]) -> list[str] | None:
    """The tokens of a text, calls of evals as one each; None where something is no token."""
    tokens: list[str] = []
    place = 0
    while place < len(text):
        if text[place] == " ":
            place += 1
        elif place in calls:
            tokens.append(_result_spaced(calls[place]))
            place = calls[place].span.end
        elif match := _TOKEN.match(text, place):
            tokens.append(match.group())
            place = match.end()
        else:
            return None
    return tokens


def _with_gap(tokens: list[str], index: int) -> str:
    """A token, after a blank where one belongs before it."""
    token = tokens[index]
    if index == 0:
        return token
    previous = tokens[index - 1]
    is_sign = previous == "-" and (index == 1 or not _ends_operand(tokens[index - 2]))
    is_tight = (
        previous in ("(", "[", "..")
        or token in (")", "]", ",", "..")
        or (token == "(" and previous.isidentifier() and previous not in _WORDS_BEFORE_BRACKETS)
        or is_sign
    )
    return token if is_tight else f" {token}"


def _ends_operand(token: str) -> bool:
    return token not in _WORDS_BEFORE_BRACKETS and _OPERAND_END.match(token[-1]) is not None and token != ".."


def _whole(text: str) -> Scalar:
    return Scalar(text, "plain", Span(0, len(text)))
