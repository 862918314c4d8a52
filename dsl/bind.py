"""From what is written to values: each field by its own rule, with every mistake reported and a hole in its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from itertools import chain
from typing import Any, Protocol

from dsl.arguments import applied
from dsl.declarations.base import Written
from dsl.declarations.shapes import (
    AnyOf,
    BuiltIn,
    Claimed,
    FlowOf,
    ListOf,
    MappingOf,
    Measured,
    Moments,
    OneKey,
    OneOf,
    Record,
    Reference,
    Shape,
    Typed,
)
from dsl.describe import described, expected, head, known_help
from dsl.hole import HOLE
from dsl.reports import Reports
from dsl.scalars import ScalarError, ScalarKind, parse_scalar
from dsl.source import Span
from dsl.terms import Applied, Atom, Cell, Items, Table, Term
from dsl.unparse import unparse
from dsl.values import Amount, Call, Name, Quantity, Range

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


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


def bind_fields(
    model: type[Written],
    cells: Mapping[str, Cell],
    owner: str,
    place: tuple[Term | Cell, Span],
    names: Names,
    *,
    inherited: Mapping[str, Cell] | None = None,
    is_whole: bool = True,
) -> dict[str, Any]:
    """The values of a class's fields by their Python names; `owner` says in words whose they are.

    A missing field is reported at `place`, unless what is `inherited` lacks it too: it has been reported there.
    One that a misspelt field seems to mean isn't missing, and where not all `is_whole`, any field may be there.
    """
    fields = model.by_written_name()
    values: dict[str, Any] = {}
    for written, cell in cells.items():
        report = names.reports.error
        if written not in fields:
            message = f"unknown field '{written}' in {owner}"
            report("MIX0203", message, cell.scope.source, cell.key.span, known_help(written, fields))
            for meant in get_close_matches(written, fields.keys() - cells.keys()):
                values[fields[meant].name] = HOLE
        elif cell.value is None:
            help = f"write {expected(fields[written].facts.shape)} after the colon, or leave the field out"
            report("MIX0204", f"'{written}' in {owner} has no value", cell.scope.source, cell.key.span, help)
            values[fields[written].name] = HOLE
        else:
            values[fields[written].name] = bind(
                fields[written].facts.shape, cell.value, Where(written, owner, is_whole), names
            )
    for written, one in fields.items():
        if not is_whole:
            values.setdefault(one.name, HOLE)
        elif one.is_required and one.name not in values:
            values[one.name] = HOLE
            if inherited is None or written in inherited:
                message = f"{owner} has no '{written}'"
                help = f"write '{written}: …', {expected(one.facts.shape)}"
                names.reports.error("MIX0204", message, place[0].scope.source, place[1], help, about=written)
    return values


def bind(shape: Shape, term: Term, where: Where, names: Names) -> Any:
    """The value of one field; a hole where what is written doesn't fit its shape, which is reported."""
    term = names.follow(term)
    match shape, term:
        case _ if term is HOLE:
            return HOLE
        case AnyOf(), _:
            return _any_of(shape, term, where, names)
        case Reference(), Atom() | Table() | Applied():
            return names.reference(term, shape, where)
        case FlowOf(), Atom() | Table() | Applied():
            return names.flow(term, shape, where)
        case BuiltIn(), Atom() | Table() | Applied():
            return _built_in(shape, term, where, names)
        case Claimed(), Atom():
            return names.claim(term, shape, where)
        case Typed(), Atom():
            return _typed(shape, term, where, names)
        case Measured(), Atom():
            return _measured(shape, term, where, names)
        case OneOf(), Atom():
            return _one_of(shape, term, where, names)
        case Moments(), Atom():
            return _moments(term, where, names)
        case Moments(), Items():
            points: list[Any] = [bind(shape, item, where, names) for item in term.items]
            return HOLE if any(one is HOLE for one in points) else tuple(chain.from_iterable(points))
        case ListOf(), Items():
            return _list_of(shape, term.items, where, names)
        case ListOf(or_one=True), _:
            return _list_of(shape, (term,), where, names)
        case MappingOf(), Table():
            return _mapping_of(shape, term, where, names)
        case OneKey(), Table() if len(term.cells) == 1:
            return _entries(shape.entry, shape.value, (), term, where, names)[0]
        case Record(), Table():
            owner = f"'{where.field}' of {where.owner}"
            place = term, head(term)
            values = bind_fields(shape.model, term.cells, owner, place, names, is_whole=where.is_whole)
            return _construct(shape.model, values)
        case _:
            return wrong_type(shape, term, where, names)


def wrong_type(shape: Shape, term: Term, where: Where, names: Names) -> Any:
    message = f"{where} takes {expected(shape)}, not {described(term)}"
    help = f"write {expected(shape)}"
    if isinstance(shape, ListOf) and isinstance(term, Atom):
        help = f"write a list: '- {term.scalar.text}' on a line of its own"
    names.reports.error("MIX0205", message, term.scope.source, head(term), help)
    return HOLE


