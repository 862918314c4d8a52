"""The canonical text of a value: `parse_scalar` reads it back as an equal one."""

from __future__ import annotations

from fractions import Fraction
from typing import assert_never

from dsl.values import (
    Amount,
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
)

Value = bool | int | Fraction | str | Quantity | Amount | Point | Range | Name | Call | Flow | Predicate | Expression

_SI = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_BINARY = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_TIGHTNESS = {"or": 0, "and": 1, "not": 2, "+": 0, "-": 0, "*": 1, "/": 1}


def unparse(value: Value | tuple[Point, ...]) -> str:
    """A value as it is written in a field of its type; several points as a list, a number without a percent sign."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return _scaled(Fraction(value), _SI)
        case Fraction():
            return _number(value)
        case str():
            return value
        case tuple():
            return unparse(value[0]) if len(value) == 1 else f"[{', '.join(map(_point, value))}]"
        case Quantity():
            return _quantity(value)
        case Amount():
            return _amount(value)
        case Point():
            return _point(value)
        case Range():
            return _range(value)
        case Name():
            return value.text
        case Call():
            return _call(value) if value.arguments else value.name.text
        case Flow():
            return " |> ".join(item.text if isinstance(item, Name) else _call(item) for item in value.items)
        case Compare() | InRange() | Matches() | Has() | Not() | Logic():
            return _predicate(value)
        case Field() | Constant() | EvalReference() | Arithmetic():
            return _expression(value)
        case _:
            assert_never(value)


def _number(value: Fraction) -> str:
    """The shorter of `0.0001` and `1e-4`."""
    places = _places(value)
    if not places:
        return _decimal(value)
    return min(_decimal(value), f"{value * 10**places}e-{places}", key=len)


def _decimal(value: Fraction) -> str:
    """All digits of a number: `0.95`. One whose digits don't end is rounded to a float."""
    places = _places(value)
    if places is None:
        return repr(float(value))
    digits = f"{abs(value) * 10**places}".rjust(places + 1, "0")
    whole, fraction = digits[: len(digits) - places], digits[len(digits) - places :]
    return f"{'-' if value < 0 else ''}{whole}{'.' if fraction else ''}{fraction}"


def _places(value: Fraction) -> int | None:
    """How many digits a number has after its point; None if they don't end."""
    rest, places = value.denominator, {2: 0, 5: 0}
    for factor in places:
        while rest % factor == 0:
            rest //= factor
            places[factor] += 1
    return max(places.values()) if rest == 1 else None


def _scaled(value: Fraction, scales: dict[str, int]) -> str:
    """A count with the suffix that makes it shortest: `30M`."""
    return min((f"{_decimal(value / scale)}{suffix}" for suffix, scale in scales.items()), key=len)


def _percent(value: Fraction) -> str:
    return f"{_decimal(value * 100)}%"


def _quantity(value: Quantity) -> str:
    if value.unit == "bytes":
        return _scaled(value.count, _BINARY)
    unit = value.unit.removesuffix("s") if value.count == 1 else value.unit
    return f"{_scaled(value.count, _SI)} {unit}"


def _amount(value: Amount) -> str:
    match value.value:
        case None:
            return value.kind
        case Quantity():
            return _quantity(value.value)
        case _:
            return _percent(value.value) if value.kind == "percent" else _decimal(value.value)


def _point(value: Point) -> str:
    match value.value:
        case None:
            moment = value.kind
        case Quantity():
            moment = _quantity(value.value)
        case _:
            moment = _percent(value.value)
    return f"{'every ' if value.every else ''}{moment}{f' of {value.of}' if value.of else ''}"


def _range(value: Range) -> str:
    return f"{_decimal(value.low)}..{_decimal(value.high)}"


def _call(value: Call | EvalReference) -> str:
    arguments = (f"{argument.path}={argument.text}" if argument.path else argument.text for argument in value.arguments)
    return f"{value.name.text}({', '.join(arguments)})"


def _predicate(value: Predicate, above: int = -1) -> str:
    """A predicate, in brackets if what stands around it binds as tightly as `above` or tighter than it."""
    match value:
        case Logic(operator, operands):
            tightness = _TIGHTNESS[operator]
            text = f" {operator} ".join(_predicate(operand, tightness) for operand in operands)
            return f"({text})" if tightness <= above else text
        case Not(operand):
            text = f"not {_predicate(operand, _TIGHTNESS['not'] - 1)}"
            return f"({text})" if _TIGHTNESS["not"] <= above else text
        case Compare(operator, left, right):
            return f"{_expression(left)} {operator} {_expression(right)}"
        case InRange():
            return f"{_expression(value.value)} in {_range(value.range)}"
        case Matches():
            return f"matches({value.field.name}, {_quoted(value.pattern)})"
        case Has():
            return f"has({value.field.name})"
        case Field():
            return value.name
        case _:
            assert_never(value)


def _expression(value: Expression, above: int = -1) -> str:
    """A side of a comparison, in brackets if what stands around it binds as tightly as `above` or tighter."""
    match value:
        case Field():
            return value.name
        case Constant():
            return _constant(value.value)
        case EvalReference():
            return _call(value) if value.arguments else value.name.text
        case Arithmetic(operator, left, right):
            tightness = _TIGHTNESS[operator]
            text = f"{_expression(left, tightness - 1)} {operator} {_expression(right, tightness)}"
            return f"({text})" if tightness <= above else text
        case _:
            assert_never(value)


def _constant(value: Fraction | str | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else _number(value)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', r"\"") + '"'
