"""Evaluates predicates of the language over rows, a batch of rows at a time."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import compress
from typing import Any

import numpy as np
import re2
from numpy.typing import NDArray

from dsl.record_fields import DERIVED
from dsl.values import Compare, Constant, Expression, Field, Has, InRange, Logic, Matches, Not, Predicate
from runtime.data.fields import reader
from runtime.data.rows import BATCH, Format, Rows
from runtime.errors import UserError

Mask = NDArray[np.bool_]


def evaluate(predicate: Predicate, format: Format, rows: Rows, tokens: NDArray[np.int64] | None) -> Mask:
    """bool[n], where the predicate holds.

    `and` and `or` stop as in Python, row by row: `has(label) and label == "no"` reads `label` only where it is.
    Numbers are compared exactly, as they are written: 0.1 in a record is a tenth.

    Args:
        tokens: int64[n], the rows' lengths for the consumer; None where the predicate doesn't ask for them.

    Raises:
        UserError: a row lacks a field, a comparison is between different types, or a pattern isn't RE2.
    """
    if tokens is None and "tokens" in fields_of(predicate):
        raise UserError("no tokenizer counts `tokens` here", "use the source in a train stage, or drop the filter")
    holds = np.zeros(len(rows), np.bool_)
    sizes: list[list[int]] = []
    faults: list[_FaultError] = []
    for start in range(0, len(rows), BATCH):
        batch = _Batch(format, rows, tokens, start, min(start + BATCH, len(rows)))
        try:
            holds[batch.start : batch.stop] = _evaluate(predicate, batch, np.ones(batch.stop - start, np.bool_))
        except _FaultError as fault:
            faults.append(fault)
        sizes.append(batch.sizes)
    if faults:
        raise _user_error(faults, sizes, format, rows)
    return holds


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
class _Batch:
    """Rows `start` to `stop` (exclusive), parsed once, and only if a field of theirs is asked for.

    Attributes:
        sizes: of how many rows each expression so far was asked, in the order of evaluation. All batches ask in the
            same order, so that faults can be counted over all of them.
    """

    format: Format
    rows: Rows
    tokens: NDArray[np.int64] | None
    start: int
    stop: int
    sizes: list[int] = field(default_factory=list[int])

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        return list(self.rows.records(self.start, self.stop))

    def column(self, name: str, active: Mask) -> list[Any]:
        """The field of the active rows, None where it isn't there."""
        if name == "tokens" and self.tokens is not None:
            return self.tokens[self.start : self.stop][active].tolist()
        return list(map(reader(self.format, name), compress(self.records, active)))


class _FaultError(Exception):
    """An expression can't be evaluated for a row.

    Attributes:
        order: the how-manieth expression of the predicate it is, in the order of evaluation.
        row: the first row of the batch that lacks the field or has another kind of value.
        found: that value's kind, None where the row lacks it.
        lacking: how many rows of the batch lack it.
    """

    def __init__(self, name: str, order: int, row: int, found: str | None, wanted: str | None, lacking: int) -> None:
        super().__init__(name)
        self.name, self.order, self.row = name, order, row
        self.found, self.wanted, self.lacking = found, wanted, lacking


def _user_error(faults: Sequence[_FaultError], sizes: Sequence[Sequence[int]], format: Format, rows: Rows) -> UserError:
    """Of the first expression that can't be evaluated: those after it may have been asked of the wrong rows."""
    order = min(fault.order for fault in faults)
    faults = [fault for fault in faults if fault.order == order]
    first, place = faults[0], rows.place(faults[0].row)
    if first.found is not None:
        return UserError(
            f"'{first.name}' is {first.found} here, not {first.wanted}", f"compare it with {first.found}", place
        )
    lacking, asked = sum(fault.lacking for fault in faults), sum(batch[order] for batch in sizes)
    columns = {name for _, records in rows.batches() for record in records for name in record}
    known = sorted({*DERIVED[format], *columns} - {first.name})
    near = get_close_matches(first.name, known, 1)
    return UserError(
        f"{lacking:,} of {asked:,} rows have no field '{first.name}'",
        f"did you mean '{near[0]}'?" if near else f"ask `has({first.name})` first; there are {', '.join(known)}",
        place,
    )


