"""What may stand at a place of a file: the answer to 'where am I?'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dsl.declarations.base import Written
from dsl.declarations.shapes import Shape
from dsl.scope import Scope


@dataclass(frozen=True, slots=True)
class TopLevel:
    """A key in the first column: a directive, or a kind and a name."""

    given: frozenset[str]


@dataclass(frozen=True, slots=True)
class FieldNames:
    """A field of a declaration, a record or a built-in: `lr: ` in a mapping, `lr=` in a call.

    `kind` is that of a declaration, which can also extend another; `reaches` where a dotted path goes inside.
    """

    model: type[Written]
    given: frozenset[str]
    form: Literal["mapping", "call"]
    kind: str | None = None
    reaches: bool = False


@dataclass(frozen=True, slots=True)
class LabelNames:
    """A key that is a free label, or the name of a declaration of one of `kinds`."""

    kinds: tuple[str, ...]
    given: frozenset[str]


@dataclass(frozen=True, slots=True)
class BuiltInNames:
    """The one key of a mapping that is a call of a built-in."""

    table: Mapping[str, type[Written]]


@dataclass(frozen=True, slots=True)
class ImportNames:
    """An alias of an import, or a word of its long form: `file`, `let`."""

    is_alias: bool
    given: frozenset[str]


@dataclass(frozen=True, slots=True)
class ImportFile:
    """The path of a file to import."""


@dataclass(frozen=True, slots=True)
class ConstantNames:
    """A constant that is declared here, or one of an import that gets another value; `scope` has it."""

    scope: Scope
    given: frozenset[str]
    is_declaration: bool


@dataclass(frozen=True, slots=True)
class ClaimArguments:
    """Inside the parentheses after an eval in a claim; `first` where an arm may stand."""

    first: bool
    given: frozenset[str]


@dataclass(frozen=True, slots=True)
class LevelNames:
    """The level of a factor, in a claim."""

    factor: str


@dataclass(frozen=True, slots=True)
class ValueOf:
    """A value of this shape; `text` is what is written of it before the end of the word.

    `is_plain` where it is the whole of a scalar without quotes, so that a constant can stand there.
    """

    shape: Shape
    text: str
    is_plain: bool


Expects = (
    TopLevel
    | FieldNames
    | LabelNames
    | BuiltInNames
    | ImportNames
    | ImportFile
    | ConstantNames
    | ClaimArguments
    | LevelNames
    | ValueOf
)
