"""How a field is written: the small vocabulary from which binder, reference and completion are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsl.declarations.base import Written
    from dsl.scalars import ScalarKind
    from dsl.values import Unit


@dataclass(frozen=True, slots=True)
class Typed:
    """One scalar by its grammar: `count`, `number`, `percent`, `boolean`, `range`, `amount`, `location`, `text`,
    `predicate`, `name`. `low` and `high` are allowed, `above` and `below` are not; an amount has one of `units`."""

    kind: ScalarKind
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    units: tuple[Unit, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity in one of `units`."""

    units: tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class Moments:
    """A `when`: one point or a list of them."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """A word of a list; an empty list takes any label."""

    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """The name of a declaration of one of `kinds` (`source` includes `NAME.holdout`)."""

    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FlowOf:
    """A name or a flow that ends as `kind`: a source through augments, or a model through stages."""

    kind: str
    or_location: bool = False
    or_base: bool = False


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A call of one of a table of built-ins, or the same as a one-key mapping."""

    table: Mapping[str, type[Written]]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; `or_one` takes a lone item as a list of one. With `entry`, each item is that value's first field.

    One that `lists_things` holds at least one item, and none of them twice.
    """

    item: Shape
    or_one: bool = False
    lists_things: bool = False
    entry: type[Written] | None = None


@dataclass(frozen=True, slots=True)
class MappingOf:
    """A mapping from free labels (or names of declarations of `keys`) to values.

    With `entry`, each key and value are the first two fields of that value, and the whole is a tuple, not a dict.
    """

    value: Shape
    keys: tuple[str, ...] = ()
    entry: type[Written] | None = None


@dataclass(frozen=True, slots=True)
class OneKey:
    """A mapping of one key, made into an `entry` of key and value: an item of an ordered list of named things."""

    value: Shape
    entry: type[Written]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A comparison over eval results, made into a `model` with the evals that it names."""

    model: type[Written]


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with fixed fields."""

    model: type[Written]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The first that fits what is written (a list, a mapping, or a scalar)."""

    shapes: tuple[Shape, ...]


Shape = (
    Typed
    | Measured
    | Moments
    | OneOf
    | Reference
    | FlowOf
    | BuiltIn
    | ListOf
    | MappingOf
    | OneKey
    | Record
    | Claimed
    | AnyOf
)
