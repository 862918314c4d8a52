"""One declaration made from another: `extends: NAME`, and `NAME(field=value, dotted.path=value)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dsl.bind import arguments, as_call
from dsl.bind_scalar import Names, Where
from dsl.declarations.base import Written
from dsl.declarations.shapes import AnyOf, BuiltIn, MappingOf, Record, Shape
from dsl.describe import known_help
from dsl.hole import HOLE
from dsl.names import meaning
from dsl.source import Span
from dsl.terms import Applied, Atom, Cell, Items, Table, Term
from dsl.tree import Scalar

Cells = Mapping[str, Cell]


def extended(model: type[Written], old: Cells, new: Cells, names: Names) -> dict[str, Cell]:
    """The fields of `old` with those of `new`: written ones replace, a nested mapping merges by key."""
    fields = model.by_written_name()
    return _merged(old, new, lambda key: fields[key].facts.shape if key in fields else None, names)


def orphaned(own: Cells) -> tuple[dict[str, Cell], set[str]]:
    """The fields of a declaration that couldn't be extended, without what it drops; and those of them that would have
    been merged with what isn't there."""
    cells = {key: cell for key, cell in own.items() if not _is_drop(cell)}
    for key, cell in cells.items():
        if isinstance(cell.value, Table):
            kept = {name: one for name, one in cell.value.cells.items() if not _is_drop(one)}
            cells[key] = Cell(cell.key, Table(kept, cell.value.span, cell.value.scope), cell.scope)
    return cells, {key for key, cell in cells.items() if isinstance(cell.value, Table)}


def replaced(model: type[Written], old: Cells, call: Applied, owner: str, names: Names) -> dict[str, Cell]:
    """The fields of `old` with a call's arguments in their place; a dotted path reaches inside a field."""
    cells = dict(old)
    given = arguments(model, call, owner, names)
    for path, argument in given.items():
        if outer := next((one for one in given if path.startswith(f"{one}.")), None):
            message = f"'{outer}' and '{path}' in {owner} both say what '{path}' is"
            help = f"leave '{path}' out, and write its value in '{outer}'"
            names.reports.error("MIX0221", message, argument.scope.source, argument.key.span, help)
            continue
        _put(model, cells, path.split("."), argument, Where(path, owner), names)
    return cells


def _merged(
    old: Cells, new: Cells, shape_of: Callable[[str], Shape | None], names: Names, *, are_names: bool = False
) -> dict[str, Cell]:
    """The cells of `old` with those of `new`. Keys that `are_names` are the same if they mean the same declaration."""
    cells = dict(old)
    for written, cell in new.items():
        key = _same_key(written, cell, cells) if are_names else written
        if _is_drop(cell):
            if cells.pop(key, None) is None:
                message, help = f"there is no '{written}' to drop", known_help(written, cells)
                names.reports.error("MIX0218", message, cell.scope.source, cell.key.span, help)
            continue
        value = names.follow(cell.value) if cell.value else None
        if value is HOLE:
            cells[key] = cell
            continue
        shape = shape_of(key)
        inner = _inside(shape) if shape else None
        if isinstance(value, Table) and inner:
            before = cells[key].value if key in cells else None
            before = names.follow(before) if before else None
            kept: Cells = before.cells if before is not HOLE and isinstance(before, Table) else {}
            merged = _merged(kept, value.cells, inner, names, are_names=_has_names(shape))
            cell = Cell(cell.key, Table(merged, value.span, value.scope), cell.scope)
        cells[key] = cell
    return cells


def _inside(shape: Shape) -> Callable[[str], Shape | None] | None:
    """The shapes of what a mapping holds, by key; None where the shape isn't one that merges."""
    match shape:
        case MappingOf(value):
            return lambda _: value
        case Record(model):
            fields = model.by_written_name()
            return lambda key: fields[key].facts.shape if key in fields else None
        case AnyOf(shapes):
            return next((inner for one in shapes if (inner := _inside(one))), None)
        case _:
            return None


def _is_drop(cell: Cell) -> bool:
    return isinstance(cell.value, Atom) and cell.value.scalar.text == "drop" and cell.value.scalar.style == "plain"


