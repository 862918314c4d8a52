"""Values from the parse trees of the scalar grammar."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from typing import Literal, TypeVar, cast

from lark import Token, Transformer, v_args  # pyright: ignore[reportUnknownVariableType]
from lark.tree import Meta

from dsl.diagnostics.suggest import nearest
from dsl.source import Span
from dsl.values import (
    Amount,
    Argument,
    Arithmetic,
    Call,
    Compare,
    Constant,
    EvalReference,
    Expression,
    Field,
    Flow,
    Has,
    InRange,
    Logic,
    Matches,
    Name,
    Not,
    Point,
    Predicate,
    Quantity,
    Range,
    Unit,
)

Operator = Literal["<", "<=", ">", ">=", "==", "!="]
Sign = Literal["+", "-", "*", "/"]

_UNITS: tuple[Unit, ...] = (
    "tokens", "trained tokens", "steps", "epochs", "examples", "prompts", "completions", "minutes", "dollars",
)  # fmt: skip
UNITS: dict[str, Unit] = {**{unit: unit for unit in _UNITS}, **{unit.removesuffix("s"): unit for unit in _UNITS}}
"""Every unit that is written as a word, in the plural and in the singular."""
_FRACTIONAL: frozenset[Unit] = frozenset(("epochs", "minutes", "dollars"))
_SCALES = {
    "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_SCALED = re.compile(r"([0-9.]+)([A-Za-z]+)")
_NAMED_ARGUMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)\s*=(?!=)\s*")


class ScalarError(Exception):
    """A text that its type doesn't take; `span` is in the text, or in the file once that is known."""

    def __init__(self, message: str, span: Span, help: str, code: str) -> None:
        super().__init__(message)
        self.message, self.span, self.help, self.code = message, span, help, code


_T = TypeVar("_T")


def _with_place(builder: _T) -> _T:
    """Every method gets the place of its rule before its children."""
    return cast(_T, v_args(meta=True)(cast(type, builder)))


