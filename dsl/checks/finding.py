"""What a rule finds, and where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dsl.declarations.base import Declaration, Place
from dsl.hole import HOLE, IncompleteError
from dsl.source import Span


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake in words; the rule's row in the table has its code and severity."""

    message: str
    place: Place
    help: str


def at(declaration: Declaration, *paths: str) -> Place:
    """Where the first of these fields that is written stands, else the declaration itself.

    One that a call gives comes before those that the declaration says itself, these before what it takes over: what
    was changed last made it wrong.
    """
    written = [path for path in paths if path in declaration.places]
    if len(written) > 1:
        written.sort(key=lambda path: _distance(declaration, path))
    return declaration.places[written[0]] if written else declaration.place


def _distance(declaration: Declaration, path: str) -> int:
    """From how near a field comes: 0 from a call, 1 from the declaration itself, 2 from one that it extends."""
    outer = [path[: match.start()] for match in re.finditer(r"[.\[]", path)]
    if any(
        _is_argument(declaration, declaration.places[one], one) for one in (*outer, path) if one in declaration.places
    ):
        return 0
    return 1 if is_own(declaration, declaration.places[path]) else 2


def _is_argument(declaration: Declaration, place: Place, path: str) -> bool:
    """Whether a field stands in a call: not in a declaration of its kind, or beside a `path=`."""
    text, start, end = place.source.text, place.span.start, place.span.end
    if not text.startswith(f"{type(declaration).__name__.lower()} ", _top_level(text, start)):
        return True
    around = text[max(start - len(path) - 20, 0) : start], text[start : end + 20]
    name = rf"(?<![\w.]){re.escape(path)} *="
    return bool(re.search(rf"{name} *$", around[0]) or re.match(rf"{name}(?!=)", around[1]))


def _top_level(text: str, position: int) -> int:
    """Where the top-level key starts that holds a position."""
    start = text.rfind("\n", 0, position) + 1
    while start > 0 and text[start] in " #\r\n":
        start = text.rfind("\n", 0, start - 1) + 1
    return start


def says(declaration: Declaration, *fields: str) -> bool:
    """Whether a declaration says any of these fields itself, or a call of it does.

    What is wrong with fields that it takes over, all of them, is told of the declaration that it takes them from.
    """
    within = [path for path in declaration.places if re.split(r"[.\[]", path, maxsplit=1)[0] in fields]
    return any(_distance(declaration, path) < 2 for path in within)


def is_own(declaration: Declaration, place: Place) -> bool:
    """Whether something is written in the declaration itself, and not in one that it extends, or in a call of it."""
    if place.source != declaration.place.source or place.span.start < declaration.place.span.start:
        return False
    return re.search(r"\n[^\s#]", place.source.text[declaration.place.span.end : place.span.start]) is None


def key_place(declaration: Declaration, path: str, key: str, *others: str) -> Place:
    """Where the key of an entry stands; its value, where that can't be told."""
    place = at(declaration, path, *others)
    before = place.source.text[: place.span.start].rstrip()
    if before.endswith(f"{key}:"):
        return Place(place.source, Span(len(before) - len(key) - 1, len(before) - 1))
    return place


def item_place(place: Place, name: str) -> Place:
    """Where a name stands in a flow, with its alias and its arguments; all of the flow, where that can't be told."""
    pattern = rf"(?<![\w.])(?:\w+\.)?{re.escape(name)}(?![\w.])(?:\(.*?\)(?=\s*(?:\|>|\Z)))?"
    found = [*re.finditer(pattern, place.source.text[place.span.start : place.span.end], re.DOTALL)]
    if len(found) != 1:
        return place
    return Place(place.source, Span(place.span.start + found[0].start(), place.span.start + found[0].end()))


def title(declaration: Declaration) -> str:
    """`train common.finetune`."""
    return f"{type(declaration).__name__.lower()} {declaration.name}"


def given(declaration: Declaration, fields: Sequence[str]) -> list[str]:
    """Which of these fields are written, by the declaration or what it extends, also those that are written wrong.

    Raises IncompleteError where one may be written that a mistake hides.
    """
    known = declaration.by_written_name()
    found = [field for field in fields if field in declaration.places]
    if any(getattr(declaration, known[field].name) is HOLE for field in fields if field not in found):
        raise IncompleteError
    return found


def is_given(declaration: Declaration, field: str) -> bool:
    return bool(given(declaration, [field]))
