"""Evaluates predicates of the language over rows, a whole column at a time."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import re2
from numpy.typing import NDArray

from dsl.record_fields import DERIVED
from dsl.values import Compare, Constant, Expression, Field, Has, InRange, Logic, Matches, Not, Predicate
from runtime.data.rows import Format, Rows
from runtime.errors import UserError

Mask = NDArray[np.bool_]


def evaluate(predicate: Predicate, format: Format, rows: Rows, tokens: NDArray[np.int64] | None) -> Mask:
    """bool[n], where the predicate holds.

    `and` and `or` stop as in Python, row by row: `has(label) and label == "no"` reads `label` only where it is.

    Args:
        tokens: int64[n], the rows' lengths for the consumer; None where the predicate doesn't ask for them.

    Raises:
        UserError: a row lacks a field, a comparison is between different types, or a pattern isn't RE2.
    """
    return _evaluate(predicate, _Columns(format, rows, tokens), np.ones(len(rows), np.bool_))


def fields_of(predicate: Predicate | Expression) -> frozenset[str]:
    """Names of the fields that a predicate asks for."""
    match predicate:
        case Field(name=name):
            return frozenset((name,))
        case Compare(left=left, right=right):
            return fields_of(left) | fields_of(right)
        case InRange(value=value):
            return fields_of(value)
        case Matches(field=field) | Has(field=field):
            return fields_of(field)
        case Not(operand=operand):
            return fields_of(operand)
        case Logic(operands=operands):
            return frozenset().union(*map(fields_of, operands))
        case _:
            return frozenset()


@dataclass(frozen=True)
class _Columns:
    """Columns of fields, each computed when it is asked for."""

    format: Format
    rows: Rows
    tokens: NDArray[np.int64] | None

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        return list(self.rows.records())

    def column(self, name: str) -> Sequence[Any]:
        """One value a row, None where it isn't there."""
        if name not in DERIVED[self.format]:
            return [record.get(name) for record in self.records]
        if name == "tokens":
            if self.tokens is None:
                raise UserError(
                    "no tokenizer counts `tokens` here", "use the source in a train stage, or drop the filter"
                )
            return self.tokens.tolist()
        if self.format == "documents":
            texts = [record["text"] for record in self.records]
            return texts if name == "text" else [len(text) for text in texts]
        match name:
            case "turns":
                return [len(_texts(record, "assistant")) for record in self.records]
            case "has_tools":
                return [bool(record.get("tools")) for record in self.records]
            case "has_system":
                return [bool(_texts(record, "system")) for record in self.records]
            case "text":
                return ["\n\n".join(_texts(record, None)) for record in self.records]
            case role:
                return ["\n\n".join(_texts(record, role)) for record in self.records]


def _texts(record: Mapping[str, Any], role: str | None) -> list[str]:
    """Texts of the messages of a role, or of all."""
    return [message.get("content") or "" for message in record["messages"] if role is None or message["role"] == role]


def _evaluate(predicate: Predicate, columns: _Columns, active: Mask) -> Mask:
    """Where the predicate holds among the active rows; false elsewhere."""
    match predicate:
        case Logic(operator="and", operands=operands):
            for operand in operands:
                active = _evaluate(operand, columns, active)
            return active
        case Logic(operands=operands):
            holds = np.zeros_like(active)
            for operand in operands:
                holds = holds | _evaluate(operand, columns, active & ~holds)
            return holds
        case Not(operand=operand):
            return active & ~_evaluate(operand, columns, active)
        case Has(field=field):
            return active & np.array([value is not None for value in columns.column(field.name)], np.bool_)
        case Matches(field=field, pattern=pattern):
            search = _pattern(pattern).search
            return _spread(active, [search(text) is not None for text in _values(field, "a text", columns, active)])
        case InRange(value=value, range=bounds):
            numbers = _values(value, "a number", columns, active)
            return _spread(active, [bounds.low <= number <= bounds.high for number in numbers])
        case Compare():
            return _compare(predicate, columns, active)
        case Field():
            return _spread(active, _values(predicate, "true or false", columns, active))


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def _compare(predicate: Compare, columns: _Columns, active: Mask) -> Mask:
    """Numbers are compared exactly; texts and booleans only for equality."""
    sides = (predicate.left, predicate.right)
    kind = "a number"
    if predicate.operator in ("==", "!="):
        constants = [side.value for side in sides if isinstance(side, Constant)]
        kind = _kind(constants[0]) if constants else None
    left, right = (_values(side, kind, columns, active) for side in sides)
    return _spread(active, list(map(_OPERATORS[predicate.operator], left, right)))


def _values(expression: Expression, kind: str | None, columns: _Columns, active: Mask) -> list[Any]:
    """The expression's value at each active row; UserError where it isn't there or is not of the kind."""
    match expression:
        case Constant(value=value):
            exact = int(value) if isinstance(value, Fraction) and value.denominator == 1 else value
            values, name = [exact] * int(active.sum()), str(value)
        case Field(name=name):
            values = list(compress(columns.column(name), active))
        case _:
            raise AssertionError(f"{expression} stands in no predicate")
    for number, value in enumerate(values):
        if value is None:
            raise _missing(name, values, columns, active)
        if kind is not None and _kind(value) != kind:
            place = columns.rows.place(int(np.flatnonzero(active)[number]))
            raise UserError(
                f"'{name}' is {_kind(value)} here, not {kind}", f"compare it with {_kind(value)}", place=place
            )
    return values


def _missing(name: str, values: Sequence[Any], columns: _Columns, active: Mask) -> UserError:
    lacking = [int(number) for number, value in zip(np.flatnonzero(active), values, strict=True) if value is None]
    known = {*DERIVED[columns.format], *(name for record in columns.records for name in record)} - {name}
    near = get_close_matches(name, sorted(known), 1)
    return UserError(
        f"{len(lacking):,} of {len(values):,} rows have no field '{name}'",
        f"did you mean '{near[0]}'?" if near else f"ask `has({name})` first; there are {', '.join(sorted(known))}",
        place=columns.rows.place(lacking[0]),
    )


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float() | Fraction():
            return "a number"
        case str():
            return "a text"
        case _:
            return "a list or an object"


def _pattern(pattern: str) -> Any:
    try:
        return re2.compile(pattern)
    except re2.error as error:
        raise UserError(
            f"'{pattern}' is not an RE2 pattern: {error}", "see github.com/google/re2/wiki/Syntax"
        ) from error


def _spread(active: Mask, holds: list[bool]) -> Mask:
    """The active rows' answers in the place of all rows."""
    spread = np.zeros_like(active)
    spread[active] = holds
    return spread
