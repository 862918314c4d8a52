"""What every declaration shares: frozen values, and fields that say what a change of them means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dsl.declarations.shapes import Shape
from dsl.source import SourceFile, Span

Role = Literal["computation", "execution", "retention", "remark"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written."""

    source: SourceFile
    span: Span

    def __str__(self) -> str:
        line, column = self.source.position(self.span.start)
        return f"{self.source.path}:{line}:{column}"


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """What a field of the language is, beside its Python type."""

    role: Role
    shape: Shape
    positional: bool = False


@dataclass(frozen=True, slots=True)
class WrittenField:
    """A field as the binder needs it: `name` is the Python one."""

    name: str
    facts: FieldFacts
    is_required: bool


def declared(
    role: Role,
    shape: Shape,
    description: str,
    *,
    default: Any = PydanticUndefined,
    alias: str | None = None,
    positional: bool = False,
) -> Any:
    """A field: its role, how it is written, and a sentence for the reference. Without a default it is required.

    `alias` is the written name where Python keeps the word (`from`, `for`).
    """
    facts = FieldFacts(role, shape, positional)
    return Field(default=default, alias=alias, description=description, json_schema_extra={"facts": facts})  # type: ignore[dict-item]


class Written(BaseModel):
    """A frozen value written in a spec: a declaration, or a built-in with its arguments.

    Raises TypeError at class creation for a field that doesn't say its role.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, populate_by_name=True, defer_build=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        for name, info in cls.model_fields.items():
            if name not in UNWRITTEN and _facts(info) is None:
                raise TypeError(f"{cls.__name__}.{name} isn't declared as computation, execution, retention or remark")

    @classmethod
    @cache
    def facts(cls) -> dict[str, FieldFacts]:
        """The written fields by their Python name."""
        found = {name: _facts(info) for name, info in cls.model_fields.items()}
        return {name: facts for name, facts in found.items() if facts is not None}

    @classmethod
    @cache
    def by_written_name(cls) -> dict[str, WrittenField]:
        """The fields that a spec can write, by the name that it writes (`from`, not `from_`), in order."""
        return {
            cls.model_fields[name].alias or name: WrittenField(name, facts, cls.model_fields[name].is_required())
            for name, facts in cls.facts().items()
        }


UNWRITTEN = frozenset({"name", "place", "places"})
"""Fields that no one writes: what a declaration is called as seen from the file that is run, and where it stands."""


def _facts(info: FieldInfo) -> FieldFacts | None:
    extra: Any = info.json_schema_extra
    facts = extra.get("facts") if extra else None
    return facts if isinstance(facts, FieldFacts) else None


class Declaration(Written):
    """A top-level `KIND NAME:` of a file, resolved: references are the declarations themselves.

    `name` is as seen from the file that was loaded (`honeypot.bait_margin`); `place` is where it is declared.
    `places` are those of its fields, by written path: `optimizer`, `optimizer.lr`, `apply[0]`.
    """

    name: str
    place: Place
    places: Mapping[str, Place] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.name}, {self.place}>"

    __str__ = __repr__
