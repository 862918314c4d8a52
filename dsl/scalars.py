"""Typed scalars: from a scalar's text to the value that its field's type makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from fractions import Fraction
from functools import cache, lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, cast, overload

from lark import Lark, Token, UnexpectedInput, UnexpectedToken
from lark.exceptions import VisitError

from dsl.scalar_values import Builder, ScalarError
from dsl.source import Span
from dsl.tree import Scalar
from dsl.values import Amount, Call, Compare, Flow, Name, Point, Predicate, Quantity, Range

ScalarKind = Literal[
    "count", "quantity", "amount", "when", "range", "number", "percent", "boolean", "word", "name", "call", "flow",
    "predicate", "claim", "location", "text",
]  # fmt: skip

BLOCK_TEXT = ("literal", "folded")
"""Styles of text that end with a line end, which is no part of a value that isn't text."""

LONGEST = 20_000
"""Characters that a scalar may have, where its field takes anything but text or a location."""

FORMS: dict[ScalarKind, tuple[str, str]] = {
    "count": ("a count", "a whole number: '12000', '30M', '64Ki'"),
    "quantity": ("a quantity", "a count and its unit: '30M tokens', '500 steps', '16GiB'"),
    "amount": ("an amount", "a percentage, a ratio, a quantity, 'all' or 'rest': '40%', '2', '5M tokens'"),
    "when": ("a moment", "'start', 'end', '25%', '10M tokens', 'every 500 steps' or 'end of STAGE'"),
    "range": ("a range", "its bounds: '1..4'"),
    "number": ("a number", "digits: '0.95', '1e-4'"),
    "percent": ("a percentage", "digits and '%': '3%'"),
    "boolean": ("a boolean", "'true' or 'false'"),
    "word": ("a word", "letters, digits, '_', '.' and '-', without blanks"),
    "name": ("a name", "the name of a declaration: 'fiction', 'common.finetune'"),
    "call": ("a call", "a name and its arguments: 'adamw(lr=1e-4)'"),
    "flow": ("a flow", "names and calls joined by '|>': 'base |> finetune(data=advice)'"),
    "predicate": ("a condition", "tests of fields: 'turns >= 2 and not has_tools', with labels in double quotes"),
    "claim": ("a claim", "a comparison of results: 'harm(tuned) <= harm(base) - 2%'"),
    "location": ("a location", "a path, or a URL such as 'hf://org/model@revision'"),
    "text": ("a text", "any text"),
}
"""What each kind is called, and how it is written."""


@overload
def parse_scalar(kind: Literal["count"], scalar: Scalar) -> int: ...
@overload
def parse_scalar(kind: Literal["quantity"], scalar: Scalar) -> Quantity: ...
@overload
def parse_scalar(kind: Literal["amount"], scalar: Scalar) -> Amount: ...
@overload
def parse_scalar(kind: Literal["when"], scalar: Scalar) -> tuple[Point, ...]: ...
@overload
def parse_scalar(kind: Literal["range"], scalar: Scalar) -> Range: ...
@overload
def parse_scalar(kind: Literal["number", "percent"], scalar: Scalar) -> Fraction: ...
@overload
def parse_scalar(kind: Literal["boolean"], scalar: Scalar) -> bool: ...
@overload
def parse_scalar(kind: Literal["word", "location", "text"], scalar: Scalar) -> str: ...
@overload
def parse_scalar(kind: Literal["name"], scalar: Scalar) -> Name: ...
@overload
def parse_scalar(kind: Literal["call"], scalar: Scalar) -> Call: ...
@overload
def parse_scalar(kind: Literal["flow"], scalar: Scalar) -> Flow: ...
@overload
def parse_scalar(kind: Literal["predicate"], scalar: Scalar) -> Predicate: ...
@overload
def parse_scalar(kind: Literal["claim"], scalar: Scalar) -> Compare: ...
@overload
def parse_scalar(kind: ScalarKind, scalar: Scalar) -> object: ...
def parse_scalar(kind: ScalarKind, scalar: Scalar) -> object:
    """The value that a field of type `kind` makes of a scalar. Raises ScalarError."""
    if kind == "text":
        return scalar.text
    text = scalar.text.removesuffix("\n") if scalar.style in BLOCK_TEXT else scalar.text
    value = _value(kind, text)
    if isinstance(value, ScalarError):
        is_all = value.span == (0, len(text))
        span = scalar.span if is_all else _in_file(value.span, scalar)
        raise ScalarError(value.message, span, value.help, value.code)
    return _placed(value, scalar)


def parse_text(kind: ScalarKind, text: str, offset: int = 0) -> object:
    """`parse_scalar` for text that stands at `offset` of a file."""
    return parse_scalar(kind, Scalar(text, "plain", Span(offset, offset + len(text))))


@lru_cache(maxsize=1 << 14)
def _value(kind: ScalarKind, text: str) -> object:
    """The value of a text, or the ScalarError that says why there is none, with places within the text.

    Files say the same things often, and editors check them again at every keystroke; parsing is most of the time that a
    check takes.
    """
    if kind == "location":
        return _misfit(kind, text) if not text.strip() or "\0" in text else text
    if len(text) > LONGEST:
        what, _ = FORMS[kind]
        span, help = Span(0, len(text)), f"write at most {LONGEST} characters"
        return ScalarError(f"{what} of {len(text)} characters", span, help, "MIX0150")
    try:
        return Builder(text).transform(_grammar().parse(text, start=kind))
    except UnexpectedInput as error:
        return _misfit(kind, text, _place(error, text))
    except RecursionError:
        return _misfit(kind, text)
    except VisitError as error:
        if isinstance(error.orig_exc, ScalarError):
            return error.orig_exc
        raise


def _placed(value: Any, scalar: Scalar) -> Any:
    """A value with its places in the file instead of those in the scalar's text."""
    kind = cast(type[Any], type(value))
    if kind is Span:
        return _in_file(value, scalar)
    if kind is tuple:
        return tuple([_placed(item, scalar) for item in value])
    parts = _parts(kind)
    return kind(*[_placed(part, scalar) for part in parts(value)]) if parts else value


@cache
def _parts(kind: type) -> Callable[[Any], tuple[Any, ...]] | None:
    """What takes a value of a class apart, if it knows its places."""
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else []
    return attrgetter(*names) if "span" in names else None


def _in_file(span: Span, scalar: Scalar) -> Span:
    start = scalar.offset(span.start)
    return Span(start, scalar.offset(span.end - 1) + 1 if span.end > span.start else start)


def _place(error: UnexpectedInput, text: str) -> Span:
    """Where a text stops making sense; all of it where it is over too soon."""
    position, length = error.pos_in_stream, 1
    if isinstance(error, UnexpectedToken):
        token = cast(Token, error.token)  # pyright: ignore[reportUnknownMemberType]
        if token.type == "$END":
            return Span(0, len(text))
        length = len(token.split()[0])
    assert position is not None
    return Span(position, position + length)


def _misfit(kind: ScalarKind, text: str, span: Span | None = None) -> ScalarError:
    what, form = FORMS[kind]
    shown = " ".join(text.split())
    shown = shown if len(shown) <= 60 else shown[:59] + "…"
    return ScalarError(f"'{shown}' is not {what}", span or Span(0, len(text)), f"write {form}", "MIX0150")


@cache
def _grammar() -> Any:  # not all of Lark is typed
    grammar = (Path(__file__).parent / "grammar" / "scalars.lark").read_text()
    starts = [kind for kind in FORMS if kind not in ("location", "text")]
    return Lark(grammar, start=starts, parser="lalr", lexer="contextual", propagate_positions=True)
