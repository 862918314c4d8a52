"""From the text of a `.mix` file to its syntax tree, with every mistake of its form."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeVar

from dsl.build_tree import build_tree
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.layout import add_indentation
from dsl.lines import Reader, Report, split_lines
from dsl.scan import scan
from dsl.source import SourceFile, Span
from dsl.tree import Document, Entry, Mapping, Node, Sequence

_FORBIDDEN = re.compile(
    r"\t+|\r(?!\n)|[^\t\r\n -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""Tabs, line ends other than \\n and \\r\\n, byte order marks, and what YAML calls unprintable."""


def parse(source: SourceFile) -> tuple[Document, list[Diagnostic]]:
    """The tree of a file, and all that is wrong with its form in the order of the text.

    Where something is wrong the tree holds what could be made out; it raises nothing, whatever the text.
    """
    diagnostics: list[Diagnostic] = []

    def report(code: str, message: str, span: Span, help: str) -> None:
        diagnostics.append(Diagnostic(code, message, source, span, help))

    text = _without_forbidden(source.text, report)
    reader = Reader(text, report, split_lines(text))
    scan(reader)
    pieces = list(add_indentation(reader))
    root = _without_duplicate_keys(build_tree(text, pieces), report)
    document = Document(source, root, tuple(reader.comments))
    return document, _without_consequences(diagnostics)


def _without_forbidden(text: str, report: Report) -> str:
    """`text` with a blank for every character that may not stand in a file; reports the first of each line."""
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
            message = f"the character U+{ord(match.group()):04X}, which is not allowed in a file"
            help = "leave it out; where it is meant, write its escape in double quotes"
        report(code, message, Span(*match.span()), help)
    return _FORBIDDEN.sub(lambda match: " " * len(match.group()), text)


_N = TypeVar("_N", Entry, Mapping, Node)


def _without_duplicate_keys(node: _N, report: Report) -> _N:
    """`node` without the entries of mappings whose key was there before; reports these."""
    match node:
        case Sequence(items=items):
            return replace(node, items=tuple(_without_duplicate_keys(item, report) for item in items))
        case Mapping(entries=entries):
            kept: dict[str, Entry] = {}
            for entry in entries:
                if entry.key.text == "<<" and entry.key.style == "plain":
                    continue  # a merge key, which the scanner has reported
                first = kept.setdefault(entry.key.text, entry)
                if first is not entry:
                    message = f"the key '{entry.key.text}' is there already"
                    report("MIX0108", message, entry.key.span, "leave one of the two out, or give it another name")
            return replace(node, entries=tuple(_without_duplicate_keys(entry, report) for entry in kept.values()))
        case Entry(value=value):
            return replace(node, value=value and _without_duplicate_keys(value, report))
        case _:
            return node


def _without_consequences(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """In the order of the text, one for each place, and without what only follows from a forbidden character: the rest
    of its line, and what is said of indentation in a file with tabs."""
    characters = [each for each in diagnostics if each.code in ("MIX0101", "MIX0102")]
    lines = {_line(each) for each in characters}
    has_tabs = any(each.code == "MIX0101" for each in characters)
    others = [each for each in diagnostics if _line(each) not in lines and not (has_tabs and each.code == "MIX0103")]
    first_at = {each.span.start: each for each in reversed([*characters, *others])}
    return sorted(first_at.values(), key=lambda each: each.span.start)


def _line(diagnostic: Diagnostic) -> int:
    return diagnostic.source.position(diagnostic.span.start)[0]
