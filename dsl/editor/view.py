"""One version of a file as an editor sees it: its text, its tree, and what loading it gave."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dsl.declarations.base import Declaration
from dsl.hole import HOLE
from dsl.resolve import Loaded
from dsl.scope import Definition, Scope
from dsl.source import SourceFile
from dsl.terms import Items, Table
from dsl.tree import Document, Scalar


@dataclass(frozen=True)
class View:
    """A file that could be read; every question about it works on this and changes nothing."""

    scope: Scope
    loaded: Loaded
    document: Document
    """The tree of the text, whatever is wrong with it."""

    @property
    def source(self) -> SourceFile:
        return self.scope.source

    def declaration(self, definition: Definition) -> Declaration | None:
        """What a definition of this file or of an import was resolved to; there may be holes in it."""
        resolver = self.loaded.resolver
        found = resolver.declared.get(definition) if resolver else None
        return None if found is None or found is HOLE else found

    def labels(self, definition: Definition, field: str) -> list[Label]:
        """The arms of a study, or the factors of its matrix with their levels, also those that it extends."""
        resolver = self.loaded.resolver
        cell = resolver.cells(definition)[0].get(field) if resolver and definition.cells is not None else None
        match cell and cell.value:
            case Table(cells):
                return [Label(each.key, each.scope, ()) for each in cells.values()]
            case Items(items):
                found = [each for item in items if isinstance(item, Table) for each in item.cells.values()]
                return [
                    Label(
                        each.key,
                        each.scope,
                        tuple(Label(level.key, level.scope, ()) for level in each.value.cells.values())
                        if isinstance(each.value, Table)
                        else (),
                    )
                    for each in found
                ]
            case _:
                return []

    def shown(self, path: str) -> str:
        """A file's path for people: from the project's folder."""
        return os.path.relpath(os.path.realpath(path), self.scope.root)


@dataclass(frozen=True)
class Label:
    """The name of an arm, a factor or a level, where it is written."""

    key: Scalar
    scope: Scope
    levels: tuple[Label, ...]
