"""A plug-in's fields as JSON and back, and what a plan says of the package that it is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from dsl.declarations.entry_points import version_with
from dsl.declarations.installed import offer_of
from dsl.declarations.plug_ins import PlugIn
from dsl.declarations.shapes import ListOf, Shape, Typed
from dsl.values import Range


def version_of(model: type[PlugIn]) -> str:
    """The version of the package and of the module that is run."""
    return version_with(offer_of(model), model.runs.partition(":")[0])


def to_json(transform: PlugIn, located: Callable[[str], str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields by name as JSON, numbers exact; and the locations among them, as `located` writes them."""
    files: list[str] = []

    def convert(shape: Shape, value: Any) -> Any:
        match shape, value:
            case Typed("location"), str():
                files.append(located(value))
                return files[-1]
            case ListOf(item), tuple():
                return [convert(item, one) for one in value]  # pyright: ignore[reportUnknownVariableType]
            case _, Fraction():
                return str(value)
            case _, Range(low, high):
                return [str(low), str(high)]
            case _:
                return value

    fields = {name: convert(facts.shape, getattr(transform, name)) for name, facts in transform.facts().items()}
    return fields, tuple(dict.fromkeys(files))


def from_json(model: type[PlugIn], fields: Mapping[str, Any], file: Callable[[str], Path]) -> PlugIn:
    """The plug-in with these fields, its locations as the paths that `file` gives. The reverse of `to_json`."""

    def convert(shape: Shape, value: Any) -> Any:
        match shape:
            case _ if value is None:
                return None
            case Typed("location"):
                return file(value)
            case Typed("number" | "percent"):
                return Fraction(value)
            case Typed("range"):
                return Range(*map(Fraction, value))
            case ListOf(item):
                return tuple(convert(item, one) for one in value)
            case _:
                return value

    return model.model_construct(**{name: convert(facts.shape, fields[name]) for name, facts in model.facts().items()})
