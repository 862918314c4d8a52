"""Arguments of calls as nodes of the tree: `[yes, no]` is a list there too, and `"a, b"` one quoted text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dsl.quoting import read_scalar
from dsl.source import SourceFile, Span
from dsl.terms import Applied, Atom, Cell, Term, as_term
from dsl.tree import Entry, Mapping, Node, Scalar, Sequence
from dsl.values import Argument, Call

_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""", re.DOTALL)
_PIECE = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|.""", re.DOTALL)


def applied(call: Call, atom: Atom) -> Applied:
    """A call that stands in `atom`, its arguments apart."""
    cells: dict[str, Cell] = {}
    positional: list[Term] = []
    source, scope = atom.scope.source, atom.scope
    for argument in call.arguments:
        value = as_term(argument_node(argument, atom.scalar, source), scope)
        if argument.path is None:
            positional.append(value)
        else:
            cells.setdefault(argument.path, Cell(_path(argument.path, argument, call, source), value, scope))
    name = Scalar(call.name.text, "plain", call.name.span)
    return Applied(name, cells, call.span, scope, tuple(positional))


def argument_node(argument: Argument, within: Scalar, source: SourceFile) -> Node:
    """An argument's value; in plain text it is read from the file, so that every place is exact."""
    span = argument.span
    written = source.text[span.start : span.end] if within.style == "plain" else argument.text
    return read_node(written, span.start)


def read_node(text: str, start: int) -> Node:
    """The value that is written as `text` at offset `start`: a list, a mapping or a scalar."""
    span = Span(start, start + len(text))
    if text.startswith("[") and text.endswith("]"):
        return Sequence(tuple(read_node(*item) for item in _items(text, start)), "flow", span)
    if text.startswith("{") and text.endswith("}"):
        return Mapping(tuple(_entry(*item) for item in _items(text, start)), "flow", span)
    if "\n" in text or _QUOTED.fullmatch(text):
        return read_scalar(text, start, 0)
    return Scalar(text, "plain", span)


def _entry(text: str, start: int) -> Entry:
    key, _, value = text.partition(":")
    offset = start + len(text) - len(value.lstrip())
    node = read_node(value.strip(), offset) if value.strip() else None
    return Entry(read_scalar(key.rstrip(), start, 0), node, Span(start, start + len(text)))


def _items(text: str, start: int) -> Iterator[tuple[str, int]]:
    """The parts between the outermost commas of a bracketed text, with their offsets."""
    depth, first = 0, 1
    for piece in _PIECE.finditer(text, 1, len(text) - 1):
        if piece.group() in "([{":
            depth += 1
        elif piece.group() in ")]}":
            depth -= 1
        elif piece.group() == "," and depth == 0:
            yield from _trimmed(text, first, piece.start(), start)
            first = piece.end()
    yield from _trimmed(text, first, len(text) - 1, start)


def _trimmed(text: str, first: int, end: int, start: int) -> Iterator[tuple[str, int]]:
    item = text[first:end]
    if item.strip():
        yield item.strip(), start + first + len(item) - len(item.lstrip())


def _path(path: str, argument: Argument, call: Call, source: SourceFile) -> Scalar:
    """The path before an argument's value; a call in quotes may stand there in another spelling."""
    start = source.text.rfind(path, call.span.start, argument.span.start)
    span = Span(start, start + len(path)) if start >= 0 else argument.span
    return Scalar(path, "plain", span)
