"""The syntax tree of a `.mix` file: what was written, where, and the comments between.

Nodes are named tuples, not dataclasses: a file has tens of thousands, and these are made in a third of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from dsl.source import SourceFile, Span

ScalarStyle = Literal["plain", "single", "double", "literal", "folded"]
CollectionStyle = Literal["block", "flow"]


class Scalar(NamedTuple):
    """A piece of text. `text` is its value as YAML reads it; `span` covers it as written, quotes included.

    For a plain scalar on one line `span.start + i` is where `text[i]` stands; `offset` gives it for every style.
    """

    text: str
    style: ScalarStyle
    span: Span
    offsets: tuple[int, ...] | None = None
    """Where each code point of `text` stands in the file, where that is not `span.start + i`."""

    def offset(self, index: int) -> int:
        """The file offset of `text[index]`; `index == len(text)` is the end."""
        if self.offsets is None:
            return self.span.start + index
        return self.offsets[index] if index < len(self.offsets) else self.span.end


class Entry(NamedTuple):
    """One `key: value` of a mapping; `value` is None where nothing follows the colon."""

    key: Scalar
    value: Node | None
    span: Span


class Mapping(NamedTuple):
    entries: tuple[Entry, ...]
    style: CollectionStyle
    span: Span


class Sequence(NamedTuple):
    items: tuple[Node, ...]
    style: CollectionStyle
    span: Span


Node = Scalar | Mapping | Sequence


@dataclass(frozen=True, slots=True)
class Comment:
    """`# …` up to the line end. `own_line` where nothing but blanks stands before it."""

    text: str
    own_line: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Document:
    """A whole file: its top-level mapping and every comment, in order."""

    source: SourceFile
    root: Mapping
    comments: tuple[Comment, ...]
