"""What a rule finds, and where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dsl.declarations.base import Declaration, Place
from dsl.hole import HOLE, IncompleteError
from dsl.places import NEAREST, Places
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
    places = _places(declaration)
    written = [path for path in paths if path in places]
    if len(written) > 1:
        written.sort(key=lambda path: NEAREST.index(places.origin(path)))
    return places[written[0]] if written else declaration.place


def says(declaration: Declaration, *fields: str) -> bool:
    """Whether a declaration says any of these fields itself, or a call of it does.

    What is wrong with fields that it takes over, all of them, is told of the declaration that it takes them from.
    """
    places = _places(declaration)
    return any(field in places and places.origin(field) != "inherited" for field in fields)


def key_place(declaration: Declaration, path: str, *others: str) -> Place:
    """Where the key of an entry stands; where it has none, the entry itself or the first of the `others`."""
    return _places(declaration).key(path) or at(declaration, path, *others)


def _places(declaration: Declaration) -> Places:
    assert isinstance(declaration.places, Places)
    return declaration.places


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