def _has_names(shape: Shape | None) -> bool:
    """Whether the keys of a mapping are names of declarations."""
    match shape:
        case MappingOf(keys=keys):
            return bool(keys)
        case AnyOf(shapes):
            return any(_has_names(one) for one in shapes)
        case _:
            return False


def _same_key(written: str, cell: Cell, cells: Cells) -> str:
    """The key of `cells` that means what `written` means in its own file."""
    meant = meaning(written, cell.scope)
    return next((key for key, one in cells.items() if meaning(one.key.text, one.scope) == meant), written)


def _put(
    model: type[Written], cells: dict[str, Cell], path: list[str], argument: Cell, where: Where, names: Names
) -> None:
    """Replace what stands at a path, in place."""
    name, *rest = path
    field = model.by_written_name().get(name)
    key = argument.key
    if not rest and _is_drop(argument):
        if cells.pop(name, None) is None:
            message = f"{where.owner} has no '{name}' to drop"
            help = known_help(name, cells)
            help = help if help.startswith("did") else f"leave '{name}=drop' out"
            names.reports.error("MIX0218", message, argument.scope.source, argument.key.span, help)
        return
    if not rest or field is None:
        cells[name] = Cell(_first_part(key, path), argument.value, argument.scope)
        return
    before = cells[name].value if name in cells else None
    value = _reached(field.facts.shape, names.follow(before) if before else None, rest, argument, where, names)
    if value is not None:
        cells[name] = Cell(_first_part(key, path), value, argument.scope)


def _reached(
    shape: Shape, before: Term | None, path: list[str], argument: Cell, where: Where, names: Names
) -> Term | None:
    """The value of a field with what stands at a path in it replaced; None where that can't be, which is reported."""
    if before is HOLE:
        return None
    match shape, before:
        case BuiltIn(table), Atom() | Table() | Applied():
            call = as_call(before, where, names)
            model = table.get(call.name.text) if call else None
            if call is None or model is None:
                return None  # the field itself is wrong, and is reported where it is bound
            inner = arguments(model, call, call.name.text, names)
            _put(model, inner, path, argument, where, names)
            return Applied(call.name, inner, call.span, call.scope)
        case Record(model), Table() | None:
            inner = dict(before.cells) if before else {}
            _put(model, inner, path, argument, where, names)
            return Table(inner, before.span if before else argument.key.span, argument.scope)
        case MappingOf(value), Table() | None:
            cells = dict(before.cells) if before else {}
            is_deep = _inside(value) is not None or isinstance(value, BuiltIn)
            name, rest = (path[0], path[1:]) if is_deep else (".".join(path), [])
            new = argument.value
            if rest:
                old = cells[name].value if name in cells else None
                new = _reached(value, names.follow(old) if old else None, rest, argument, where, names)
            if new is not None:
                cells[name] = Cell(_last_part(argument.key, name), new, argument.scope)
            return Table(cells, before.span if before else argument.key.span, argument.scope)
        case AnyOf(shapes), _:
            fitting = [one for one in shapes if isinstance(one, BuiltIn | Record | MappingOf)]
            if fitting and not isinstance(before, Items):
                return _reached(fitting[0], before, path, argument, where, names)
        case _:
            pass
    message = f"{where} reaches into nothing"
    reason = "it has none here" if before is None else "its value has no fields"
    help = f"replace the whole of '{where.field.split('.')[0]}': {reason}"
    names.reports.error("MIX0222", message, argument.scope.source, argument.key.span, help)
    return None


def _first_part(key: Scalar, path: list[str]) -> Scalar:
    """The first of the parts that `path` leaves of a dotted key, as a key of its own."""
    start = key.span.start + len(key.text) - len(".".join(path))
    return Scalar(path[0], "plain", Span(start, start + len(path[0])))


def _last_part(key: Scalar, name: str) -> Scalar:
    """The end of a dotted path as a key of its own."""
    return Scalar(name, "plain", Span(max(key.span.start, key.span.end - len(name)), key.span.end))
