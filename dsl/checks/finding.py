"""What a rule finds, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dsl.declarations.base import Declaration, Place
from dsl.hole import HOLE, IncompleteError


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake in words; the rule's row in the table has its code and severity."""

    message: str
    place: Place
    help: str


def at(declaration: Declaration, *paths: str) -> Place:
    """Where the first of these fields that is written stands, else the declaration itself."""
    return next((declaration.places[path] for path in paths if path in declaration.places), declaration.place)


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
