"""Where each field of a declaration is written, and each field and item inside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from dsl.arguments import applied
from dsl.declarations.base import Place, Written
from dsl.declarations.shapes import BuiltIn, ListOf, Shape
from dsl.describe import head
from dsl.scalars import ScalarError, parse_scalar
from dsl.terms import Applied, Atom, Cell, Items, Table, Term

Origin = Literal["call", "own", "inherited"]
NEAREST: tuple[Origin, ...] = ("call", "own", "inherited")
"""From what was written last to what was written first."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant that gives a value: its name, where `$NAME` stands, and where the value does."""

    name: str
    use: Place
    value: Place


class Places(Mapping[str, Place]):
    """By path as written: `optimizer`, `optimizer.lr`, `apply[0]`.

    Most are never asked for: calls are taken apart only when something inside them is. `origins` tells of each field
    whether a call gives it, the declaration says it itself, or takes it over.
    """

    def __init__(self, kind: type[Written], cells: Mapping[str, Cell], origins: Mapping[str, Origin]) -> None:
        self._kind = kind
        self._cells = cells
        self._origins = origins

    def __getitem__(self, path: str) -> Place:
        cell = self._cells.get(path)
        if cell is not None and cell.value is not None:
            return _place_of(cell.value, _beside(cell))
        return self._all[0][path]

    def __contains__(self, path: object) -> bool:
        cell = self._cells.get(path) if isinstance(path, str) else None
        if cell is not None:
            return cell.value is not None
        return isinstance(path, str) and ("." in path or "[" in path) and path in self._all[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all[0])

    def __len__(self) -> int:
        return len(self._all[0])

    def key(self, path: str) -> Place | None:
        """Where the key of a field or entry stands; None where it has none of its own, or isn't written."""
        return self._all[1].get(path)

    def origin(self, path: str) -> Origin:
        """Where a field comes from; for a path inside a field, where that comes from."""
        return self._origins[_FIELD.split(path, maxsplit=1)[0]]

    def constant(self, path: str) -> Constant | None:
        """The constant that gives a field, or the value that it lies inside; None where none does."""
        return self._constants.get(path)

    @cached_property
    def _constants(self) -> dict[str, Constant]:
        fields = self._kind.by_written_name()
        found: dict[str, Constant] = {}
        for key, cell in self._cells.items():
            if cell.value is not None:
                shape = fields[key].facts.shape if key in fields else None
                found |= _constants_of(shape, cell.value, key, None)
        return found

    @cached_property
    def _all(self) -> tuple[dict[str, Place], dict[str, Place]]:
        """The places of values, and those of keys."""
        keys: dict[str, Place] = {}
        return _of_cells(_opened_fields(self._kind, self._cells), "", keys), keys


_FIELD = re.compile(r"[.\[]")


def _opened_fields(kind: type[Written], cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """The fields with the arguments of built-ins apart, so that each has its place."""
    fields = kind.by_written_name()
    return {
        key: Cell(cell.key, _opened(fields[key].facts.shape, cell.value), cell.scope)
        if cell.value is not None and key in fields
        else cell
        for key, cell in cells.items()
    }


def _opened(shape: Shape, term: Term) -> Term:
    match shape, term:
        case BuiltIn(), Atom(scalar) if "(" in scalar.text:
            try:
                return applied(parse_scalar("call", scalar), term)
            except ScalarError:
                return term
        case BuiltIn(), Table(cells) if len(cells) == 1:
            (cell,) = cells.values()
            if isinstance(cell.value, Table):
                return Applied(cell.key, cell.value.cells, cell.key.span, term.scope)
            positional = () if cell.value is None else (cell.value,)
            return Applied(cell.key, {}, cell.key.span, term.scope, positional)
        case ListOf(item), Items(items):
            return Items(tuple(_opened(item, each) for each in items), term.span, term.scope)
        case _:
            return term


def _constants_of(shape: Shape | None, term: Term, path: str, around: Constant | None) -> dict[str, Constant]:
    """By path, the constant that gives it; of constants inside each other, the innermost."""
    name, value = _followed(term)
    if name is not None:
        around = Constant(name, _place_of(term, None), _place_of(value, None))
    elif around is not None:
        around = Constant(around.name, around.use, _place_of(value, None))
    found = {} if around is None else {path: around}
    opened = value if shape is None else _opened(shape, value)
    match opened:
        case Table(cells) | Applied(cells=cells):
            for key, cell in cells.items():
                if cell.value is not None:
                    found |= _constants_of(None, cell.value, f"{path}.{key}", around)
            if isinstance(opened, Applied):
                for name, argument in zip(_unnamed(shape, opened), opened.positional, strict=False):
                    found |= _constants_of(None, argument, f"{path}.{name}", around)
        case Items(items):
            item_shape = shape.item if isinstance(shape, ListOf) else None
            for index, item in enumerate(items):
                found |= _constants_of(item_shape, item, f"{path}[{index}]", around)
        case Atom():
            pass
    return found


def _unnamed(shape: Shape | None, call: Applied) -> list[str]:
    """The fields of a built-in that a call may give without their names."""
    model = shape.table.get(call.name.text) if isinstance(shape, BuiltIn) else None
    return [] if model is None else [name for name, one in model.by_written_name().items() if one.facts.positional]


def _followed(term: Term) -> tuple[str | None, Term]:
    """The constant that a term names and what it stands for in the end; without one, None and the term."""
    first: str | None = None
    seen: set[Cell] = set()
    while isinstance(term, Atom) and term.scalar.style == "plain" and term.scalar.text.startswith("$"):
        name = term.scalar.text[1:]
        cell = term.scope.constants.get(name)
        if cell is None or cell.value is None or cell in seen:
            break
        seen.add(cell)
        first, term = first or name, cell.value
    return first, term


def _of_cells(cells: Mapping[str, Cell], prefix: str, keys: dict[str, Place]) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for key, cell in cells.items():
        if cell.value is not None:
            keys[prefix + key] = Place(cell.scope.source, cell.key.span)
            found |= _of_term(cell.value, prefix + key, _beside(cell), keys)
    return found


def _of_term(term: Term, path: str, place: Place | None, keys: dict[str, Place]) -> dict[str, Place]:
    found = {path: _place_of(term, place)}
    match term:
        case Table(cells) | Applied(cells=cells):
            found |= _of_cells(cells, f"{path}.", keys)
        case Items(items):
            for index, item in enumerate(items):
                found |= _of_term(item, f"{path}[{index}]", None, keys)
        case Atom():
            pass
    return found


def _beside(cell: Cell) -> Place | None:
    """The place of a list or mapping is that of its key."""
    return None if isinstance(cell.value, Atom | Applied) else Place(cell.scope.source, cell.key.span)


def _place_of(term: Term, place: Place | None) -> Place:
    return place or Place(term.scope.source, head(term) if isinstance(term, Table | Items) else term.span)
