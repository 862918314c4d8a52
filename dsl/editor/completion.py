"""What can be written at a place: the line may be half typed, as it is while someone types it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dsl.editor.candidates import Candidate, Typing, candidates
from dsl.editor.spot import Spot, spot_at
from dsl.editor.view import View
from dsl.parse import parse
from dsl.source import SourceFile, Span

_MARK = "\ue000"
"""Stands at the cursor while the tree is made: a character that continues a word, and that no one writes."""
_WORD = re.compile(r"\$?[\w.\-]*$")
_REST = re.compile(r"[\w.]*")
_ONLY_DASHES = re.compile(r" *(?:- +)*")
_TOP_LEVEL = re.compile(r"^[^ \t\r\n#]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The top-level entry around the cursor, with the mark in it: what is elsewhere can't change what fits here."""

    before: str
    after: str

    def spot(self, view: View, mark: str) -> Spot | None:
        source = SourceFile(view.source.path, f"{self.before}{mark}{self.after}")
        return spot_at(parse(source)[0], len(self.before), view.scope)


def completions(view: View, offset: int) -> list[Candidate]:
    """The candidates at a place, the likeliest first; each says what it replaces."""
    text = view.source.text
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    match = _WORD.search(line)
    word = match.group() if match else ""
    if word[:1].isdigit():
        return []
    rest = _REST.match(text, offset)
    end = rest.end() if rest else offset
    line_end = text.find("\n", end)
    following = text[end : len(text) if line_end < 0 else line_end].strip()
    lead = line[: len(line) - len(word)]
    is_fresh = _ONLY_DASHES.fullmatch(lead) is not None and not following
    typing = Typing(word, Span(offset - len(word), end), following[:1], is_fresh and not lead.strip(), line)
    found: dict[str, Candidate] = {}
    for spot in _spots(view, offset, is_fresh=is_fresh):
        for candidate in candidates(view, spot, typing):
            found.setdefault(candidate.label, candidate)
    return list(found.values())


def _spots(view: View, offset: int, *, is_fresh: bool) -> Iterator[Spot]:
    """What the word at the cursor can be: a value, and where it is alone on its line, a key."""
    text = view.source.text
    line_start = text.rfind("\n", 0, offset) + 1
    starts = [match.start() for match in _TOP_LEVEL.finditer(text)]
    start = max((one for one in starts if one <= line_start), default=0)
    stop = next((one for one in starts if one > line_start), len(text))
    chunk = _Chunk(text[start:offset], text[offset:stop])
    for mark in (_MARK, f"{_MARK}:") if is_fresh else (_MARK,):
        spot = chunk.spot(view, mark)
        if spot is not None:
            yield spot
