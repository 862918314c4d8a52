"""Where a place of a file is: in which declaration, at which field, and what may stand there."""

from __future__ import annotations

import collections.abc
from bisect import bisect_left
from dataclasses import dataclass

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
from dsl.editor.expects import (
    BuiltInNames,
    ConstantNames,
    Expects,
    FieldNames,
    ImportFile,
    ImportNames,
    LabelNames,
    TopLevel,
)
from dsl.editor.inside import field_shape, in_text
from dsl.editor.lookup import kind_of
from dsl.scope import Definition, Scope
from dsl.tree import Document, Entry, Mapping, Node, Scalar, Sequence

ANY_NAME = Reference(tuple(KINDS))
"""What a constant may stand for as far as names go."""


@dataclass(frozen=True, slots=True)
class Spot:
    """`path` is that of the field as `mixc show --resolved` prints it (`optimizer.lr`, `apply[0]`).

    It is None where the place isn't part of the declaration itself, as in the call of another. `scalar` is the one that
    the place is in.
    """

    expects: tuple[Expects, ...]
    definition: Definition | None = None
    path: str | None = None
    scalar: Scalar | None = None


def spot_at(document: Document, offset: int, scope: Scope) -> Spot | None:
    """What a word that ends at `offset` is; None in a comment, a text and wherever there is nothing to say."""
    given = frozenset(entry.key.text for entry in document.root.entries)
    for entry in document.root.entries:
        if _holds(entry.key, offset):
            name = entry.key.text.partition(" ")[2].strip()
            return Spot((TopLevel(given),), scope.definitions.get(name), "", entry.key)
        if entry.value is not None and _holds(entry.value, offset):
            return _in_top_level(entry, entry.value, offset, scope)
    return None


def _in_top_level(entry: Entry, value: Node, offset: int, scope: Scope) -> Spot | None:
    word, _, name = entry.key.text.partition(" ")
    match word, value:
        case "import", Mapping():
            return _in_imports(value, offset, scope)
        case "let", Mapping():
            return _in_constants(value, offset, scope, scope, is_declaration=True)
        case _, Mapping() if word in KINDS:
            definition = scope.definitions.get(name.strip())
            return _Walk(offset, scope, definition).fields(value, KINDS[word], "", kind=word)
        case _:
            return None


def _in_imports(mapping: Mapping, offset: int, scope: Scope) -> Spot | None:
    for entry in mapping.entries:
        if _holds(entry.key, offset):
            return Spot((ImportNames(True, _others(mapping, entry)),), scalar=entry.key)
        match entry.value:
            case Scalar() as file if _holds(file, offset):
                return Spot((ImportFile(),), scalar=file)
            case Mapping() as inner if _holds(inner, offset):
                imported = scope.imports.get(entry.key.text)
                return _in_import(inner, offset, scope, imported.scope if imported else None)
            case _:
                pass
    return None


def _in_import(mapping: Mapping, offset: int, scope: Scope, imported: Scope | None) -> Spot | None:
    for entry in mapping.entries:
        if _holds(entry.key, offset):
            return Spot((ImportNames(False, _others(mapping, entry)),), scalar=entry.key)
        if entry.value is None or not _holds(entry.value, offset):
            continue
        if entry.key.text == "file" and isinstance(entry.value, Scalar):
            return Spot((ImportFile(),), scalar=entry.value)
        if isinstance(entry.value, Mapping) and imported is not None:
            return _in_constants(entry.value, offset, scope, imported, is_declaration=False)
    return None


def _in_constants(
    mapping: Mapping, offset: int, scope: Scope, declaring: Scope, *, is_declaration: bool
) -> Spot | None:
    for entry in mapping.entries:
        if _holds(entry.key, offset):
            return Spot((ConstantNames(declaring, _others(mapping, entry), is_declaration),), scalar=entry.key)
        if entry.value is not None and _holds(entry.value, offset):
            return _Walk(offset, scope, None).node(entry.value, ANY_NAME, None)
    return None


