"""What is written, together with the file that it is written in: the values of fields before they have a type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsl import tree
from dsl.source import Span

if TYPE_CHECKING:
    from dsl.scope import Scope


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """A scalar; calls and flows are atoms until a field asks for one."""

    scalar: tree.Scalar
    scope: Scope

    @property
    def span(self) -> Span:
        return self.scalar.span


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """A list."""

    items: tuple[Term, ...]
    span: Span
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One field: its key and where that stands; `value` is None where nothing follows the colon."""

    key: tree.Scalar
    value: Term | None
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A mapping; its cells may come from several files, once an `extends` is applied."""

    cells: Mapping[str, Cell]
    span: Span
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """A call with its arguments apart: `adamw(lr=1e-4)`, or the same as a one-key mapping."""

    name: tree.Scalar
    cells: Mapping[str, Cell]
    """By path as written, dots and all."""
    span: Span
    scope: Scope
    positional: tuple[Term, ...] = ()


Term = Atom | Items | Table | Applied
"""A term's `scope` is where its names and paths are looked up."""


def as_term(node: tree.Node, scope: Scope) -> Term:
    """A node of a file's tree as a term of that file."""
    match node:
        case tree.Scalar():
            return Atom(node, scope)
        case tree.Sequence():
            return Items(tuple(as_term(item, scope) for item in node.items), node.span, scope)
        case tree.Mapping():
            return Table(as_cells(node, scope), node.span, scope)


def as_cells(mapping: tree.Mapping, scope: Scope) -> dict[str, Cell]:
    """The entries of a mapping by key; a repeated key is the parser's to report, the first one counts."""
    cells: dict[str, Cell] = {}
    for entry in mapping.entries:
        value = None if entry.value is None else as_term(entry.value, scope)
        cells.setdefault(entry.key.text, Cell(entry.key, value, scope))
    return cells
