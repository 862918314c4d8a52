"""What fits where something is expected, by the declarations: nothing here is a list of the language's words."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from dsl.declarations import KINDS
from dsl.declarations.base import Written
from dsl.declarations.installed import WithPlugIns
from dsl.declarations.shapes import (
    AnyOf,
    BuiltIn,
    Claimed,
    FlowOf,
    ListOf,
    Measured,
    Moments,
    OneOf,
    Reference,
    Shape,
    Typed,
)
from dsl.declarations.training import LENGTHS, Train
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
from dsl.editor.inside import field_shape, reached_models
from dsl.editor.lookup import meaning, record_fields
from dsl.editor.spot import Spot
from dsl.editor.view import View
from dsl.editor.words import DIRECTIVES, EXTENDS, about_field, description, signature, told
from dsl.files import EDITION
from dsl.names import names_in
from dsl.scope import Definition
from dsl.source import Span
from dsl.terms import Atom, Items

Sort = Literal["kind", "directive", "field", "name", "built-in", "word", "unit", "constant", "label", "file"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to write over `span`. In `insert`, `$1`, `$2` … are places to fill in (`$$` is a dollar)."""

    label: str
    sort: Sort
    insert: str
    span: Span
    detail: str = ""
    documentation: str = ""


@dataclass(frozen=True, slots=True)
class Typing:
    """The word at the cursor and what is around it."""

    word: str
    span: Span
    """What a candidate replaces: the word, also what of it is behind the cursor."""
    following: str
    """The first character after the word, but blanks."""
    is_alone: bool
    """Whether nothing else is on the line."""
    line: str
    """The line up to the cursor."""


def candidates(view: View, spot: Spot, typing: Typing) -> Iterator[Candidate]:
    """All that fits at a spot."""
    for expects in spot.expects:
        yield from _expected(view, spot, expects, typing)


def _expected(view: View, spot: Spot, expects: Expects, typing: Typing) -> Iterator[Candidate]:
    match expects:
        case TopLevel():
            yield from _top_level(view, typing)
        case FieldNames():
            yield from _fields(expects, typing)
        case LabelNames(kinds, given):
            for one in _names(view, spot, kinds, typing):
                if one.label not in given:
                    yield replace(one, insert=_key(one.insert, typing))
        case BuiltInNames(table):
            for word, model in _everything(table).items():
                yield _built_in(word, model, _key(word, typing), typing)
        case ImportNames(is_alias, given):
            for word in () if is_alias else sorted({"file", "let"} - given):
                yield Candidate(word, "field", _key(word, typing), typing.span)
        case ImportFile():
            yield from _files(view, typing)
        case ConstantNames(scope, given, is_declaration):
            for name in () if is_declaration else scope.constants.keys() - given:
                yield Candidate(name, "constant", _key(name, typing), typing.span, _constant(view, name))
        case ClaimArguments(first, given):
            yield from _claim_arguments(view, spot, typing, first=first, given=given)
        case LevelNames(factor):
            for label in view.labels(spot.definition, "matrix") if spot.definition else ():
                if label.key.text == factor:
                    yield from _labels((level.key.text for level in label.levels), "level", typing)
        case ValueOf(shape, text, is_plain):
            before = text[: len(text) - len(typing.word)]
            yield from _values(view, spot, shape, before, typing)
            if is_plain and not before.strip() and not typing.is_alone:
                for name in view.scope.constants:
                    yield Candidate(f"${name}", "constant", f"$${name}", typing.span, _constant(view, name))


def _top_level(view: View, typing: Typing) -> Iterator[Candidate]:
    for word, sentence in DIRECTIVES.items():
        if not re.search(rf"^{word}:", view.source.text, re.MULTILINE):
            insert = f"{word}: {EDITION}" if word == "edition" else f"{word}:\n  $1"
            yield Candidate(word, "directive", insert, typing.span, "directive", sentence)
    for kind, model in KINDS.items():
        insert = kind if typing.following else f"{kind} $1:\n  $2"
        yield Candidate(kind, "kind", insert, typing.span, "declaration", told(model))


