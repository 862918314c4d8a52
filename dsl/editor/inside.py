"""Where a place inside a scalar is: in which call, at which argument, and what may stand there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dsl.declarations import KINDS
from dsl.declarations.base import Written
from dsl.declarations.shapes import (
    AnyOf,
    BuiltIn,
    Claimed,
    FlowOf,
    ListOf,
    MappingOf,
    Moments,
    OneOf,
    Record,
    Reference,
    Shape,
    Typed,
)
from dsl.editor.expects import ClaimArguments, Expects, FieldNames, LabelNames, LevelNames, ValueOf
from dsl.editor.lookup import kind_of
from dsl.scope import Scope

_PIECE = re.compile(r""""(?:[^"\\]|\\.)*"|(?<=[(\[{,=: ])'(?:[^']|'')*'|.""", re.DOTALL)
_CALLEE = re.compile(r"([A-Za-z_][\w.]*)\s*$")
_NAMED = re.compile(r"\s*([A-Za-z_][\w.]*)\s*=(?!=)\s*")
_BARE = re.compile(r"\s*[A-Za-z_]?[\w.]*")
_PAIR = re.compile(r"\s*([^:{}\[\]()]*?)\s*:\s+")


@dataclass(frozen=True, slots=True)
class Inside:
    """`path` is what is to add to the path of the field; None where the place is in the call of a declaration."""

    found: tuple[Expects, ...]
    path: str | None


NOTHING = Inside((), None)


def in_text(shape: Shape, text: str, scope: Scope, *, is_plain: bool = True, path: str | None = "") -> Inside:
    """What a word is that ends where `text` does, which is the start of a value of this shape."""
    if isinstance(shape, AnyOf):
        return _together([in_text(one, text, scope, is_plain=is_plain, path=path) for one in shape.shapes])
    opening = _first_open(text)
    if opening is None:
        return Inside((ValueOf(shape, text, is_plain),), path)
    before, parts = text[:opening], _parts(text[opening + 1 :])
    match text[opening]:
        case '"':
            return NOTHING
        case "[":
            return _in_list(shape, parts, scope, path)
        case "{":
            return _in_mapping(shape, parts, scope, path)
        case _:
            callee = _CALLEE.search(before)
            return _in_call(shape, callee.group(1) if callee else "", text, parts, scope, path)


def field_shape(model: type[Written], path: str) -> Shape | None:
    """The shape of the field at a dotted path: `optimizer.lr` of a train."""
    name, _, rest = path.partition(".")
    field = model.by_written_name().get(name)
    if field is None or not rest:
        return field.facts.shape if field else None
    return next((found for each in reached_models(field.facts.shape) if (found := field_shape(each, rest))), None)


def reached_models(shape: Shape) -> list[type[Written]]:
    """The classes whose fields a dotted path through a field of this shape can name."""
    match shape:
        case BuiltIn(table):
            return list(table.values())
        case Record(model):
            return [model]
        case AnyOf(shapes):
            return [model for one in shapes for model in reached_models(one)]
        case _:
            return []


def _in_call(shape: Shape, callee: str, text: str, parts: list[str], scope: Scope, path: str | None) -> Inside:
    match shape:
        case BuiltIn(table) if callee in table:
            return _in_arguments(table[callee], parts, scope, path, reaches=False)
        case Reference() | FlowOf() if kind := kind_of(callee, scope):
            return _in_arguments(KINDS[kind], parts, scope, None, reaches=True)
        case Claimed() if callee:
            return _in_claim(parts, scope)
        case Claimed() | Typed("predicate"):
            return Inside((ValueOf(shape, text, False),), path)
        case ListOf(item):
            return in_text(item, text, scope, path=path)
        case _:
            return NOTHING


