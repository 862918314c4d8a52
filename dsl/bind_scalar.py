"""Scalars bound by their fields' rules: typed, in bounds, in units that the field takes; each mistake with its mend."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol

from dsl.declarations.shapes import Claimed, FlowOf, Measured, OneOf, Reference, Typed
from dsl.declarations.training import LENGTHS
from dsl.describe import alternatives, bounds, expected, known_help
from dsl.hole import HOLE
from dsl.mend import mended
from dsl.reports import Reports
from dsl.scalars import ScalarError, ScalarKind, parse_scalar
from dsl.terms import Applied, Atom, Table, Term
from dsl.unparse import unparse
from dsl.values import Amount, Quantity, Range


class Names(Protocol):
    """What the binder asks of whoever knows what names mean; each reports what is wrong and then gives a hole."""

    reports: Reports

    def follow(self, term: Term) -> Term: ...
    def location(self, atom: Atom) -> Any: ...
    def reference(self, term: Atom | Table | Applied, shape: Reference, where: Where) -> Any: ...
    def flow(self, term: Atom | Table | Applied, shape: FlowOf, where: Where) -> Any: ...
    def claim(self, atom: Atom, shape: Claimed, where: Where) -> Any: ...


@dataclass(frozen=True, slots=True)
class Where:
    """A field in words, for messages: `'lr' in adamw of train finetune`."""

    field: str
    owner: str
    is_whole: bool = True
    """Whether all of the declaration around it could be read."""

    def __str__(self) -> str:
        return f"'{self.field}' in {self.owner}"


def parsed(kind: ScalarKind, atom: Atom, where: Where, names: Names, shape: Measured | None = None) -> Any:
    """A scalar by its grammar."""
    try:
        return parse_scalar(kind, atom.scalar)
    except ScalarError as error:
        help = _mend(kind, atom, where, error, shape)
        names.reports.error(error.code, f"{where}: {error.message}", atom.scope.source, error.span, help)
        return HOLE


NO_VALUE = ("none", "None", "null", "~", "")
_BRACED = re.compile(r"\$\{(\w+)\}")
_HAS_CONSTANT = re.compile(r"\$[a-z]")
_CALLED = re.compile(r"\$\w+\(")


def _mend(kind: ScalarKind, atom: Atom, where: Where, error: ScalarError, shape: Measured | None) -> str:
    """What to write instead of a scalar that its grammar refuses."""
    text = atom.scalar.text
    if braced := _BRACED.fullmatch(text):
        return f"write '${braced[1]}'"
    if text in atom.scope.constants:
        return f"write '${text}' for the constant of that name"
    if _HAS_CONSTANT.search(text) and ("(" not in text or kind in ("claim", "predicate") or _CALLED.search(text)):
        return "'$name' stands for a whole value or a whole argument: put the rest of it into the constant"
    if text in NO_VALUE:
        return f"leave '{where.field}' out; 'drop' takes back what 'extends' or a call gives"
    if kind == "flow" and "://" in text:
        return "declare it: 'model NAME:' with 'from: LOCATION', and write its name here"
    if texts := mended(kind, text, shape.units if shape else ()):
        return "write " + alternatives(f"'{each}'" for each in texts[:3])
    return f"write {expected(shape)}" if shape and error.code != "MIX0152" else error.help


def typed(shape: Typed, atom: Atom, where: Where, names: Names) -> Any:
    """One scalar by its grammar and within its bounds."""
    if shape.kind == "text":
        return atom.scalar.text
    value = parsed(shape.kind, atom, where, names)
    if value is HOLE:
        return HOLE
    if shape.kind == "location":
        return names.location(atom)
    ends: tuple[Any, ...] = (value.low, value.high) if isinstance(value, Range) else (value,)
    if not all(_is_within(end, shape) for end in ends):
        message, help = f"{where} is {atom.scalar.text}", f"write a value {bounds(shape)}"
        names.reports.error("MIX0207", message, atom.scope.source, atom.span, help)
        return HOLE
    if isinstance(value, Amount) and value.value is not None and not _sensible(value.value, atom, where, names):
        return HOLE
    if isinstance(value, Amount) and isinstance(value.value, Quantity) and value.value.unit not in shape.units:
        return _wrong_unit(value.value, shape, atom, where, names)
    return value


def _is_within(value: Any, shape: Typed) -> bool:
    return (
        (shape.low is None or value >= shape.low)
        and (shape.high is None or value <= shape.high)
        and (shape.above is None or value > shape.above)
        and (shape.below is None or value < shape.below)
    )


def _wrong_unit(value: Quantity, shape: Typed | Measured, atom: Atom, where: Where, names: Names) -> Any:
    message = f"{where} can't be in {value.unit}"
    names.reports.error("MIX0206", message, atom.scope.source, atom.span, f"write {expected(shape)}")
    return HOLE


_MOST = 10**15
"""More than this of anything is a slip of the pen."""
_LEAST_PERIOD = Fraction(1, 1000)


def _sensible(value: Quantity | Fraction, atom: Atom, where: Where, names: Names) -> bool:
    """Whether there is some of it, and not beyond all measure; reports it where not."""
    if 0 < _size(value) <= _MOST:
        return True
    message = f"{where} is {atom.scalar.text}"
    help = "write more than 0" if isinstance(value, Fraction) else "write more than 0, and less than 1000T"
    names.reports.error("MIX0207", message, atom.scope.source, atom.span, help)
    return False


def measured(shape: Measured, atom: Atom, where: Where, names: Names) -> Any:
    """A quantity in one of the field's units."""
    value: Quantity | Any = parsed("quantity", atom, where, names, shape)
    if value is HOLE:
        return HOLE
    if value.unit not in shape.units:
        return _wrong_unit(value, shape, atom, where, names)
    return value if _sensible(value, atom, where, names) else HOLE


def one_of(shape: OneOf, atom: Atom, where: Where, names: Names) -> Any:
    """A word of the field's list, or a label."""
    text = atom.scalar.text
    if not shape.words:  # a label, of several words too: quotes make no difference
        is_line = text.strip() and "\n" not in text
        return text if is_line else parsed("word", atom, where, names)
    if text in shape.words:
        return text
    message = f"{where} can't be '{text}'"
    names.reports.error("MIX0208", message, atom.scope.source, atom.span, known_help(text, shape.words))
    return HOLE


def _size(value: Fraction | Quantity) -> Fraction:
    return value if isinstance(value, Fraction) else value.count


def moments(atom: Atom, where: Where, names: Names) -> Any:
    """The points of a `when`; none of them may come never, or without end."""
    points = parsed("when", atom, where, names)
    if points is HOLE:
        return HOLE
    for point in points:
        help = None
        if isinstance(point.value, Quantity) and point.value.unit not in LENGTHS:
            help = f"a point of a run is in {alternatives(LENGTHS)}"
        elif isinstance(point.value, Fraction) and point.value > 1:
            help = "a stage ends at 100%"
        elif point.every and point.value is None:
            help = f"write '{unparse((replace(point, every=False),))}', or a period: 'every 10%', 'every 500 steps'"
        elif point.every and _size(point.value) <= 0:
            help = "write a longer period"
        elif point.every and isinstance(point.value, Fraction) and point.value < _LEAST_PERIOD:
            help = "write 'every 0.1%' or more"
        if help is not None:
            message = f"{where} is '{unparse((point,))}', which never comes, or without end"
            names.reports.error("MIX0207", message, atom.scope.source, atom.span, help)
            return HOLE
    return points