def parsed(kind: ScalarKind, atom: Atom, where: Where, names: Names) -> Any:
    """A scalar by its grammar."""
    try:
        return parse_scalar(kind, atom.scalar)
    except ScalarError as error:
        message = f"{where}: {error.message}"
        names.reports.error(error.code, message, atom.scope.source, error.span, error.help)
        return HOLE


def as_call(term: Atom | Table | Applied, where: Where, names: Names) -> Applied | None:
    """A call, or the one-key mapping that is the same; None where it is neither, which is reported."""
    match term:
        case Applied():
            return term
        case Table() if len(term.cells) == 1:
            (cell,) = term.cells.values()
            value = None if cell.value is None else names.follow(cell.value)
            if isinstance(value, Table):
                return Applied(cell.key, value.cells, term.span, term.scope)
            positional = () if value is None else (value,)
            return Applied(cell.key, {}, term.span, term.scope, positional)
        case Table():
            message = f"{where} takes a call, as a mapping of one key"
            help = "write 'NAME: {FIELD: VALUE}', or NAME(FIELD=VALUE)"
            names.reports.error("MIX0205", message, term.scope.source, head(term), help)
            return None
        case Atom():
            is_name = _NAME.fullmatch(term.scalar.text)
            call = parsed("name" if is_name else "call", term, where, names)
            return None if call is HOLE else as_applied(call, term)


def as_applied(call: Name | Call, atom: Atom) -> Applied:
    """A call, or a bare name, with its arguments apart."""
    return applied(call if isinstance(call, Call) else Call(call, (), call.span), atom)


def arguments(model: type[Written], call: Applied, owner: str, names: Names) -> dict[str, Cell]:
    """A call's arguments by written name, those without a name given theirs."""
    cells = dict(call.cells)
    unnamed = [written for written, one in model.by_written_name().items() if one.facts.positional]
    for index, value in enumerate(call.positional):
        if index >= len(unnamed):
            fields = ", ".join(model.by_written_name())
            help = f"write 'FIELD=VALUE'; there are {fields}" if fields else f"write '{call.name.text}' alone"
            message = f"{owner} takes {len(unnamed) or 'no'} argument{'s' * (len(unnamed) != 1)} without a name"
            names.reports.error("MIX0221", message, value.scope.source, value.span, help)
        elif unnamed[index] in cells:
            message = f"'{unnamed[index]}' in {owner} is given twice"
            names.reports.error("MIX0221", message, value.scope.source, value.span, "leave one of them out")
        else:
            cells[unnamed[index]] = Cell(call.name, value, value.scope)
    return cells


def _construct(model: type[Written], values: Mapping[str, Any]) -> Any:
    """The value, unvalidated: the binder has checked every field by its shape."""
    return model.model_construct(**values)


def _built_in(shape: BuiltIn, term: Atom | Table | Applied, where: Where, names: Names) -> Any:
    call = as_call(term, where, names)
    if call is None:
        return HOLE
    model = shape.table.get(call.name.text)
    if model is None:
        message = f"unknown built-in '{call.name.text}' for {where}"
        names.reports.error(
            "MIX0209", message, call.scope.source, call.name.span, known_help(call.name.text, shape.table)
        )
        return HOLE
    owner = f"{call.name.text} of {where.owner}"
    cells = arguments(model, call, owner, names)
    place = call, call.name.span
    return _construct(model, bind_fields(model, cells, owner, place, names, is_whole=where.is_whole))


def _typed(shape: Typed, atom: Atom, where: Where, names: Names) -> Any:
    if shape.kind == "text":
        return atom.scalar.text
    if shape.kind == "location":
        return names.location(atom)
    value = parsed(shape.kind, atom, where, names)
    if value is HOLE:
        return HOLE
    ends: tuple[Any, ...] = (value.low, value.high) if isinstance(value, Range) else (value,)
    for end in ends:
        if (shape.low is not None and end < shape.low) or (shape.high is not None and end > shape.high):
            message = f"{where} is {atom.scalar.text}, outside {_bounds(shape)}"
            names.reports.error("MIX0207", message, atom.scope.source, atom.span, f"write a value {_bounds(shape)}")
            return HOLE
    if isinstance(value, Amount) and value.value is not None and not _sensible(value.value, atom, where, names):
        return HOLE
    return value


_MOST = 10**15
"""More than this of anything is a slip of the pen."""
_LEAST_PERIOD = Fraction(1, 1000)


def _sensible(value: Quantity | Fraction, atom: Atom, where: Where, names: Names) -> bool:
    """Whether there is some of it, and not beyond all measure; reports it where not."""
    if 0 < (value.count if isinstance(value, Quantity) else value) <= _MOST:
        return True
    message = f"{where} is {atom.scalar.text}"
    names.reports.error("MIX0207", message, atom.scope.source, atom.span, "write more than 0, and less than 1000T")
    return False


