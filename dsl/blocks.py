"""The top-level parts of a file, each parsed by itself: an editor parses only the one that has changed."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from dsl.build_tree import build_tree
from dsl.layout import add_indentation
from dsl.lines import Line, Reader, Report, split_lines
from dsl.scan import scan
from dsl.source import Span
from dsl.tree import Comment, Entry, Mapping, Node, Scalar, Sequence

_START = re.compile(r"^(?![ #\-\]}\r]|$)", re.MULTILINE)
"""Where a part starts: in the first column, but for comments, items and brackets, which go on with what is above."""

Mistake = tuple[str, str, Span, str]
"""Code, message, place, help."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a file as parsed where it started at `start`."""

    start: int
    entries: tuple[Entry, ...]
    comments: tuple[Comment, ...]
    mistakes: tuple[Mistake, ...]

    def at(self, start: int) -> Block:
        """The same where it starts at `start`."""
        if start == self.start:
            return self
        by = start - self.start
        return Block(
            start,
            tuple([_moved_entry(entry, by) for entry in self.entries]),
            tuple(Comment(one.text, one.own_line, _shifted(one.span, by)) for one in self.comments),
            tuple((code, message, _shifted(span, by), help) for code, message, span, help in self.mistakes),
        )


Blocks = dict[str, Block]
"""Parts by their text."""


def parse_blocks(text: str, known: Blocks) -> dict[int, tuple[str, Block]]:
    """The parts of a file by where they start, with their texts; those whose text is `known` aren't parsed again."""
    starts = sorted({0, *(match.start() for match in _START.finditer(text))})
    seen = dict(known)
    lines: list[Line] | None = None
    found: dict[int, tuple[str, Block]] = {}
    for start, end in zip(starts, [*starts[1:], len(text) + 1], strict=True):
        part = text[start:end]
        block = seen.get(part)
        if block is None:
            lines = lines or split_lines(text)
            block = seen[part] = _parsed(text, lines, start, end)
        found[start] = part, block.at(start)
    return found


def _parsed(text: str, lines: list[Line], start: int, end: int) -> Block:
    mistakes: list[Mistake] = []

    def report(code: str, message: str, span: Span, help: str) -> None:
        mistakes.append((code, message, span, help))

    reader = Reader(text, report, lines)
    scan(reader, start, end)
    root = build_tree(add_indentation(reader))
    entries = tuple(without_duplicate_keys(entry, report) for entry in root.entries)
    return Block(start, entries, tuple(reader.comments), tuple(mistakes))


_N = TypeVar("_N", Entry, Mapping, Node)


def without_duplicate_keys(node: _N, report: Report) -> _N:
    """`node` without the entries of mappings whose key was there before; reports these. Mostly, `node` itself."""
    match node:
        case Sequence(items=items):
            kept = [without_duplicate_keys(item, report) for item in items]
            return node if _same(kept, items) else node._replace(items=tuple(kept))
        case Mapping(entries=entries):
            kept = [without_duplicate_keys(entry, report) for entry in first_of_each_key(entries, report)]
            return node if _same(kept, entries) else node._replace(entries=tuple(kept))
        case Entry(value=value):
            inner = value and without_duplicate_keys(value, report)
            return node if inner is value else node._replace(value=inner)
        case _:
            return node


def first_of_each_key(entries: Iterable[Entry], report: Report) -> Iterable[Entry]:
    """The entries without those whose key was there before, which are reported."""
    kept: dict[str, Entry] = {}
    for entry in entries:
        if entry.key.text == "<<" and entry.key.style == "plain":
            continue  # a merge key, which the scanner has reported
        if kept.setdefault(entry.key.text, entry) is not entry:
            message = f"the key '{entry.key.text}' is there already"
            report("MIX0108", message, entry.key.span, "leave one of the two out, or give it another name")
    return kept.values()


def _same(new: list[_N], old: tuple[_N, ...]) -> bool:
    return len(new) == len(old) and all(map(operator.is_, new, old))


def _moved_entry(entry: Entry, by: int) -> Entry:
    """An entry, and all in it, `by` code points further on."""
    value = entry.value and _moved(entry.value, by)
    return Entry(_moved_scalar(entry.key, by), value, _shifted(entry.span, by))


def _moved(node: Node, by: int) -> Node:
    match node:
        case Scalar():
            return _moved_scalar(node, by)
        case Mapping(entries, style, span):
            return Mapping(tuple([_moved_entry(entry, by) for entry in entries]), style, _shifted(span, by))
        case Sequence(items, style, span):
            return Sequence(tuple([_moved(item, by) for item in items]), style, _shifted(span, by))


def _moved_scalar(scalar: Scalar, by: int) -> Scalar:
    text, style, span, offsets = scalar
    return Scalar(text, style, _shifted(span, by), offsets and tuple([offset + by for offset in offsets]))


def _shifted(span: Span, by: int) -> Span:
    return Span(span.start + by, span.end + by)
