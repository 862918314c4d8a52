"""Places as the protocol counts them (lines, and columns in code units) and as offsets in code points."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import lru_cache

from lsprotocol import types

from dsl.source import Span

_LINE_END = re.compile(r"\r\n|\n|\r")
_BYTES = {types.PositionEncodingKind.Utf8: ("utf-8", 1), types.PositionEncodingKind.Utf16: ("utf-16-le", 2)}


class Lines:
    """The lines of a text for one encoding of columns; places beyond a line or the text are moved to its end."""

    def __init__(self, text: str, encoding: types.PositionEncodingKind | str) -> None:
        self.text = text
        self.encoding, self.unit = _BYTES.get(types.PositionEncodingKind(encoding), ("", 1))
        ends = [match.span() for match in _LINE_END.finditer(text)]
        self.starts = [0, *(end for _, end in ends)]
        self.ends = [*(start for start, _ in ends), len(text)]
        self.is_ascii = text.isascii()

    def offset(self, position: types.Position) -> int:
        """The offset of a place."""
        if position.line >= len(self.starts):
            return len(self.text)
        start, end = self.starts[position.line], self.ends[position.line]
        if self.is_ascii or not self.encoding:
            return min(start + position.character, end)
        written = self.text[start:end].encode(self.encoding)
        before = written[: position.character * self.unit].decode(self.encoding, errors="ignore")
        return start + len(before)

    def position(self, offset: int) -> types.Position:
        """The place of an offset."""
        line = bisect_right(self.starts, offset) - 1
        start = self.starts[line]
        column = offset - start
        if not self.is_ascii and self.encoding:
            column = len(self.text[start:offset].encode(self.encoding)) // self.unit
        return types.Position(line, column)

    def range(self, span: Span) -> types.Range:
        return types.Range(self.position(span.start), self.position(span.end))

    def span(self, range: types.Range) -> Span:
        start = self.offset(range.start)
        return Span(start, max(start, self.offset(range.end)))


@lru_cache(maxsize=32)
def lines_of(text: str, encoding: types.PositionEncodingKind | str) -> Lines:
    """The lines of a text, counted once."""
    return Lines(text, encoding)


def changed(text: str, change: types.TextDocumentContentChangeEvent, encoding: types.PositionEncodingKind | str) -> str:
    """A text after a change of a part of it, or of all."""
    if isinstance(change, types.TextDocumentContentChangeWholeDocument):
        return change.text
    span = Lines(text, encoding).span(change.range)
    return text[: span.start] + change.text + text[span.end :]
