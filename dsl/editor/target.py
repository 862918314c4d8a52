"""What the word at a place stands for: a declaration, an import, a constant, an arm, a field, a built-in, a file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from dsl.declarations import KINDS
from dsl.declarations.base import Written
from dsl.declarations.shapes import BuiltIn, Claimed, FlowOf, ListOf, Moments, Reference, Shape, Typed
from dsl.declarations.training import Train
from dsl.editor.expects import (
    BuiltInNames,
    ClaimArguments,
    ConstantNames,
    Expects,
    FieldNames,
    ImportFile,
    ImportNames,
    LabelNames,
    LevelNames,
    TopLevel,
    ValueOf,
)
from dsl.editor.inside import reached_models
from dsl.editor.lookup import meaning, record_fields
from dsl.editor.spot import Spot, spot_at
from dsl.editor.view import Label, View
from dsl.parse import parse
from dsl.record_fields import RecordField
from dsl.scope import Definition, Import, Scope
from dsl.source import SourceFile, Span
from dsl.terms import Atom, Items
from dsl.tree import Mapping, Scalar

WORD = re.compile(r"\$?[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class At:
    """Part of a file; `path` has no links in it, so that it is the same however the file was reached."""

    path: Path
    source: SourceFile
    span: Span


@dataclass(frozen=True, slots=True)
class Declared:
    """A declaration of this file or of an import."""

    definition: Definition


@dataclass(frozen=True, slots=True)
class Imported:
    """An import of this file."""

    scope: Scope
    name: str
    imported: Import


@dataclass(frozen=True, slots=True)
class ConstantOf:
    """A `let:` constant of a file; `scope` is the use of the file that is meant."""

    scope: Scope
    name: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """An arm, a factor or a level of a study."""

    label: Label


@dataclass(frozen=True, slots=True)
class FieldOf:
    """A field; `written_at` is where, if the word stands for what another declaration says of it."""

    model: type[Written]
    name: str
    written_at: At | None = None


@dataclass(frozen=True, slots=True)
class Extends:
    """The word `extends` in a declaration."""

    kind: str


@dataclass(frozen=True, slots=True)
class BuiltInWord:
    """A built-in, or a kind of declaration: a word that a class describes."""

    word: str
    model: type[Written]


@dataclass(frozen=True, slots=True)
class RecordWord:
    """A derived field of records, in a condition."""

    word: str
    field: RecordField


@dataclass(frozen=True, slots=True)
class FilePath:
    """A file that is imported."""

    path: Path


Target = Declared | Imported | ConstantOf | Labelled | FieldOf | Extends | BuiltInWord | RecordWord | FilePath


@dataclass(frozen=True, slots=True)
class Pointed:
    """A word with what it stands for; `span` is the part of a dotted name that is meant."""

    target: Target
    span: Span
    spot: Spot


def target_at(view: View, offset: int) -> Pointed | None:
    """What stands at a place; None where that is nothing that can be told about."""
    text = view.source.text
    spot = spot_at(view.document, offset, view.scope)
    if spot and spot.scalar and any(isinstance(each, ImportFile) for each in spot.expects):
        path = Path(os.path.realpath(view.scope.path.parent / spot.scalar.text))
        return Pointed(FilePath(path), spot.scalar.span, spot)
    word = _word_at(text, offset)
    if word is None:
        return None
    end = re.compile(r"\.|$").search(text, max(offset, word.start), word.end)
    stop = end.start() if end else word.end
    start = text.rfind(".", word.start, stop) + 1 or word.start
    spot = spot_at(view.document, stop, view.scope)
    if spot is None:
        return None
    for expects in spot.expects:
        found = _target(view, spot, expects, text[word.start : stop], stop)
        if found is not None:
            return Pointed(found, Span(start + (text[start] == "$"), stop), spot)
    return None


def place_of(target: Target) -> At | None:
    """Where a target is declared; None for what the language brings along."""
    match target:
        case Declared(definition):
            end = definition.key.span.end
            return At(definition.scope.path, definition.scope.source, Span(end - len(definition.name), end))
        case Imported(scope, _, imported):
            return _at(scope, imported.alias)
        case ConstantOf(scope, name):
            key = _constant_key(scope, name)
            return _at(scope, key) if key else None
        case Labelled(label):
            return _at(label.scope, label.key)
        case FieldOf(written_at=written_at):
            return written_at
        case FilePath(path):
            return At(path, SourceFile(str(path), ""), Span(0, 0)) if path.is_file() else None
        case Extends() | BuiltInWord() | RecordWord():
            return None


def _word_at(text: str, offset: int) -> Span | None:
    line_start = text.rfind("\n", 0, offset) + 1
    line_end = text.find("\n", offset)
    for match in WORD.finditer(text, line_start, len(text) if line_end < 0 else line_end):
        if match.start() <= offset <= match.end():
            return Span(*match.span())
    return None


def _target(view: View, spot: Spot, expects: Expects, word: str, stop: int) -> Target | None:
    scope = view.scope
    match expects:
        case TopLevel():
            return _top_level(spot, word, stop)
        case FieldNames(model, kind=kind, reaches=reaches):
            if word == "extends" and kind:
                return Extends(kind)
            return _field(model, word) if reaches or "." not in word else None
        case LabelNames(kinds) if kinds:
            return _named(view, word)
        case LabelNames():
            return _label(view, spot, word, stop)
        case BuiltInNames(table):
            return BuiltInWord(word, table[word]) if word in table else None
        case ImportNames(is_alias=True):
            return Imported(scope, word, scope.imports[word]) if word in scope.imports else None
        case ConstantNames(declaring):
            return ConstantOf(declaring, word) if word in declaring.constants else None
        case ClaimArguments():
            return _arm_or_factor(view, spot, word)
        case LevelNames(factor):
            levels = [each for one in _labels(view, spot, "matrix") if one.key.text == factor for each in one.levels]
            return _labelled(levels, word)
        case ValueOf(shape, text, is_plain):
            if word.startswith("$"):
                return ConstantOf(scope, word[1:]) if is_plain and word[1:] in scope.constants else None
            return _value(view, spot, shape, word, text)
        case _:
            return None


def _top_level(spot: Spot, word: str, stop: int) -> Target | None:
    key = spot.scalar
    if key is None:
        return None
    kind, _, name = key.text.partition(" ")
    if stop <= key.span.start + len(kind):
        return BuiltInWord(kind, KINDS[kind]) if kind in KINDS and name else None
    definition = spot.definition
    return Declared(definition) if definition and definition.key.span == key.span and word == name.strip() else None


def _field(model: type[Written], path: str) -> FieldOf | None:
    name, _, rest = path.partition(".")
    field = model.by_written_name().get(name)
    if field is None or not rest:
        return FieldOf(model, name) if field else None
    return next((found for one in reached_models(field.facts.shape) if (found := _field(one, rest))), None)


def _value(view: View, spot: Spot, shape: Shape, word: str, text: str) -> Target | None:
    match shape:
        case BuiltIn(table):
            return BuiltInWord(word, table[word]) if word in table and text.strip() == word else None
        case FlowOf(or_base=True) if word == "base":
            cell = (spot.definition.cells or {}).get("base") if spot.definition else None
            return Labelled(Label(cell.key, cell.scope, ())) if cell else None
        case Reference() | FlowOf() | Claimed():
            return _named(view, word)
        case ListOf(item):
            return _value(view, spot, item, word, text)
        case Moments():
            return _named(view, word) if re.search(rf"\bof\s+{re.escape(word)}$", text) else None
        case Typed("predicate"):
            field = record_fields(spot.definition).get(word)
            return RecordWord(word, field) if field else None
        case Typed("name"):
            return _labelled(_labels(view, spot, "matrix"), word) or _field(Train, word)
        case _ if spot.path == "match.of":
            return _labelled(_labels(view, spot, "matrix"), word) or _named(view, word)
        case _:
            return None


def _named(view: View, name: str) -> Target | None:
    found = meaning(name, view.scope)
    definition = found.definition
    if definition is None:
        alias = name.partition(".")[0]
        is_alias = found.through is not None and alias == name
        return Imported(view.scope, alias, found.through) if found.through and is_alias else None
    if not found.rest:
        return Declared(definition)
    if definition.kind == "source" and found.rest == "holdout":
        cell = (definition.cells or {}).get("holdout")
        return FieldOf(KINDS["source"], "holdout", _at(cell.scope, cell.key) if cell else None)
    return _member(definition, found.rest)


def _member(suite: Definition, name: str) -> Declared | None:
    """The eval that a suite has under this name."""
    cell = (suite.cells or {}).get("suite")
    items = cell.value.items if cell and isinstance(cell.value, Items) else ()
    for item in items:
        if isinstance(item, Atom) and name in (item.scalar.text, item.scalar.text.rpartition(".")[2]):
            found = meaning(item.scalar.text, item.scope).definition
            return Declared(found) if found else None
    return None


def _label(view: View, spot: Spot, word: str, stop: int) -> Labelled | None:
    """The arm, factor or level whose key stands here."""
    field = (spot.path or "").partition(".")[0].partition("[")[0]
    labels = _labels(view, spot, field) if field in ("arms", "matrix") else []
    every = [*labels, *(level for one in labels for level in one.levels)]
    here = [one for one in every if one.scope.source is view.source and one.key.span.end == stop]
    return _labelled(here or every, word)


def _arm_or_factor(view: View, spot: Spot, word: str) -> Target | None:
    if word == "base":
        return _value(view, spot, FlowOf("model", or_base=True), word, word)
    return _labelled([*_labels(view, spot, "arms"), *_labels(view, spot, "matrix")], word)


def _labels(view: View, spot: Spot, field: str) -> list[Label]:
    return view.labels(spot.definition, field) if spot.definition and spot.definition.kind == "study" else []


def _labelled(labels: list[Label], word: str) -> Labelled | None:
    return next((Labelled(one) for one in labels if one.key.text == word), None)


def _constant_key(scope: Scope, name: str) -> Scalar | None:
    """Where a file declares a constant, also where this use of the file gives it another value."""
    cell = scope.constants.get(name)
    if cell is None or cell.scope is scope:
        return cell.key if cell else None
    for entry in parse(scope.source)[0].root.entries:
        if entry.key.text == "let" and isinstance(entry.value, Mapping):
            return next((one.key for one in entry.value.entries if one.key.text == name), None)
    return None


def _at(scope: Scope, key: Scalar) -> At:
    return At(scope.path, scope.source, key.span)
