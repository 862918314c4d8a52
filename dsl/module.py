"""A file with everything bound: what the compiler takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from dsl.declarations.base import Declaration
from dsl.declarations.models import Model, ModelFlow
from dsl.declarations.studies import Study
from dsl.source import SourceFile

_D = TypeVar("_D", bound=Declaration)


@dataclass(frozen=True, eq=False)
class Module:
    """The declarations of a file by their own names, in order, and the modules that it imports by alias.

    `Declaration.name` is as seen from the file that was loaded, also in the modules that it imports.
    """

    path: Path
    root: Path
    source: SourceFile
    declarations: Mapping[str, Declaration]
    imports: Mapping[str, Module]
    constants: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The text of each `let:` constant, as this use of the file has it."""

    def find(self, name: str) -> Declaration | None:
        """A declaration by its name as seen from this file: `reasons`, `honeypot.bait_margin`."""
        alias, dot, rest = name.partition(".")
        if dot and alias in self.imports:
            return self.imports[alias].find(rest)
        return self.declarations.get(name)

    def names(self) -> list[str]:
        """All names that `find` knows: this file's, then those of its imports."""
        imported = [f"{alias}.{name}" for alias, module in self.imports.items() for name in module.declarations]
        return [*self.declarations, *imported]

    def of_kind(self, kind: type[_D]) -> list[_D]:
        """This file's declarations of one kind, in order."""
        return [one for one in self.declarations.values() if isinstance(one, kind)]

    def studies(self) -> list[Study]:
        """This file's studies, in order."""
        return self.of_kind(Study)

    def models(self) -> list[Model]:
        """This file's models that a flow trains, in order."""
        return [one for one in self.of_kind(Model) if isinstance(one.from_, ModelFlow)]
