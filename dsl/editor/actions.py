"""The mends that can be made at a keypress: those whose help says exactly what to write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dsl.diagnostics.diagnostic import Diagnostic
from dsl.files import EDITION
from dsl.source import SourceFile, Span
from dsl.tree import Document, Entry, Mapping, Node, Scalar, Sequence

_MEANT = re.compile(r"did you mean '([^']+)'\?")
_QUOTED = re.compile(r"'([^']+)'")
_WRITE_THIS = re.compile(r"write '([a-z]\w*(?: [a-z]\w*:|: [^'…:#]+))'")
"""`source chats:` or `format: chat`."""
_WRITE_PERCENT = re.compile(r"write '([0-9.]+%)'")
_PROSE = re.compile(r" *(doc|question): ")
_CLOSE_WITH = re.compile(r"close it with '([\]})])'")


@dataclass(frozen=True, slots=True)
class Mend:
    """`text` in place of `span` makes a diagnostic go away; `is_preferred` where there is no other way to mean it."""

    title: str
    span: Span
    text: str
    is_preferred: bool = True


def mends(diagnostic: Diagnostic, document: Document) -> list[Mend]:
    """What can be done about a diagnostic of a file whose tree is `document`; nothing that is a guess."""
    text = diagnostic.source.text
    found = [one for one in _mends(diagnostic, document) if text[one.span.start : one.span.end] != one.text]
    alone = len(found) == 1
    return [Mend(one.title, one.span, one.text, one.is_preferred and alone) for one in found]


def _mends(diagnostic: Diagnostic, document: Document) -> Iterator[Mend]:
    span, text, help = diagnostic.span, diagnostic.source.text, diagnostic.help or ""
    if meant := _MEANT.search(help):
        word = _wrong_word(diagnostic)
        if word is not None and not _is_taken(document, word, meant.group(1)):
            yield Mend(f"Write '{meant.group(1)}'", word, meant.group(1))
        return
    match diagnostic.code:
        case "MIX0101":
            yield Mend("Write blanks", span, "  " * (span.end - span.start))
        case "MIX0110":
            blanks = len(text[: span.start]) - len(text[: span.start].rstrip(" "))
            yield Mend("Write two spaces before '#'", Span(span.start, span.start), " " * (2 - blanks))
            yield from _quoted(document, span, diagnostic.source)
        case "MIX0112" if text[span.start : span.start + 1] == ":":
            yield Mend("Write a blank after the colon", Span(span.start + 1, span.start + 1), " ")
        case "MIX0115" if percent := _WRITE_PERCENT.fullmatch(help):
            if scalar := _scalar_at(document.root, span):
                yield Mend(f"Write '{percent.group(1)}'", scalar.span, percent.group(1))
        case "MIX0113" | "MIX0115" if "|>" not in help:
            yield from _quoted(document, span, diagnostic.source)
        case "MIX0117" if close := _CLOSE_WITH.search(help):
            yield Mend(f"Write '{close.group(1)}'", span, close.group(1))
        case "MIX0117" if text[span.start : span.end] == ",":
            yield Mend("Leave the comma out", span, "")
        case "MIX0118" if text[span.start : span.start + 1] == "\\":
            yield Mend("Write '\\\\'", Span(span.start, span.start), "\\")
        case "MIX0119" if write := _WRITE_THIS.fullmatch(help):
            yield Mend(f"Write '{write.group(1)}'", span, write.group(1))
        case "MIX0219" if any(entry.value and entry.value.span == span for entry in document.root.entries):
            yield Mend(f"Write 'edition: {EDITION}'", span, EDITION)
        case "MIX0220":
            yield Mend(f"Write 'edition: {EDITION}'", span, f"edition: {EDITION}\n\n")
        case "MIX0314":
            yield from _numbers(diagnostic)
        case "MIX0318" | "MIX0341" | "MIX0342":
            yield from _left_out(document, span)
        case _:
            pass


def _wrong_word(diagnostic: Diagnostic) -> Span | None:
    """Which part of the place is the word that a message calls wrong; None where it isn't there."""
    start = diagnostic.span.start
    marked = diagnostic.source.text[start : diagnostic.span.end]
    for wrong in _QUOTED.findall(diagnostic.message):
        places = [match.start() for match in re.finditer(rf"(?<![\w.]){re.escape(wrong)}(?![\w.])", marked)]
        if len(places) == 1:
            return Span(start + places[0], start + places[0] + len(wrong))
    return None


def _is_taken(document: Document, span: Span, word: str) -> bool:
    """Whether a place is a key of a mapping that has this key already."""
    return any(
        entry.key.span == span and any(each.key.text == word for each in mapping.entries)
        for mapping, entry in _entries(document.root)
    )


def _numbers(diagnostic: Diagnostic) -> Iterator[Mend]:
    """`64Ki` or `64000` for `64k`."""
    wrong = _wrong_word(diagnostic)
    if wrong is not None:
        for number in _QUOTED.findall(diagnostic.help or ""):
            yield Mend(f"Write '{number}'", wrong, number)


def _quoted(document: Document, span: Span, source: SourceFile) -> Iterator[Mend]:
    """The plain value that a place is in, to the end of its line, in quotes, if it is prose; others quotes break."""
    scalar = _scalar_at(document.root, span)
    if scalar is None or scalar.style != "plain":
        return
    if not _PROSE.match(source.line(source.position(scalar.span.start)[0])):
        return
    line_end = source.text.find("\n", span.end)
    end = len(source.text) if line_end < 0 else line_end
    stop = scalar.span.end if span.end <= scalar.span.end else len(source.text[:end].rstrip())
    whole = source.text[scalar.span.start : stop]
    if "'" not in whole and "\n" not in whole:
        yield Mend("Put the text in quotes", Span(scalar.span.start, stop), f"'{whole}'")


def _scalar_at(node: Node, span: Span) -> Scalar | None:
    """The value that holds a place, or ends before it on the same line."""
    values: list[Node] = []
    match node:
        case Scalar():
            return node
        case Mapping(entries):
            values = [entry.value for entry in entries if entry.value]
        case Sequence(items):
            values = list(items)
    before = [one for one in values if one.span.start <= span.start]
    return _scalar_at(before[-1], span) if before else None


def _left_out(document: Document, span: Span) -> Iterator[Mend]:
    """The file without the entry that a place is the key or the value of, where others stay beside it."""
    text = document.source.text
    for mapping, entry in _entries(document.root):
        if span not in (entry.key.span, entry.value.span if entry.value else None):
            continue
        if len(mapping.entries) == 1:
            owner = next((one for one in document.root.entries if one.value is mapping), None)
            if owner is None:
                return
            entry = owner
        start = text.rfind("\n", 0, entry.span.start) + 1
        stop = text.find("\n", entry.span.end)
        if mapping.style == "block" and not text[start : entry.span.start].strip():
            yield Mend("Leave it out", Span(start, len(text) if stop < 0 else stop + 1), "")


def _entries(node: Node) -> Iterator[tuple[Mapping, Entry]]:
    """Every entry of every mapping, each with its mapping."""
    match node:
        case Mapping(entries):
            for entry in entries:
                yield node, entry
                if entry.value is not None:
                    yield from _entries(entry.value)
        case Sequence(items):
            for item in items:
                yield from _entries(item)
        case _:
            pass
