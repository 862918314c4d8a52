"""Rules for locations: where data, weights, prompts and templates are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from dsl.checks.finding import Finding, at, title
from dsl.declarations.base import Declaration, Written
from dsl.declarations.shapes import AnyOf, BuiltIn, FlowOf, ListOf, MappingOf, Record, Shape, Typed
from dsl.describe import known_help
from dsl.hole import HOLE

SCHEMES = {
    "gs": "gs://BUCKET/PATH",
    "s3": "s3://BUCKET/PATH",
    "hf": "hf://ORGANISATION/NAME, or hf://datasets/ORGANISATION/NAME/PATH",
    "package": "package://NAME/FILE",
}
"""What may stand before `://`, and how such a location is written."""


def locations_lead_somewhere(declaration: Declaration) -> Iterator[Finding]:
    """A location with a scheme has one that is known, and says what there is meant."""
    for path, text in _locations_in(declaration, ""):
        scheme, marked, rest = text.partition("://")
        if not marked:
            continue
        if scheme not in SCHEMES:
            message = f"unknown kind of location '{scheme}://' in {title(declaration)}"
            yield Finding(message, at(declaration, path, *_around(path)), known_help(scheme, SCHEMES))
        elif not all((rest.removeprefix("datasets/") if scheme == "hf" else rest).partition("/")[::2]):
            message = f"'{text}' in {title(declaration)} doesn't say what is there"
            yield Finding(message, at(declaration, path, *_around(path)), f"write {SCHEMES[scheme]}")


def _around(path: str) -> Iterator[str]:
    """The paths that a path lies in, inner ones first."""
    while path:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
        yield path


def _locations_in(value: Written, prefix: str) -> Iterator[tuple[str, str]]:
    """The path and text of every location in a value; nothing of other declarations that it names."""
    for name, field in type(value).by_written_name().items():
        yield from _locations(field.facts.shape, getattr(value, field.name), prefix + name)


def _locations(shape: Shape, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if value is HOLE or value is None:
        return
    match shape:
        case Typed("location") | FlowOf(or_location=True) if isinstance(value, str):
            yield path, value
        case BuiltIn() | Record():
            yield from _locations_in(value, f"{path}.")
        case ListOf(item):
            for index, each in enumerate(value):
                yield from _locations(item, each, f"{path}[{index}]")
        case MappingOf(item) if isinstance(value, dict):
            for key, each in cast(dict[str, Any], value).items():
                yield from _locations(item, each, f"{path}.{key}")
        case AnyOf(shapes):
            for one in shapes:
                yield from _locations(one, value, path)
        case _:
            pass