def _evaluate(predicate: Predicate, batch: _Batch, active: Mask) -> Mask:
    """Where the predicate holds among the active rows; false elsewhere."""
    match predicate:
        case Logic(operator="and", operands=operands):
            for operand in operands:
                active = _evaluate(operand, batch, active)
            return active
        case Logic(operands=operands):
            holds = np.zeros_like(active)
            for operand in operands:
                holds = holds | _evaluate(operand, batch, active & ~holds)
            return holds
        case Not(operand=operand):
            return active & ~_evaluate(operand, batch, active)
        case Has(field=field):
            return _spread(active, [value is not None for value in batch.column(field.name, active)])
        case Matches(field=field, pattern=pattern):
            search = _pattern(pattern).search
            texts = _values(field, "a text", batch, active)
            return _spread(active, [search(text.encode(errors="surrogatepass")) is not None for text in texts])
        case InRange(value=value, range=bounds):
            numbers = _values(value, "a number", batch, active)
            return _spread(active, [bounds.low <= number <= bounds.high for number in numbers])
        case Compare():
            return _compare(predicate, batch, active)
        case Field():
            return _spread(active, _values(predicate, "true or false", batch, active))


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def _compare(predicate: Compare, batch: _Batch, active: Mask) -> Mask:
    """Numbers are compared by size and for equality; everything else only for equality, with its own kind."""
    sides = (predicate.left, predicate.right)
    kind = "a number"
    if predicate.operator in ("==", "!="):
        constants = [side.value for side in sides if isinstance(side, Constant)]
        kind = _kind(constants[0]) if constants else None
    left = _values(predicate.left, kind, batch, active)
    right = _values(predicate.right, list(map(_kind, left)) if kind is None else kind, batch, active)
    return _spread(active, list(map(_OPERATORS[predicate.operator], left, right)))


def _values(expression: Expression, kind: str | Sequence[str] | None, batch: _Batch, active: Mask) -> list[Any]:
    """The expression's value at each active row, numbers exact.

    Args:
        kind: what each must be: one kind for all, or one for each.

    Raises:
        _FaultError: a value isn't there or is not of its kind.
    """
    values: list[Any]
    match expression:
        case Constant(value=value):
            values, name = [value] * int(active.sum()), str(value)
        case Field(name=name):
            values = batch.column(name, active)
        case _:
            raise AssertionError(f"{expression} stands in no predicate")
    batch.sizes.append(len(values))
    for number, value in enumerate(values):
        wanted = kind if kind is None or isinstance(kind, str) else kind[number]
        if value is None or (wanted is not None and _kind(value) != wanted):
            row = batch.start + int(np.flatnonzero(active)[number])
            found = None if value is None else _kind(value)
            raise _FaultError(name, len(batch.sizes) - 1, row, found, wanted, values.count(None))
    return list(map(_exact, values))


def _exact(value: Any) -> Any:
    """A float stands for the shortest decimal that reads as it, which is what a file has."""
    match value:
        case float():
            return Fraction(repr(value))
        case Fraction() if value.denominator == 1:
            return int(value)
        case _:
            return value


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


@lru_cache(maxsize=128)
def _pattern(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # they are told in the user's words, not on stderr
    options.never_capture = True
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        (reason,) = error.args
        told = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    except UnicodeEncodeError:
        told = "it has half of a surrogate pair"
    raise UserError(f"'{pattern}' is not an RE2 pattern: {told}", "see github.com/google/re2/wiki/Syntax")


def _spread(active: Mask, holds: list[bool]) -> Mask:
    """The active rows' answers in the place of all rows."""
    spread = np.zeros_like(active)
    spread[active] = holds
    return spread