def _in_arguments(model: type[Written], parts: list[str], scope: Scope, path: str | None, *, reaches: bool) -> Inside:
    *earlier, current = parts
    names = [_NAMED.match(part) for part in earlier]
    given = frozenset(name.group(1) for name in names if name)
    if named := _NAMED.match(current):
        name = named.group(1)
        shape = field_shape(model, name) if reaches or "." not in name else None
        inner = None if path is None else f"{path}.{name}"
        return in_text(shape, current[named.end() :], scope, path=inner) if shape else NOTHING
    unnamed = [(written, one.facts.shape) for written, one in model.by_written_name().items() if one.facts.positional]
    index = names.count(None)
    value = NOTHING
    if index < len(unnamed):
        written, shape = unnamed[index]
        inner = None if path is None else f"{path}.{written}"
        value = in_text(shape, current.lstrip(), scope, path=inner)
    if not _BARE.fullmatch(current):
        return value
    fields = FieldNames(model, given, "call", reaches=reaches)
    word = current.strip()
    return Inside((*value.found, fields), value.path or (None if path is None else f"{path}.{word}"))


def _in_claim(parts: list[str], scope: Scope) -> Inside:
    """The arguments of an eval in a claim: an arm, the levels of factors, a moment."""
    *earlier, current = parts
    names = [_NAMED.match(part) for part in earlier]
    named = _NAMED.match(current)
    if named and named.group(1) == "at":
        return _together(
            [in_text(one, current[named.end() :], scope, path=None) for one in (OneOf(("all",)), Moments())]
        )
    if named:
        return Inside((LevelNames(named.group(1)),), None)
    return Inside((ClaimArguments(not earlier, frozenset(name.group(1) for name in names if name)),), None)


def _in_list(shape: Shape, parts: list[str], scope: Scope, path: str | None) -> Inside:
    item = shape.item if isinstance(shape, ListOf) else shape if isinstance(shape, Moments) else None
    if item is None:
        return NOTHING
    inner = None if path is None else f"{path}[{len(parts) - 1}]"
    return in_text(item, parts[-1].lstrip(), scope, path=inner)


def _in_mapping(shape: Shape, parts: list[str], scope: Scope, path: str | None) -> Inside:
    *earlier, current = parts
    given = frozenset(pair.group(1) for part in earlier if (pair := _PAIR.match(part)))
    pair = _PAIR.match(current)
    key = pair.group(1) if pair else ""
    inner = None if path is None else f"{path}.{key or current.strip()}"
    match shape, pair:
        case MappingOf(keys=keys), None:
            return Inside((LabelNames(keys, given),), inner)
        case MappingOf(value=value), _ if pair:
            return in_text(value, current[pair.end() :], scope, path=inner)
        case Record(model), None:
            return Inside((FieldNames(model, given, "mapping"),), inner)
        case Record(model), _ if pair and (value := field_shape(model, key)):
            return in_text(value, current[pair.end() :], scope, path=inner)
        case _:
            return NOTHING


def _together(found: list[Inside]) -> Inside:
    """What any of several shapes expects there."""
    some = [one for one in found if one.found]
    return Inside(tuple(each for one in some for each in one.found), some[0].path) if some else NOTHING


def _first_open(text: str) -> int | None:
    """Where the outermost bracket stands that nothing closes; a double quote that nothing closes hides all others."""
    opened: list[int] = []
    for piece in _PIECE.finditer(text):
        if piece.group() in "([{":
            opened.append(piece.start())
        elif piece.group() in ")]}" and opened:
            opened.pop()
        elif piece.group() == '"':
            return piece.start()
    return opened[0] if opened else None


def _parts(text: str) -> list[str]:
    """What stands between the commas of the bracket that is open before `text`; the last part is unfinished."""
    depth, start = 0, 0
    parts: list[str] = []
    for piece in _PIECE.finditer(text):
        if piece.group() in "([{":
            depth += 1
        elif piece.group() in ")]}":
            depth -= 1
        elif piece.group() == "," and depth == 0:
            parts.append(text[start : piece.start()])
            start = piece.end()
    return [*parts, text[start:]]
