"""From the text of a `.mix` file to its syntax tree, with every mistake of its form."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dsl.blocks import Blocks, Mistake, first_of_each_key, parse_blocks
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.lines import Report
from dsl.source import SourceFile, Span
from dsl.tree import Document, Mapping

_BLANKS = r"\xa0\u1680\u2000-\u200b\u202f\u205f\u3000"
_FORBIDDEN = re.compile(
    r"\t+|\r(?!\n)|[^\t\r\n -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
    rf"|(?:(?<=[\n ,\[{{(])|(?<![\s\S]))[{_BLANKS}]+|[{_BLANKS}]+(?=[ \n,\]}})]|$)"
)
"""Tabs, line ends other than \\n and \\r\\n, byte order marks, what YAML calls unprintable, and blanks that only look
like one where a blank has a meaning: at the start or end of a text or item, or beside another blank."""

_UNUSUAL = re.compile(r"[^\n -~]")
"""Most files have nothing of this kind, which is told in a tenth of the time."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file's tree, its mistakes of form in the order of the text, and the parts that it was parsed in."""

    document: Document
    diagnostics: list[Diagnostic]
    blocks: Blocks

    @property
    def source(self) -> SourceFile:
        return self.document.source


def parse(source: SourceFile) -> tuple[Document, list[Diagnostic]]:
    """The tree of a file, and all that is wrong with its form in the order of the text.

    Where something is wrong the tree holds what could be made out; it raises nothing, whatever the text.
    """
    parsed = parse_again(source, {})
    return parsed.document, parsed.diagnostics


def parse_again(source: SourceFile, known: Blocks) -> Parsed:
    """As `parse`, for a file of which some parts are `known` from an earlier text."""
    mistakes: list[Mistake] = []

    def report(code: str, message: str, span: Span, help: str) -> None:
        mistakes.append((code, message, span, help))

    text = _without_forbidden(source.text, report)
    parts = parse_blocks(text, known)
    for _, block in parts.values():
        mistakes += block.mistakes
    entries = tuple(first_of_each_key((entry for _, block in parts.values() for entry in block.entries), report))
    span = Span(entries[0].span.start, entries[-1].span.end) if entries else Span(0, 0)
    comments = tuple(comment for _, block in parts.values() for comment in block.comments)
    document = Document(source, Mapping(entries, "block", span), comments)
    diagnostics = [Diagnostic(code, message, source, place, help) for code, message, place, help in mistakes]
    return Parsed(document, _without_consequences(diagnostics), dict(parts.values()))


def _without_forbidden(text: str, report: Report) -> str:
    """`text` with a blank for every character that may not stand in a file; reports the first of each line."""
    if not _UNUSUAL.search(text):
        return text
    reported_line_end = -1
    for match in _FORBIDDEN.finditer(text):
        if match.start() <= reported_line_end:
            continue
        reported_line_end = text.find("\n", match.start())
        if reported_line_end < 0:
            reported_line_end = len(text)
        if match.group()[0] == "\t":
            code, message, help = "MIX0101", "a tab", "write blanks; inside text write '\\t' in double quotes"
        else:
            code = "MIX0102"
            message = f"the character U+{ord(match.group()[0]):04X}, which is not allowed in a file"
            help = "leave it out; where it is meant, write its escape in double quotes"
        report(code, message, Span(*match.span()), help)
    return _FORBIDDEN.sub(lambda match: " " * len(match.group()), text)


def _without_consequences(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """In the order of the text, one for each place, and without what only follows from a forbidden character: the rest
    of its line, and what is said of indentation where some of it is tabs or such characters."""
    characters = [each for each in diagnostics if each.code in ("MIX0101", "MIX0102")]
    lines = {_line(each) for each in characters}
    moved = any(each.code == "MIX0101" or not _before(each).strip() for each in characters)
    others = [each for each in diagnostics if _line(each) not in lines and not (moved and each.code == "MIX0103")]
    first_at = {each.span.start: each for each in reversed([*characters, *others])}
    return sorted(first_at.values(), key=lambda each: each.span.start)


def _before(diagnostic: Diagnostic) -> str:
    """What stands before it in its line."""
    line, column = diagnostic.source.position(diagnostic.span.start)
    return diagnostic.source.line(line)[: column - 1]


def _line(diagnostic: Diagnostic) -> int:
    return diagnostic.source.position(diagnostic.span.start)[0]
