"""What the text tells of a field's value at one place of a chain, and of comparing it with a constant."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from dsl.checks.records import Known, Records
from dsl.describe import alternatives
from dsl.record_fields import DERIVED, OWN, Kind
from dsl.unparse import unparse
from dsl.values import Constant, Expression, Field, Range


@dataclass(frozen=True, slots=True)
class Facts:
    """What is told of an expression's value; nothing, as it is."""

    kind: Kind | None = None
    labels: tuple[str, ...] = ()
    """All that it can be, where it is one of a list."""
    low: Fraction | None = None
    high: Fraction | None = None
    why: str = ""
    """Where labels and bounds come from, in words."""
    is_whole: bool = False
    is_there: bool = False
    """Whether every record has it."""


def facts_of(expression: Expression, records: Records) -> Facts:
    """What is told of a constant, or of a field of such records."""
    match expression:
        case Constant(value=bool()):
            return Facts("true or false")
        case Constant(value=str()):
            return Facts("a text")
        case Constant():
            return Facts("a number")
        case Field(name=name):
            return _field(name, records)
        case _:
            return Facts()


def _field(name: str, records: Records) -> Facts:
    known = records.fields.get(name)
    kinds: set[Kind | None] = {format_kind(one, name) for one in records.formats}
    kind = kinds.pop() if len(kinds) == 1 else None
    if known is not None and not (known.maker == "fields" and kind is not None):
        # Where it is called like a derived one, that is a mistake of its own: which is meant isn't known.
        return Facts() if name in records.derived() else _made(known)
    is_derived = all(name in DERIVED[one] for one in records.formats)
    if is_derived and kind == "a number":
        why = f"'{name}' is a whole number from 0 up"
        return Facts(kind, low=Fraction(0), why=why, is_whole=True, is_there=True)
    return Facts(kind, is_there=is_derived)


def format_kind(format: str, name: str) -> Kind | None:
    """The kind of a field that all records of a format have, or may have; None where it isn't one."""
    return DERIVED[format][name].kind if name in DERIVED[format] else OWN[format].get(name)


def _made(known: Known) -> Facts:
    """What is told of a field by what made it."""
    low, high = (known.scale.low, known.scale.high) if known.scale else (None, None)
    why = {
        "judge": f"the judge answers {alternatives(known.labels)}",
        "score": f"its scale is {unparse(known.scale)}" if known.scale else "",
        "set": f"it is {alternatives(known.labels)} in every row",
    }.get(known.maker, "")
    return Facts(known.kind, known.labels, low, high, why, is_there=known.kind is not None)


def outcome(facts: Facts, operator: str, value: Fraction | str | bool) -> bool | None:
    """How comparing a field with a constant of its kind always comes out; None where it depends on the record."""
    match value:
        case bool():
            return None
        case str():
            is_open = not facts.labels or (value in facts.labels and len(facts.labels) > 1)
            return None if is_open else (value in facts.labels) == (operator == "==")
        case Fraction() if operator in _OPPOSITE:
            if _holds(facts, operator, value):
                return True
            return False if _holds(facts, _OPPOSITE[operator], value) else None
        case Fraction():
            is_outside = _holds(facts, "<", value) or _holds(facts, ">", value)
            return operator == "!=" if is_outside or (facts.is_whole and value.denominator != 1) else None


def outcome_in(facts: Facts, bounds: Range) -> bool | None:
    """The same of a field that is tested to be in a range."""
    if _holds(facts, ">", bounds.high) or _holds(facts, "<", bounds.low):
        return False
    return True if _holds(facts, ">=", bounds.low) and _holds(facts, "<=", bounds.high) else None


_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def _holds(facts: Facts, operator: str, bound: Fraction) -> bool:
    """Whether every number that a field can be compares so with a bound."""
    low, high = facts.low, facts.high
    match operator:
        case "<":
            return high is not None and high < bound
        case "<=":
            return high is not None and high <= bound
        case ">":
            return low is not None and low > bound
        case _:
            return low is not None and low >= bound