def _fields(expects: FieldNames, typing: Typing) -> Iterator[Candidate]:
    prefix = typing.word.rpartition(".")[0] if expects.reaches else ""
    models = [expects.model]
    if prefix:
        shape = field_shape(expects.model, prefix)
        models = reached_models(shape) if shape else []
    for model in models:
        fields = model.by_written_name()
        for name in sorted(fields, key=lambda one: not fields[one].is_required):
            path = f"{prefix}.{name}" if prefix else name
            if path not in expects.given:
                insert = _key(path, typing) if expects.form == "mapping" else _argument(path, typing)
                documentation = "\n\n".join([description(model, name), *about_field(model, name)])
                detail = "required" if fields[name].is_required and not expects.reaches else ""
                yield Candidate(path, "field", insert, typing.span, detail, documentation)
    if expects.kind and "extends" not in expects.given:
        yield Candidate("extends", "field", _key("extends", typing), typing.span, "", EXTENDS)


def _values(view: View, spot: Spot, shape: Shape, before: str, typing: Typing) -> Iterator[Candidate]:
    """What fits as a value of a shape, of which `before` is written already."""
    is_start = not before.strip()
    match shape:
        case AnyOf(shapes):
            for one in shapes:
                yield from _values(view, spot, one, before, typing)
        case Measured(units):
            yield from _units((unit for unit in units if unit != "bytes"), before, typing)
        case Typed("amount", units=units):
            yield from _words(("all", "rest") if is_start else (), typing)
            yield from _units(units, before, typing)
        case Typed("boolean"):
            yield from _words(("true", "false") if is_start else (), typing)
        case Typed("predicate"):
            for name, field in record_fields(spot.definition).items():
                yield Candidate(name, "label", name, typing.span, field.kind, field.meaning)
        case Typed("name"):
            fields = (name for name, field in Train.by_written_name().items() if field.facts.role == "computation")
            yield from _labels([*_label_names(view, spot, "matrix"), "model", *fields], "", typing)
        case Moments():
            yield from _moments(view, spot, before, typing)
        case OneOf() if spot.path == "match.of":
            yield from _labels(_label_names(view, spot, "matrix"), "factor", typing)
            yield from _names(view, spot, ("train",), typing)
        case OneOf(words):
            yield from _words(words if is_start else (), typing)
        case Reference(kinds) if is_start:
            yield from _names(view, spot, kinds, typing)
        case FlowOf() if is_start or before.rstrip().endswith("|>"):
            yield from _flow(view, spot, shape, typing, is_start=is_start)
        case BuiltIn(table) if is_start:
            for word, model in _everything(table).items():
                yield _built_in(word, model, _call(word, model), typing)
        case Claimed():
            for one in _names(view, spot, ("eval",), typing, with_members=True):
                yield replace(one, insert=one.insert if typing.following == "(" else f"{one.insert}($1)")
        case ListOf(item, or_one) if is_start:
            for one in _values(view, spot, item, before, typing):
                if typing.is_alone:
                    yield replace(one, label=f"- {one.label}", insert=f"- {one.insert}")
                elif or_one:
                    yield one
                elif not isinstance(item, BuiltIn | Claimed):  # a comma in a call would split it inside brackets
                    yield replace(one, insert=f"[{one.insert}]")
        case _:
            pass


def _flow(view: View, spot: Spot, shape: FlowOf, typing: Typing, *, is_start: bool) -> Iterator[Candidate]:
    if shape.kind == "train":
        yield from _words(("none",) if is_start else (), typing)
        yield from _names(view, spot, ("train",), typing)
        return
    if is_start and shape.or_base and spot.definition and "base" in (spot.definition.cells or {}):
        yield from _labels(["base"], "the study's base", typing)
    step = "augment" if shape.kind == "source" else "train"
    yield from _names(view, spot, (shape.kind if is_start else step,), typing)


def _moments(view: View, spot: Spot, before: str, typing: Typing) -> Iterator[Candidate]:
    if re.search(r"\bof\s+$", before):
        yield from _names(view, spot, ("train",), typing)
    elif not before.strip():
        yield from _words(("start", "end"), typing)
        yield Candidate("every", "word", "every $1", typing.span)
    yield from _units(LENGTHS, before, typing)


_NUMBER = re.compile(r"\s*(?:every\s+)?\d[\d.]*(?:[eE][+-]?\d+)?(?:[kMBT]i?)?\s+(trained\s+)?")


def _units(units: Iterable[str], before: str, typing: Typing) -> Iterator[Candidate]:
    """After a number, its units; one of two words may have its first written."""
    number = _NUMBER.fullmatch(before)
    if number:
        first = len(number.group(1) or "")
        for unit in units:
            if not first or unit.startswith("trained"):
                span = Span(typing.span.start - first, typing.span.end)
                yield Candidate(unit, "unit", unit, span, "unit")


