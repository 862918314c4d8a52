"""What a name, a constant or a path means in a file, as one use of that file sees it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path

from dsl.source import SourceFile
from dsl.terms import Cell
from dsl.tree import Scalar


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A top-level `KIND NAME:` as written.

    `kind` is None where there is no such kind, `cells` where it isn't a mapping; both have been reported.
    """

    kind: str | None
    name: str
    key: Scalar
    cells: dict[str, Cell] | None
    scope: Scope
    end: int = 0
    """Where its text ends, in its file."""
    is_whole: bool = True
    """Whether its text could be read without a mistake: else a field that isn't here may be one that got lost."""

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"

    def hidden_fields(self) -> set[str]:
        """The fields in whose text a mistake of form stands: what they hold may have got lost, in part or whole."""
        starts = sorted((cell.key.span.start, name) for name, cell in (self.cells or {}).items())
        ends = [*(start for start, _ in starts[1:]), self.end]
        return {name for (start, name), end in zip(starts, ends, strict=False) if self.scope.has_mistake(start, end)}

    @property
    def seen_name(self) -> str:
        """The name as seen from the file that was loaded."""
        return self.scope.prefix + self.name


@dataclass(frozen=True, slots=True, eq=False)
class Import:
    """An alias; `scope` is None where the file couldn't be loaded, which has been reported."""

    alias: Scalar
    scope: Scope | None


@dataclass(eq=False)
class Scope:
    """A file with the constants of one use of it."""

    source: SourceFile
    path: Path
    root: Path
    definitions: dict[str, Definition] = field(default_factory=dict[str, Definition])
    imports: dict[str, Import] = field(default_factory=dict[str, Import])
    constants: dict[str, Cell] = field(default_factory=dict[str, Cell])
    prefix: str = ""
    mistakes: tuple[int, ...] = ()
    """Where mistakes of form stand in the file that may have cost some of what is written, in order."""
    has_all_names: bool = True
    """False where a name that isn't here may be one that got lost to a mistake of form."""
    used: set[str] = field(default_factory=set[str])
    """Aliases and constants that something refers to."""
    wrong: set[str] = field(default_factory=set[str])
    """Names that don't tell what they mean, which has been reported: their uses only follow from it."""
    missed: set[str] = field(default_factory=set[str])
    """Kinds of declaration for which a name stands that is none of them: what is meant may seem unused."""

    def has_mistake(self, start: int, end: int) -> bool:
        """Whether a mistake of form stands in a part of the file."""
        return bisect_left(self.mistakes, start) < bisect_left(self.mistakes, end)