@_with_place
class Builder(Transformer[Token, object]):
    """Makes the value of a text from its parse tree. Each method is a rule of the grammar."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def _written(self, meta: Meta) -> str:
        return self._text[meta.start_pos : meta.end_pos]

    def _span(self, meta: Meta, start: int = 0, end: int | None = None) -> Span:
        """Where in the text a rule stands, or its part from `start` to `end`."""
        return Span(meta.start_pos + start, meta.end_pos if end is None else meta.start_pos + end)

    def magnitude(self, meta: Meta, children: list[Token]) -> Fraction:
        return _exact(children[0])

    def number(self, meta: Meta, children: list[Token]) -> Fraction:
        return _exact(children[0]) if len(children) == 1 else -_exact(children[1])

    share = percent = number

    def count(self, meta: Meta, children: list[Fraction]) -> int:
        return int(self._whole(children[0], meta))

    def _whole(self, count: Fraction, meta: Meta) -> Fraction:
        if count.denominator != 1:
            written = self._written(meta)
            raise ScalarError(f"'{written}' is not whole", self._span(meta), "write a whole number", "MIX0152")
        return count

    def unit(self, meta: Meta, children: list[Token]) -> Unit:
        text = " ".join(children)
        if unit := UNITS.get(text):
            return unit
        close = nearest(text, UNITS)
        help = f"did you mean '{close}'?" if close else "write one of " + ", ".join(sorted(set(UNITS.values())))
        raise ScalarError(f"unknown unit '{text}'", self._span(meta), help, "MIX0151")

    def quantity(self, meta: Meta, children: tuple[Fraction, Unit]) -> Quantity:
        count, unit = children
        return Quantity(count if unit in _FRACTIONAL else self._whole(count, meta), unit)

    def memory(self, meta: Meta, children: list[Token]) -> Quantity:
        return Quantity(self._whole(_exact(children[0].removesuffix("B")), meta), "bytes")

    def percent_amount(self, meta: Meta, children: list[Fraction]) -> Amount:
        return Amount("percent", children[0])

    def ratio_amount(self, meta: Meta, children: list[Fraction]) -> Amount:
        return Amount("ratio", children[0])

    def quantity_amount(self, meta: Meta, children: list[Quantity]) -> Amount:
        return Amount("quantity", children[0])

    def word_amount(self, meta: Meta, children: list[Token]) -> Amount:
        return Amount("all" if children[0].type == "ALL" else "rest")

    def when(self, meta: Meta, children: list[Point]) -> tuple[Point, ...]:
        return tuple(children)

    def every(self, meta: Meta, children: list[Point]) -> Point:
        return replace(children[0], every=True)

    def point(self, meta: Meta, children: tuple[Token | Fraction | Quantity, Name | None]) -> Point:
        moment, stage = children
        of = stage.text if stage else None
        if isinstance(moment, Token):
            return Point("start" if moment.type == "START" else "end", None, of)
        if isinstance(moment, Quantity):
            return Point("quantity", moment, of)
        return Point("fraction", moment, of)

    def range(self, meta: Meta, children: tuple[Fraction, Fraction]) -> Range:
        low, high = children
        if low > high:
            written = self._written(meta)
            message = f"the range '{written}' holds nothing"
            raise ScalarError(message, self._span(meta), "write the lower bound first: 'low..high'", "MIX0154")
        return Range(low, high)

    def boolean(self, meta: Meta, children: list[Token]) -> bool:
        return children[0].type == "TRUE"

    def word(self, meta: Meta, children: list[Token]) -> str:
        return str(children[0])

    def name(self, meta: Meta, children: list[Token]) -> Name:
        return Name(str(children[0]), self._span(meta))

    # Calls and flows.

    def flow(self, meta: Meta, children: list[Name | Call]) -> Flow:
        return Flow(tuple(children), self._span(meta))

    def call(self, meta: Meta, children: list[Name | Argument | None]) -> Call:
        return Call(*_called(children), self._span(meta))

    def result(self, meta: Meta, children: list[Name | Argument | None]) -> EvalReference:
        return EvalReference(*_called(children), self._span(meta))

    step = call

    def argument(self, meta: Meta, children: list[Token]) -> Argument:
        text = self._written(meta).rstrip()
        named = _NAMED_ARGUMENT.match(text)
        start, end = (named.end() if named else 0), len(text)
        return Argument(named and named.group(1), text[start:], self._span(meta, start, end))

    # Predicates and claims.

    def predicate(self, meta: Meta, children: list[Predicate]) -> Predicate:
        return children[0]

    def either(self, meta: Meta, children: list[Predicate]) -> Logic:
        return Logic("or", tuple(children), self._span(meta))

    def both(self, meta: Meta, children: list[Predicate]) -> Logic:
        return Logic("and", tuple(children), self._span(meta))

    def negation(self, meta: Meta, children: list[Predicate]) -> Not:
        return Not(children[0], self._span(meta))

    def comparison(self, meta: Meta, children: list[Expression | Token]) -> Compare:
        if len(children) > 3:
            help = "join two comparisons with 'and', or write 'field in low..high'"
            if any(map(_has_result, children)):
                help = "write two claims, each one comparison"
            raise ScalarError("comparisons don't chain", self._span(meta), help, "MIX0153")
        left, operator, right = cast(tuple[Expression, Operator, Expression], tuple(children))
        return Compare(cast(Operator, str(operator)), left, right, self._span(meta))

    def within(self, meta: Meta, children: tuple[Expression, Range]) -> InRange:
        return InRange(*children, self._span(meta))

    def matches(self, meta: Meta, children: tuple[Field, Token]) -> Matches:
        return Matches(children[0], unquoted(children[1]), self._span(meta))

    def has(self, meta: Meta, children: list[Field]) -> Has:
        return Has(children[0], self._span(meta))

    def field(self, meta: Meta, children: list[Token]) -> Field:
        return Field(str(children[0]), self._span(meta))

    def constant(self, meta: Meta, children: list[Fraction | bool | Token]) -> Constant:
        value = children[0]
        return Constant(unquoted(value) if isinstance(value, Token) else value, self._span(meta))

    bound = constant

    def sum(self, meta: Meta, children: tuple[Expression, Token, Expression]) -> Arithmetic:
        left, operator, right = children
        return Arithmetic(cast(Sign, str(operator)), left, right, self._span(meta))

    product = sum


def _has_result(expression: Expression | Token) -> bool:
    """Whether an expression is of results of evals, as those of claims are."""
    if isinstance(expression, Arithmetic):
        return _has_result(expression.left) or _has_result(expression.right)
    return isinstance(expression, EvalReference)


def unquoted(text: str) -> str:
    r"""What stands between two double quotes. Only `\"` is an escape, so that patterns need no doubled backslashes."""
    return text[1:-1].replace('\\"', '"')


def _exact(text: str) -> Fraction:
    """The number that is written, as it is written: no rounding."""
    if text.endswith("%"):
        return Fraction(text[:-1]) / 100
    if scaled := _SCALED.fullmatch(text):
        return Fraction(scaled.group(1)) * _SCALES[scaled.group(2)]
    return Fraction(text)


def _called(children: list[Name | Argument | None]) -> tuple[Name, tuple[Argument, ...]]:
    """A call's name and arguments; positional ones come first, no path comes twice."""
    name, *rest = children
    assert isinstance(name, Name)
    arguments = tuple(argument for argument in rest if isinstance(argument, Argument))
    paths: set[str] = set()
    for argument in arguments:
        if argument.path is None and paths:
            message, help = "a positional argument after a named one", "write it first, or name it: 'field=value'"
            raise ScalarError(message, argument.span, help, "MIX0155")
        if argument.path in paths:
            message, help = f"'{argument.path}' is given twice", "leave one of the two out"
            raise ScalarError(message, argument.span, help, "MIX0155")
        if not argument.text:
            message, help = f"nothing after '{argument.path}='", "write 'field=value'"
            raise ScalarError(message, argument.span, help, "MIX0155")
        if argument.path is not None:
            paths.add(argument.path)
    return name, arguments
