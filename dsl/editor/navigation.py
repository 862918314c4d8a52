"""Where a name is declared, and every place that uses it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dsl.editor.target import At, ConstantOf, Declared, Imported, Target, place_of, target_at
from dsl.editor.view import View
from dsl.files import NAME, RESERVED


def definition(view: View, offset: int) -> At | None:
    """Where what stands at a place is declared."""
    pointed = target_at(view, offset)
    return place_of(pointed.target) if pointed else None


def named_at(view: View, offset: int) -> At | None:
    """The place of the declaration of a name that can be used elsewhere, and renamed; None where there is none."""
    pointed = target_at(view, offset)
    place = place_of(pointed.target) if pointed else None
    return place if place and _text(place) else None


def uses(views: Iterable[View], place: At) -> Iterator[At]:
    """All words of these files that mean what is declared at a place, the declaration itself among them."""
    name = re.compile(rf"(?<!\w){re.escape(_text(place))}(?!\w)")
    for view in views:
        for match in name.finditer(view.source.text):
            pointed = target_at(view, match.start())
            if pointed and pointed.span.start == match.start() and _is(pointed.target, place):
                yield At(view.scope.path, view.source, pointed.span)


def is_free(view: View, offset: int, name: str) -> bool:
    """Whether what stands at a place can be called `name`: well formed, and not what something else is called."""
    pointed = target_at(view, offset)
    if pointed is None or not NAME.fullmatch(name) or name in RESERVED:
        return False
    match pointed.target:
        case Declared(definition):
            scope = definition.scope
        case Imported(scope):
            pass
        case ConstantOf(scope):
            return name not in scope.constants
        case _:
            return True
    return name not in scope.definitions and name not in scope.imports


def _is(target: Target, place: At) -> bool:
    found = place_of(target)
    return found is not None and (found.path, found.span) == (place.path, place.span)


def _text(place: At) -> str:
    return place.source.text[place.span.start : place.span.end]
