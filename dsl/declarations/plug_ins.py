"""What a package says of a transform that it brings: a class with typed fields, and where its function is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, TypeGuard, cast

from pydantic_core import PydanticUndefined

from dsl.declarations.base import declared
from dsl.declarations.shapes import ListOf, OneOf, Shape, Typed
from dsl.declarations.transforms import ALL, Transform
from dsl.record_fields import DERIVED, OWN
from dsl.values import Range

SCALARS = ("count", "number", "percent", "boolean", "range", "text", "location")
"""What a field of a plug-in may be, beside words and lists of these."""

_RUNS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_FIELD = re.compile(r"[a-z][a-z0-9_]*")


class PlugIn(Transform):
    """A transform that an installed package brings.

    Its class says, beside its fields, the formats that it `takes` and the one that it `gives` (None: the same), the
    fields that it `makes`, which conditions can then test, and what it `runs`, as `MODULE:FUNCTION`.
    """

    makes: ClassVar[tuple[str, ...]] = ()
    runs: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """A plug-in's result for a record that is left out, with the reason under which it is counted."""

    reason: str


def field(shape: Shape, description: str, *, default: Any = PydanticUndefined, positional: bool = False) -> Any:
    """A field of a plug-in: how it is written, and a sentence for the reference.

    Args:
        default: its value where it is left out; None says that there is none. Without a default it is required. A
            float counts as the decimal that it prints as.
        positional: whether a spec may give it without its name.
    """
    if isinstance(default, float) and not isinstance(shape, ListOf):
        default = Fraction(repr(default))
    elif isinstance(default, list):
        default = tuple(cast(list[Any], default))
    return declared("computation", shape, description, default=default, positional=positional)


def mistakes(model: object) -> Iterator[str]:
    """What is wrong with what an entry point names, each in words that follow its name."""
    if not (isinstance(model, type) and issubclass(model, PlugIn) and model is not PlugIn):
        yield "is no subclass of mixc.plugins.Transform"
        return
    if not (model.__doc__ or "").strip():
        yield "has no docstring, which is what `mixc explain` shows"
    yield from _mistakes_of_formats(model)
    if not _RUNS.fullmatch(str(model.runs)):
        yield f"runs {model.runs!r}, which is not 'MODULE:FUNCTION'"
    for name, facts in model.facts().items():
        default = model.model_fields[name].default
        if not (model.model_fields[name].description or "").strip():
            yield f"has a field '{name}' without a description"
        if not _is_allowed(facts.shape):
            yield f"has a field '{name}' of a type that plug-ins have not"
        elif default not in (PydanticUndefined, None) and not _is_value(facts.shape, default):
            yield f"has a field '{name}' whose default is {default!r}, which is no value of its type"


def _mistakes_of_formats(model: type[PlugIn]) -> Iterator[str]:
    takes, makes = cast(object, model.takes), cast(object, model.makes)
    if not _is_texts(takes) or not takes or not all(one in ALL for one in takes):
        yield f"takes {takes!r}, which is not a tuple of {', '.join(ALL)}"
        return
    if model.gives is not None and model.gives not in ALL:
        yield f"gives {model.gives!r}, which is none of {', '.join(ALL)}"
        return
    if not _is_texts(makes):
        yield f"makes {makes!r}, which is not a tuple of names"
        return
    for name in makes:
        if not _FIELD.fullmatch(name):
            yield f"makes a field {name!r}, which no condition can name"
        elif any(name in DERIVED[one] or name in OWN[one] for one in ((model.gives,) if model.gives else takes)):
            yield f"makes a field '{name}', which records have already"


def _is_texts(value: object) -> TypeGuard[tuple[str, ...]]:
    return isinstance(value, tuple) and all(isinstance(one, str) for one in cast(tuple[object, ...], value))


def _is_allowed(shape: Shape) -> bool:
    match shape:
        case Typed(kind):
            return kind in SCALARS
        case OneOf():
            return True
        case ListOf(item, entry=None):
            return not isinstance(item, ListOf) and _is_allowed(item)
        case _:
            return False


def _is_value(shape: Shape, value: object) -> bool:
    """Whether a default is what the binder would make. A location has none: it would be relative to nothing."""
    match shape:
        case Typed("count"):
            return isinstance(value, int) and not isinstance(value, bool)
        case Typed("number" | "percent"):
            return isinstance(value, Fraction)
        case Typed("boolean"):
            return isinstance(value, bool)
        case Typed("range"):
            return isinstance(value, Range)
        case Typed("text"):
            return isinstance(value, str)
        case OneOf(words):
            return isinstance(value, str) and (not words or value in words)
        case ListOf(item):
            return isinstance(value, tuple) and all(_is_value(item, one) for one in cast(tuple[object, ...], value))
        case _:
            return False
