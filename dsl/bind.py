"""From what is written to values: each field by its own rule, with every mistake reported and a hole in its place."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from difflib import get_close_matches
from itertools import chain
from typing import Any

from dsl.arguments import applied
from dsl.bind_scalar import NO_VALUE, Names, Where, measured, moments, one_of, parsed, typed
from dsl.declarations.base import Written
from dsl.declarations.installed import WithPlugIns, mistake, offers
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
from dsl.describe import (
    alternatives,
    described,
    expected,
    fields_with,
    head,
    inner_help,
    known_help,
    unknown_field_help,
)
from dsl.diagnostics.suggest import nearest
from dsl.hole import HOLE
from dsl.names import meaning
from dsl.scalars import ScalarError, ScalarKind, parse_scalar
from dsl.source import Span
from dsl.terms import Applied, Atom, Cell, Items, Table, Term
from dsl.values import Call, Name

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def bind_fields(
    model: type[Written],
    cells: Mapping[str, Cell],
    owner: str,
    place: tuple[Term | Cell, Span],
    names: Names,
    *,
    inherited: Mapping[str, Cell] | None = None,
    is_whole: bool = True,
    hidden: Container[str] = (),
) -> dict[str, Any]:
    """The values of a class's fields by their Python names; `owner` says in words whose they are.

    A missing field is reported at `place`, unless what is `inherited` lacks it too: it has been reported there.
    One that a misspelt field seems to mean isn't missing, and where not all `is_whole`, any field may be there.
    Those that are `hidden` were read in part: what they hold is bound, but no one may count on it.
    """
    fields = model.by_written_name()
    values: dict[str, Any] = {}
    for written, cell in cells.items():
        report = names.reports.error
        if written not in fields:
            message, is_call = f"unknown field '{written}' in {owner}", isinstance(place[0], Applied)
            help = unknown_field_help(written, model, is_call=is_call)
            report("MIX0203", message, cell.scope.source, cell.key.span, help)
            absent = fields.keys() - cells.keys()
            for meant in (*get_close_matches(written, absent), *(absent & fields_with(written, model))):
                values[fields[meant].name] = HOLE
            # It may be any of those that are missing, or what would have brought them.
            is_whole = is_whole and not is_call and not get_close_matches(written, ["extends"])
        elif cell.value is None and written in hidden:
            values[fields[written].name] = HOLE
        elif cell.value is None:
            help = f"write {expected(fields[written].facts.shape)} after the colon, or leave the field out"
            report("MIX0204", f"'{written}' in {owner} has no value", cell.scope.source, cell.key.span, help)
            values[fields[written].name] = HOLE
        else:
            values[fields[written].name] = bind(
                fields[written].facts.shape, cell.value, Where(written, owner, is_whole), names
            )
    for written, one in fields.items():
        if written in hidden:
            values[one.name] = HOLE
        elif not is_whole:
            values.setdefault(one.name, HOLE)
        elif one.is_required and one.name not in values:
            values[one.name] = HOLE
            if inherited is None or written in inherited:
                message = f"{owner} has no '{written}'"
                mark = "=" if isinstance(place[0], Applied) else ": "
                help = f"write '{written}{mark}…', {expected(one.facts.shape)}"
                if one.facts.positional and isinstance(place[0], Applied):
                    help = f"write '{place[0].name.text}({written.upper()})'"
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
            return typed(shape, term, where, names)
        case Measured(), Atom():
            return measured(shape, term, where, names)
        case OneOf(), Atom():
            return one_of(shape, term, where, names)
        case Moments(), Atom():
            return moments(term, where, names)
        case Moments(), Items():
            points: list[Any] = [bind(shape, item, where, names) for item in term.items]
            return HOLE if any(one is HOLE for one in points) else tuple(chain.from_iterable(points))
        case ListOf(), Items():
            return _list_of(shape, term.items, term, where, names)
        case ListOf(or_one=True), _:
            return _list_of(shape, (term,), term, where, names)
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
    lists = [one for one in (shape.shapes if isinstance(shape, AnyOf) else (shape,)) if isinstance(one, ListOf)]
    if lists and isinstance(term, Atom):
        text = term.scalar.text
        items = re.split(r" *, *| and ", text)
        if "(" in text:
            help = f"write a list: '- {text}' on a line of its own"
        elif not any(" " in item for item in items):
            help = f"write a list: '[{', '.join(items)}]'"
    if isinstance(term, Atom) and term.scalar.text in NO_VALUE:
        message = f"{where} can't be '{term.scalar.text}'"
        help = f"leave '{where.field}' out; 'drop' takes back what 'extends' or a call gives"
    names.reports.error("MIX0205", message, term.scope.source, head(term), help)
    return HOLE


def as_call(term: Atom | Table | Applied, where: Where, names: Names) -> Applied | None:
    """A call, or the one-key mapping that is the same; None where it is neither, which is reported."""
    match term:
        case Applied():
            return term
        case Table() if len(term.cells) == 1:
            (cell,) = term.cells.values()
            value = None if cell.value is None else names.follow(cell.value)
            if value is HOLE:
                return None
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
            help = _name_for(value, model) or ("leave it out" if unnamed else f"write '{call.name.text}' alone")
            message = f"{owner} takes {len(unnamed) or 'no'} argument{'s' * (len(unnamed) != 1)} without a name"
            names.reports.error("MIX0221", message, value.scope.source, value.span, help)
        elif unnamed[index] in cells:
            message = f"'{unnamed[index]}' in {owner} is given twice"
            names.reports.error("MIX0221", message, value.scope.source, value.span, "leave one of them out")
        else:
            cells[unnamed[index]] = Cell(call.name, value, value.scope)
    return cells


def _name_for(value: Term, model: type[Written]) -> str | None:
    """What to write for an argument that lacks its name."""
    fields = model.by_written_name()
    if isinstance(value, Atom) and _NAME.fullmatch(value.scalar.text):
        meant = meaning(value.scalar.text, value.scope)
        kinds = {name: one.facts.shape.kinds for name, one in fields.items() if isinstance(one.facts.shape, Reference)}
        named = [name for name in kinds if isinstance(meant, str) or meant.kind in kinds[name]]
        if named:
            return "write " + alternatives(f"'{name}={value.scalar.text}'" for name in named)
    others = [name for name, one in fields.items() if not one.facts.positional]
    return f"write 'FIELD=VALUE', with {alternatives(others)}" if others else None


def _construct(model: type[Written], values: Mapping[str, Any]) -> Any:
    """The value, unvalidated: the binder has checked every field by its shape."""
    return model.model_construct(**values)


def _built_in(shape: BuiltIn, term: Atom | Table | Applied, where: Where, names: Names) -> Any:
    call = as_call(term, where, names)
    if call is None:
        return HOLE
    model = shape.table.get(call.name.text)
    if model is None:
        _unknown_built_in(shape, call, where, names)
        return HOLE
    owner = f"{call.name.text} of {where.owner}"
    cells = arguments(model, call, owner, names)
    place = call, call.name.span
    is_whole = where.is_whole and not _has_strays(call, model)
    return _construct(model, bind_fields(model, cells, owner, place, names, is_whole=is_whole))


def _unknown_built_in(shape: BuiltIn, call: Applied, where: Where, names: Names) -> None:
    word, source, span = call.name.text, call.scope.source, call.name.span
    has_plug_ins = isinstance(shape.table, WithPlugIns)
    if has_plug_ins and (wrong := mistake(word)) is not None:
        names.reports.error("MIX0225", wrong.message, source, span, wrong.help)
        return
    help = inner_help(word, shape) or known_help(word, shape.table)
    if has_plug_ins:
        near = nearest(word, [*shape.table, *offers()])
        help = f"did you mean '{near}'? If not, install" if near else f"{help}; for another, install"
        help += " the package that has it"
    names.reports.error("MIX0209", f"unknown built-in '{word}' for {where}", source, span, help)


def _has_strays(call: Applied, model: type[Written]) -> bool:
    """Whether a call has arguments without a name that have no place: they may be any of those that are missing."""
    return len(call.positional) > sum(one.facts.positional for one in model.by_written_name().values())


def _list_of(shape: ListOf, items: tuple[Term, ...], term: Term, where: Where, names: Names) -> Any:
    values = [bind(shape.item, item, where, names) for item in items]
    if shape.lists_things and not items:
        message, help = f"{where} lists nothing", f"write {expected(shape.item)}, or leave the field out"
        names.reports.error("MIX0205", message, term.scope.source, term.span, help)
        return HOLE
    if isinstance(shape.item, OneOf) or (isinstance(shape.item, Typed) and shape.item.kind in ("text", "location")):
        _all_differ(items, where, names)
    if shape.entry is None:
        return tuple(values)
    first = next(iter(shape.entry.model_fields))
    return tuple(_construct(shape.entry, {first: value}) for value in values)


def _all_differ(items: tuple[Term, ...], where: Where, names: Names) -> None:
    """Report what is written twice."""
    written: set[str] = set()
    for item in items:
        if isinstance(item, Atom) and item.scalar.text in written:
            message = f"{item.scalar.text} stands twice in {where}"
            names.reports.error("MIX0327", message, item.scope.source, item.span, "leave one of them out")
        elif isinstance(item, Atom):
            written.add(item.scalar.text)


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
    if isinstance(term, Items) and any(isinstance(one, MappingOf) for one in shape.shapes):
        for item in term.items:
            if isinstance(item, Table) and not all(isinstance(cell.value, Table) for cell in item.cells.values()):
                message = f"{where} takes a mapping, not a list of mappings"
                help = "leave out the dashes: 'KEY: VALUE' on each line"
                names.reports.error("MIX0205", message, item.scope.source, head(item), help)
                return HOLE
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