def _words(words: Iterable[str], typing: Typing) -> Iterator[Candidate]:
    for word in words:
        yield Candidate(word, "word", word, typing.span)


def _labels(labels: Iterable[str], detail: str, typing: Typing) -> Iterator[Candidate]:
    for label in labels:
        yield Candidate(label, "label", label, typing.span, detail)


def _label_names(view: View, spot: Spot, field: str) -> list[str]:
    return [one.key.text for one in view.labels(spot.definition, field)] if spot.definition else []


def _names(
    view: View, spot: Spot, kinds: tuple[str, ...], typing: Typing, *, with_members: bool = False
) -> Iterator[Candidate]:
    """Declarations of some kinds, here and in imports; sources also by the rows that they set aside."""
    for name in names_in(view.scope, kinds):
        definition = meaning(name, view.scope).definition
        if definition is None or definition is spot.definition:
            continue
        detail, doc = definition.kind or "", _doc(definition)
        yield Candidate(name, "name", name, typing.span, detail, doc)
        declared = view.declaration(definition)
        if definition.kind == "source" and getattr(declared, "holdout", None) is not None:
            yield Candidate(f"{name}.holdout", "name", f"{name}.holdout", typing.span, "rows set aside", doc)
        for member in _members(definition) if with_members else ():
            yield Candidate(f"{name}.{member}", "name", f"{name}.{member}", typing.span, "member of a suite")


def _members(definition: Definition) -> Iterator[str]:
    cell = (definition.cells or {}).get("suite")
    for item in cell.value.items if cell and isinstance(cell.value, Items) else ():
        if isinstance(item, Atom):
            yield item.scalar.text.rpartition(".")[2]


def _doc(definition: Definition) -> str:
    for field in ("doc", "question"):
        cell = (definition.cells or {}).get(field)
        if cell and isinstance(cell.value, Atom):
            return cell.value.scalar.text
    return ""


def _claim_arguments(
    view: View, spot: Spot, typing: Typing, *, first: bool, given: frozenset[str]
) -> Iterator[Candidate]:
    if first:
        base = ["base"] if spot.definition and "base" in (spot.definition.cells or {}) else []
        yield from _labels([*base, *_label_names(view, spot, "arms")], "arm", typing)
    for factor in _label_names(view, spot, "matrix"):
        if factor not in given:
            yield Candidate(factor, "field", _argument(factor, typing), typing.span, "factor")
    if "at" not in given:
        yield Candidate("at", "field", _argument("at", typing), typing.span, "when it is measured; 'end' unless said")


def _files(view: View, typing: Typing) -> Iterator[Candidate]:
    """The `.mix` files and folders beside what is typed of a path."""
    match = re.search(r"[^\s\[\]{},\"']*$", typing.line)
    typed = match.group() if match else ""
    folder, slash, _ = typed.rpartition("/")
    beside = view.scope.path.parent / (folder + slash)
    for one in sorted(os.scandir(beside), key=lambda each: each.name) if beside.is_dir() else ():
        if one.name.startswith(".") or one.path == str(view.scope.path):
            continue
        if one.is_dir():
            yield Candidate(f"{one.name}/", "file", f"{one.name}/", typing.span)
        elif one.name.endswith(".mix"):
            yield Candidate(one.name, "file", one.name, typing.span)


def _constant(view: View, name: str) -> str:
    cell = view.scope.constants.get(name)
    if cell is None or cell.value is None:
        return ""
    return " ".join(cell.scope.source.text[cell.value.span.start : cell.value.span.end].split())


def _built_in(word: str, model: type[Written], insert: str, typing: Typing) -> Candidate:
    return Candidate(word, "built-in", insert, typing.span, signature(word, model), told(model))


def _everything(table: Mapping[str, type[Written]]) -> Mapping[str, type[Written]]:
    """The built-ins of a table, and what installed packages add to them."""
    return table.everything() if isinstance(table, WithPlugIns) else table


def _call(word: str, model: type[Written]) -> str:
    """A call with places for the arguments that must be there."""
    required = [(name, one.facts.positional) for name, one in model.by_written_name().items() if one.is_required]
    if not required:
        return word
    places = [
        f"${number}" if positional else f"{name}=${number}" for number, (name, positional) in enumerate(required, 1)
    ]
    return f"{word}({', '.join(places)})"


def _key(name: str, typing: Typing) -> str:
    return name if typing.following == ":" else f"{name}: "


def _argument(name: str, typing: Typing) -> str:
    return name if typing.following == "=" else f"{name}="