@dataclass(frozen=True, slots=True)
class _Walk:
    """The way down from a declaration to a place, by tree and shapes together."""

    offset: int
    scope: Scope
    definition: Definition | None

    def found(self, scalar: Scalar | None, path: str | None, *expects: Expects) -> Spot | None:
        return Spot(expects, self.definition, path, scalar) if expects else None

    def fields(
        self,
        mapping: Mapping,
        model: type[Written],
        path: str | None,
        *,
        kind: str | None = None,
        reaches: bool = False,
    ) -> Spot | None:
        """Inside a mapping whose keys are fields of `model`."""
        fields = model.by_written_name()
        for entry in mapping.entries:
            inner = None if path is None else f"{path}.{entry.key.text}" if path else entry.key.text
            if _holds(entry.key, self.offset):
                return self.found(
                    entry.key, inner, FieldNames(model, _others(mapping, entry), "mapping", kind, reaches)
                )
            if entry.value is None or not _holds(entry.value, self.offset):
                continue
            if entry.key.text == "extends" and kind:
                return self.node(entry.value, Reference((kind,)), inner)
            shape = field_shape(model, entry.key.text) if reaches else None
            if entry.key.text in fields:
                shape = fields[entry.key.text].facts.shape
            return self.node(entry.value, shape, inner) if shape else None
        return None

    def node(self, node: Node, shape: Shape, path: str | None) -> Spot | None:
        """Inside the value of a field."""
        match node, shape:
            case Scalar(), _:
                return self.scalar(node, shape, path)
            case _, AnyOf(shapes):
                found = [spot for one in shapes if (spot := self.node(node, one, path)) is not None]
                expects = tuple(each for spot in found for each in spot.expects)
                return self.found(found[0].scalar, found[0].path, *expects) if found else None
            case Sequence(items), ListOf(item):
                return self.items(items, item, path)
            case Sequence(items), Moments():
                return self.items(items, shape, path)
            case Mapping(), Record(model):
                return self.fields(node, model, path)
            case Mapping(), BuiltIn(table):
                return self.call(node, table, path)
            case Mapping(), MappingOf(value, keys):
                return self.labels(node, value, keys, path)
            case Mapping(), OneKey(value):
                return self.labels(node, value, (), path)
            case Mapping(), Reference(kinds):
                return self.named_call(node, kinds)
            case Mapping(), FlowOf(kind):
                return self.named_call(node, ("train",) if kind == "train" else (kind,))
            case _:
                return None

    def scalar(self, scalar: Scalar, shape: Shape, path: str | None) -> Spot | None:
        if scalar.style in ("literal", "folded"):
            return None
        text = scalar.text[: _index(scalar, self.offset)]
        expects = in_text(shape, text, self.scope, is_plain=scalar.style == "plain")
        inside = expects.path if path is not None else None
        return self.found(scalar, None if inside is None else f"{path}{inside}", *expects.found)

    def items(self, items: tuple[Node, ...], shape: Shape, path: str | None) -> Spot | None:
        for index, item in enumerate(items):
            if _holds(item, self.offset):
                return self.node(item, shape, None if path is None else f"{path}[{index}]")
        return None

    def call(
        self, mapping: Mapping, table: collections.abc.Mapping[str, type[Written]], path: str | None
    ) -> Spot | None:
        """A built-in as a mapping of one key."""
        for entry in mapping.entries:
            if _holds(entry.key, self.offset):
                return self.found(entry.key, path, BuiltInNames(table))
            model = table.get(entry.key.text)
            if model is None or entry.value is None or not _holds(entry.value, self.offset):
                continue
            if isinstance(entry.value, Mapping):
                return self.fields(entry.value, model, path)
            unnamed = [one.facts.shape for one in model.by_written_name().values() if one.facts.positional]
            spot = self.node(entry.value, unnamed[0], path) if unnamed else None
            names = FieldNames(model, frozenset(), "mapping")
            return self.found(spot.scalar if spot else None, path, *(spot.expects if spot else ()), names)
        return None

    def labels(self, mapping: Mapping, value: Shape, keys: tuple[str, ...], path: str | None) -> Spot | None:
        for entry in mapping.entries:
            inner = None if path is None else f"{path}.{entry.key.text}"
            if _holds(entry.key, self.offset):
                return self.found(entry.key, inner, LabelNames(keys, _others(mapping, entry)))
            if entry.value is not None and _holds(entry.value, self.offset):
                return self.node(entry.value, value, inner)
        return None

    def named_call(self, mapping: Mapping, kinds: tuple[str, ...]) -> Spot | None:
        """A declaration with fields replaced, as a mapping of one key."""
        for entry in mapping.entries:
            if _holds(entry.key, self.offset):
                return self.found(entry.key, None, LabelNames(kinds, frozenset()))
            if isinstance(entry.value, Mapping) and _holds(entry.value, self.offset):
                kind = kind_of(entry.key.text, self.scope)
                return self.fields(entry.value, KINDS[kind], None, reaches=True) if kind else None
        return None


def _holds(node: Node, offset: int) -> bool:
    return node.span.start <= offset <= node.span.end


def _others(mapping: Mapping, entry: Entry) -> frozenset[str]:
    return frozenset(each.key.text for each in mapping.entries if each is not entry)


def _index(scalar: Scalar, offset: int) -> int:
    """The index in a scalar's text of what stands at `offset` of the file."""
    if scalar.offsets is None:
        return offset - scalar.span.start
    return bisect_left(scalar.offsets, offset)