def _bounds(shape: Typed) -> str:
    low, high = (
        None if one is None else f"{one:.0%}" if shape.kind == "percent" else f"{one:g}"
        for one in (shape.low, shape.high)
    )
    return f"{low}..{high}" if low and high else f"from {low} up" if low else f"up to {high}"


def _measured(shape: Measured, atom: Atom, where: Where, names: Names) -> Any:
    value: Quantity | Any = parsed("quantity", atom, where, names)
    if value is HOLE:
        return HOLE
    if value.unit not in shape.units:
        message = f"{where} can't be in {value.unit}"
        help = f"write {expected(shape)}"
        names.reports.error("MIX0206", message, atom.scope.source, atom.span, help)
        return HOLE
    return value if _sensible(value, atom, where, names) else HOLE


def _one_of(shape: OneOf, atom: Atom, where: Where, names: Names) -> Any:
    text = atom.scalar.text
    if not shape.words:
        return parsed("word", atom, where, names) if atom.scalar.style == "plain" else text
    if text in shape.words:
        return text
    message = f"{where} can't be '{text}'"
    names.reports.error("MIX0208", message, atom.scope.source, atom.span, known_help(text, shape.words))
    return HOLE


def _moments(atom: Atom, where: Where, names: Names) -> Any:
    points = parsed("when", atom, where, names)
    if points is HOLE:
        return HOLE
    for point in points:
        help = None
        if isinstance(point.value, Fraction) and point.value > 1:
            help = "a stage ends at 100%"
        elif point.every and (point.value if isinstance(point.value, Fraction) else point.value.count) <= 0:
            help = "write a longer period"
        elif point.every and isinstance(point.value, Fraction) and point.value < _LEAST_PERIOD:
            help = "write 'every 0.1%' or more"
        if help is not None:
            message = f"{where} is {unparse((point,))}: it never comes, or without end"
            names.reports.error("MIX0207", message, atom.scope.source, atom.span, help)
            return HOLE
    return points


def _list_of(shape: ListOf, items: tuple[Term, ...], where: Where, names: Names) -> tuple[Any, ...]:
    values = [bind(shape.item, item, where, names) for item in items]
    if shape.entry is None:
        return tuple(values)
    first = next(iter(shape.entry.model_fields))
    return tuple(_construct(shape.entry, {first: value}) for value in values)


def _mapping_of(shape: MappingOf, table: Table, where: Where, names: Names) -> Any:
    if shape.entry is not None:
        return _entries(shape.entry, shape.value, shape.keys, table, where, names)
    return {key: _cell_value(shape.value, cell, where, names) for key, cell in table.cells.items()}


def _entries(
    entry: type[Written], value: Shape, keys: tuple[str, ...], table: Table, where: Where, names: Names
) -> tuple[Any, ...]:
    first, second = list(entry.model_fields)[:2]
    made: list[Any] = []
    for cell in table.cells.values():
        key: Any = cell.key.text
        if keys:
            atom = Atom(cell.key, cell.scope)
            key = parsed("name", atom, where, names)
            key = key if key is HOLE else names.reference(atom, Reference(keys), where)
        made.append(_construct(entry, {first: key, second: _cell_value(value, cell, where, names)}))
    return tuple(made)


def _cell_value(shape: Shape, cell: Cell, where: Where, names: Names) -> Any:
    where = Where(f"{where.field}.{cell.key.text}", where.owner, where.is_whole)
    if cell.value is not None:
        return bind(shape, cell.value, where, names)
    help = f"write {expected(shape)} after the colon"
    message = f"{where} has no value"
    names.reports.error("MIX0204", message, cell.scope.source, cell.key.span, help)
    return HOLE


def _any_of(shape: AnyOf, term: Term, where: Where, names: Names) -> Any:
    """By the first shape whose form fits; a scalar must also be one by that shape's grammar."""
    fitting = [one for one in shape.shapes if _has_form(one, term)]
    if isinstance(term, Atom) and len(fitting) > 1:
        fitting = [one for one in fitting if _is_readable(one, term)]
    return bind(fitting[0], term, where, names) if fitting else wrong_type(shape, term, where, names)


def _has_form(shape: Shape, term: Term) -> bool:
    match term:
        case Atom():
            return not isinstance(shape, MappingOf | OneKey | Record) and not (
                isinstance(shape, ListOf) and not shape.or_one
            )
        case Items():
            return isinstance(shape, ListOf | Moments)
        case Table():
            return isinstance(shape, MappingOf | OneKey | Record | BuiltIn)
        case Applied():
            return isinstance(shape, BuiltIn)


def _is_readable(shape: Shape, atom: Atom) -> bool:
    kind: ScalarKind
    match shape:
        case Measured():
            kind = "quantity"
        case Moments():
            kind = "when"
        case OneOf():
            kind = "word"
        case Typed():
            kind = shape.kind
        case _:
            return True
    try:
        parse_scalar(kind, atom.scalar)
    except ScalarError:
        return False
    return True
