"""Shapes and terms in words, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

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
from dsl.diagnostics.suggest import nearest
from dsl.source import Span
from dsl.terms import Applied, Atom, Items, Table, Term

_FEW = 8
_SCALARS = {
    "count": "a count (12000, 30M)",
    "number": "a number (0.95, 1e-4)",
    "percent": "a percent (3%)",
    "boolean": "true or false",
    "range": "a range (1..4)",
    "amount": "an amount (40%, 5M tokens, all, rest)",
    "location": "a file or location",
    "text": "text",
    "predicate": "a condition over a record's fields",
    "name": "a name",
}


def expected(shape: Shape) -> str:
    """What a field takes: `a quantity in tokens or steps`."""
    match shape:
        case Typed(kind):
            return _SCALARS[kind]
        case Measured(units):
            return f"a quantity in {alternatives(units)}"
        case Moments():
            return "a point or a list of points (end, 25%, every 500 steps)"
        case OneOf(words):
            return alternatives(words) if words else "a word"
        case Reference(kinds):
            return f"the name of {alternatives([with_article(kind) for kind in kinds])}"
        case FlowOf("train"):
            return "none, a train or a flow of them"
        case FlowOf(kind, or_location):
            return f"{with_article(kind)} or a flow" + (", or a location" if or_location else "")
        case BuiltIn(table):
            words = list(table)
            return alternatives(words) if len(words) <= _FEW else f"a call ({', '.join(words[:3])}, …)"
        case ListOf(item):
            return f"a list, each {expected(item)}"
        case MappingOf(value, keys):
            return f"a mapping from {alternatives(keys) or 'label'} to {expected(value)}"
        case OneKey(value):
            return f"a mapping of one key to {expected(value)}"
        case Record(model):
            return f"a mapping with {', '.join(model.by_written_name())}"
        case Claimed():
            return "a comparison of results (harm(reasons) < harm(base))"
        case AnyOf(shapes):
            return ", or ".join(expected(one) for one in shapes)
        case _:
            assert_never(shape)


def described(term: Term) -> str:
    """What is written, in a word or two."""
    match term:
        case Atom(scalar):
            return f"'{scalar.text}'" if len(scalar.text) <= 40 and "\n" not in scalar.text else "a text"
        case Items():
            return "a list"
        case Table():
            return "a mapping"
        case Applied(name):
            return f"a call of {name.text}"


def head(term: Term) -> Span:
    """Where a caret for a term stands: all of a scalar, the first key of a mapping, the first item of a list."""
    match term:
        case Atom():
            return term.span
        case Applied(name):
            return name.span
        case Table(cells):
            return next(iter(cells.values())).key.span if cells else term.span
        case Items(items):
            return head(items[0]) if items else term.span


def known_help(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words, else all of them."""
    words = list(known)
    near = nearest(word, words)
    if near:
        return f"did you mean '{near}'?"
    if not words:
        return "there are none"
    return f"write {alternatives(words)}" if len(words) <= _FEW else f"there are {', '.join(words)}"


def alternatives(words: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} or {last}" if most else last


def with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
