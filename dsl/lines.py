"""A file on its way to tokens: its lines, how far it is read, what was found and what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from dsl.source import Span
from dsl.tree import Comment

Report = Callable[[str, str, Span, str], None]
"""Takes a mistake: code, message, place, help."""

PieceKind = Literal[
    "KEY", "FLOW_KEY", "DASH", "SCALAR", "LBRACE", "RBRACE", "LBRACKET", "RBRACKET", "_COMMA", "_INDENT", "_DEDENT"
]

DEEPEST = 50
"""How many blocks, or brackets, may stand inside each other."""

_NOT_BLANK = re.compile(r"[^ ]")


class Piece(NamedTuple):
    """A token of the structure grammar: the text from `start` to `end`. Lark asks a token for its `type` alone."""

    type: PieceKind
    start: int
    end: int
    column: int = 0
    """From 0: where a key or dash stands in its line; of a block text: where its lines start."""
    text: str = ""


class Line(NamedTuple):
    """A line of text; `first` is where its first character other than a blank stands, `end` where there is none."""

    start: int
    first: int
    end: int

    @property
    def indent(self) -> int:
        return self.first - self.start

    @property
    def is_blank(self) -> bool:
        return self.first == self.end


def split_lines(text: str) -> list[Line]:
    """The lines of a text; a carriage return before the line feed is no part of a line."""
    lines: list[Line] = []
    start = 0
    for raw in text.split("\n"):
        content = raw.removesuffix("\r")
        end = start + len(content)
        lines.append(Line(start, end - len(content.lstrip(" ")), end))
        start += len(raw) + 1
    return lines


@dataclass
class Reader:
    """`line` is being read, `number` counts it from 0; `position` is the offset of what comes next in it."""

    text: str
    report: Report
    lines: list[Line]
    number: int = 0
    line: Line = field(init=False)
    position: int = 0
    mistakes: int = 0
    pieces: list[Piece] = field(default_factory=list[Piece])
    comments: list[Comment] = field(default_factory=list[Comment])

    def __post_init__(self) -> None:
        self.line = self.lines[0]

    @property
    def column(self) -> int:
        return self.position - self.line.start

    @property
    def at_end(self) -> bool:
        return self.position >= self.line.end

    def peek(self, length: int = 1) -> str:
        """What comes next in this line; shorter at its end."""
        end = self.position + length
        return self.text[self.position : end if end < self.line.end else self.line.end]

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """`pattern` at this position, within this line."""
        return pattern.match(self.text, self.position, self.line.end)

    def emit(self, kind: PieceKind, start: int, end: int, column: int = 0) -> None:
        self.pieces.append(Piece(kind, start, end, column, self.text[start:end]))

    def mistake(self, code: str, message: str, start: int, end: int, help: str) -> None:
        self.mistakes += 1
        self.report(code, message, Span(start, end), help)

    def skip_blanks(self) -> None:
        """Go on to the next character of this line that is not a blank, or to its end."""
        match = _NOT_BLANK.search(self.text, self.position, self.line.end)
        self.position = match.start() if match else self.line.end

    def trimmed(self, start: int, end: int) -> int:
        """`end`, or where the blanks before it begin."""
        while end > start and self.text[end - 1] == " ":
            end -= 1
        return end

    def take_comment(self) -> None:
        """Take the comment that starts here, to the end of the line."""
        start, line = self.position, self.line
        own_line = start == line.first
        if not own_line and self.text[start - 2 : start] != "  ":
            self.mistake(
                "MIX0110",
                "a comment after a value needs two spaces before it",
                start,
                line.end,
                "write two spaces before '#', or quote the text if '#' is part of it",
            )
        end = self.trimmed(start, line.end)
        self.comments.append(Comment(self.text[start:end], own_line, Span(start, end)))
        self.position = line.end

    def next_line(self) -> int | None:
        """The number of the next line that isn't blank."""
        for number in range(self.number + 1, len(self.lines)):
            if not self.lines[number].is_blank:
                return number
        return None

    def go_to(self, number: int) -> None:
        """Go on to the first character of line `number`."""
        self.number, self.line = number, self.lines[number]
        self.position = self.line.first
