"""Typed scalars: from a scalar's text to the value that its field's type makes of it."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
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
    match kind:
        case "text":
            return scalar.text
        case "location":
            if not scalar.text.strip():
                raise _misfit(kind, scalar, scalar.span)
            return scalar.text
        case _:
            return _parse(kind, scalar)


def parse_text(kind: ScalarKind, text: str, offset: int = 0) -> object:
    """`parse_scalar` for text that stands at `offset` of a file."""
    return parse_scalar(kind, Scalar(text, "plain", Span(offset, offset + len(text))))


def _parse(kind: ScalarKind, scalar: Scalar) -> object:
    try:
        tree = _grammar().parse(scalar.text, start=kind)
        return Builder(scalar).transform(tree)
    except UnexpectedInput as error:
        raise _misfit(kind, scalar, _place(error, scalar)) from None
    except RecursionError:
        raise _misfit(kind, scalar, scalar.span) from None
    except VisitError as error:
        raise error.orig_exc from None


def _place(error: UnexpectedInput, scalar: Scalar) -> Span:
    """Where in the file a scalar stops making sense; all of it where its text is over too soon."""
    position, length = error.pos_in_stream, 1
    if isinstance(error, UnexpectedToken):
        token = cast(Token, error.token)  # pyright: ignore[reportUnknownMemberType]
        if token.type == "$END":
            return scalar.span
        length = len(token.split()[0])
    assert position is not None
    return Span(scalar.offset(position), scalar.offset(position + length - 1) + 1)


def _misfit(kind: ScalarKind, scalar: Scalar, span: Span) -> ScalarError:
    what, form = FORMS[kind]
    text = " ".join(scalar.text.split())
    shown = text if len(text) <= 60 else text[:59] + "…"
    return ScalarError(f"'{shown}' is not {what}", span, f"write {form}", "MIX0150")


@cache
def _grammar() -> Any:  # not all of Lark is typed
    grammar = (Path(__file__).parent / "grammar" / "scalars.lark").read_text()
    starts = [kind for kind in FORMS if kind not in ("location", "text")]
    return Lark(grammar, start=starts, parser="lalr", lexer="contextual", propagate_positions=True)
