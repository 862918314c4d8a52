"""Which shape each scalar of a tree is written by, as far as the kinds and keys around it tell."""

from __future__ import annotations

from collections.abc import Iterator

from dsl.declarations import KINDS
from dsl.declarations.base import Written
from dsl.declarations.shapes import (
    AnyOf,
    BuiltIn,
    FlowOf,
    ListOf,
    MappingOf,
    Moments,
    OneKey,
    Record,
    Reference,
    Shape,
)
from dsl.tree import Entry, Mapping, Node, Scalar, Sequence

Models = tuple[type[Written], ...]
_STAGES = {"model": "train", "source": "augment", "train": "train"}
"""What a flow of each kind passes through."""


def typed_scalars(root: Mapping) -> Iterator[tuple[Scalar, Shape]]:
    """The scalars of a file whose fields are known; constants and unknown fields have none."""
    for entry in root.entries:
        kind, blank, _ = entry.key.text.partition(" ")
        if blank and kind in KINDS and isinstance(entry.value, Mapping):
            yield from _inside(Record(KINDS[kind]), entry.value)


def shape_at(models: Models, path: str) -> Shape | None:
    """The shape of a field by its path, of the first class that has it."""
    name, _, rest = path.partition(".")
    for model in models:
        if (field := model.by_written_name().get(name)) is not None:
            return _deeper(field.facts.shape, rest) if rest else field.facts.shape
    return None


def positional_shape(models: Models, index: int) -> Shape | None:
    """The shape of the argument without a name at `index`."""
    for model in models:
        shapes = [field.facts.shape for field in model.by_written_name().values() if field.facts.positional]
        if index < len(shapes):
            return shapes[index]
    return None


def called(shape: Shape, name: str, index: int = 0) -> Models:
    """The classes whose fields a call of `name` takes, the call being item `index` of a flow."""
    match shape:
        case BuiltIn(table):
            return (table[name],) if name in table else ()
        case Reference(kinds):
            return tuple(KINDS[kind] for kind in kinds)
        case FlowOf(kind):
            return (KINDS[_STAGES[kind] if index else kind],)
        case ListOf(item, or_one=True):
            return called(item, name, index)
        case _:
            return ()


def item_shape(shape: Shape) -> Shape | None:
    """The shape of a list's items."""
    match shape:
        case ListOf(item):
            return item
        case Moments():
            return shape
        case AnyOf(shapes):
            return next((item for one in shapes if (item := item_shape(one))), None)
        case _:
            return None


def entry_shapes(shape: Shape, mapping: Mapping) -> Iterator[tuple[Entry, Shape]]:
    """The entries of a mapping whose shapes are known."""
    match shape:
        case Record(model):
            yield from _fields((model,), mapping)
        case MappingOf(value) | OneKey(value):
            yield from ((entry, value) for entry in mapping.entries)
        case ListOf(item, or_one=True):
            yield from entry_shapes(item, mapping)
        case AnyOf(shapes):
            fitting = [one for one in shapes if isinstance(one, Record | MappingOf | OneKey | BuiltIn)]
            for one in fitting[:1]:
                yield from entry_shapes(one, mapping)
        case BuiltIn() | Reference() | FlowOf() if len(mapping.entries) == 1:
            (entry,) = mapping.entries
            models = called(shape, entry.key.text)
            if isinstance(entry.value, Mapping):
                yield from _fields(models, entry.value)
            elif positional := positional_shape(models, 0):
                yield entry, positional
        case _:
            pass


def _inside(shape: Shape, node: Node | None) -> Iterator[tuple[Scalar, Shape]]:
    match node:
        case Scalar():
            yield node, shape
        case Sequence(items):
            if item := item_shape(shape):
                for each in items:
                    yield from _inside(item, each)
        case Mapping():
            for entry, value in entry_shapes(shape, node):
                yield from _inside(value, entry.value)
        case None:
            pass


def _fields(models: Models, mapping: Mapping) -> Iterator[tuple[Entry, Shape]]:
    for entry in mapping.entries:
        if shape := shape_at(models, entry.key.text):
            yield entry, shape


def _deeper(shape: Shape, rest: str) -> Shape | None:
    match shape:
        case BuiltIn(table):
            return shape_at(tuple(table.values()), rest)
        case Record(model):
            return shape_at((model,), rest)
        case MappingOf(value):
            return value
        case AnyOf(shapes):
            return next((found for one in shapes if (found := _deeper(one, rest))), None)
        case _:
            return None
