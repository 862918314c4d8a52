"""Values of typed scalars: what a count, a quantity, a flow or a predicate is once parsed.

Every value is frozen and hashable. Those of several words keep where each stands in the file: `span`, which takes no
part in equality. A quantity or a range stands where its scalar does.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from dsl.source import Span

NOWHERE = Span(0, 0)
"""The place of what was written in no file: a default, a `--set`."""

Unit = Literal[
    "tokens", "trained tokens", "steps", "epochs", "examples", "prompts", "completions", "bytes", "minutes", "dollars"
]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A count with its unit. Whole for all units but epochs, minutes and dollars."""

    count: Fraction
    unit: Unit


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of a mix a part is. `value` is a Fraction for `percent` (1 is the whole) and `ratio`."""

    kind: Literal["percent", "ratio", "quantity", "all", "rest"]
    value: Fraction | Quantity | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of a stage: `start`, `end`, a fraction of its length, or a quantity; `of` names another stage."""

    kind: Literal["start", "end", "fraction", "quantity"]
    value: Fraction | Quantity | None = None
    of: str | None = None
    every: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """`low..high`, both inclusive."""

    low: Fraction
    high: Fraction


@dataclass(frozen=True, slots=True)
class Name:
    """A declaration, here (`fiction`), in an import (`common.finetune`) or derived (`web.holdout`)."""

    text: str
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call as balanced text; `path` is its dotted field, None for a positional one."""

    path: str | None
    text: str
    span: Span = field(default=NOWHERE, compare=False)
    """Of `text` alone."""


@dataclass(frozen=True, slots=True)
class Call:
    """`adamw(lr=1e-4)`: a built-in, or a declaration with fields replaced."""

    name: Name
    arguments: tuple[Argument, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Flow:
    """`first |> second(x=1) |> third`: left to right, always application."""

    items: tuple[Name | Call, ...]
    span: Span = field(default=NOWHERE, compare=False)


# Predicates: total boolean expressions over a record's fields.


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the record: `turns`, `took_bait`."""

    name: str
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant of a predicate: a number (percent as its fraction), a quoted label, a boolean."""

    value: Fraction | str | bool
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """`left OPERATOR right`; in a predicate over fields, in a claim over results."""

    operator: Literal["<", "<=", ">", ">=", "==", "!="]
    left: Expression
    right: Expression
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class InRange:
    """`tokens in 200..6000`."""

    value: Expression
    range: Range
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Matches:
    """`matches(assistant, "(?i)harm")`: an RE2 pattern found anywhere in a text field."""

    field: Field
    pattern: str
    span: Span = dataclasses.field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Has:
    """`has(took_bait)`: the record has this field, and it is not null."""

    field: Field
    span: Span = dataclasses.field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    operand: Predicate
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Logic:
    """`and` or `or` over two or more operands."""

    operator: Literal["and", "or"]
    operands: tuple[Predicate, ...]
    span: Span = field(default=NOWHERE, compare=False)


Predicate = Compare | InRange | Matches | Has | Not | Logic | Field

# Claims: a Compare whose sides are arithmetic over results.


@dataclass(frozen=True, slots=True)
class EvalReference:
    """`bait_margin(reasons, at=all)`: an eval's result; the first positional argument is the arm."""

    name: Name
    arguments: tuple[Argument, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    operator: Literal["+", "-", "*", "/"]
    left: Expression
    right: Expression
    span: Span = field(default=NOWHERE, compare=False)


Expression = Field | Constant | EvalReference | Arithmetic
