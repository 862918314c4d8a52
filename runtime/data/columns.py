"""Which columns the files of a source have, and how they differ: shards that don't match are told, not hidden."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeAlias

from runtime.data.messages import kind

Shape: TypeAlias = tuple[tuple[str, str], ...]
"""Columns with the kinds of their values, in words."""
_NULL = kind(None)
_TOLD = 10
"""Columns that are told one by one; beyond them their number is."""


def shape_of(record: Mapping[str, Any]) -> Shape:
    """The columns of a record."""
    return tuple((column, kind(value)) for column, value in record.items())


_OF_LAYOUTS = frozenset(
    [
        "messages",
        "conversations",
        "prompt",
        "completion",
        "instruction",
        "input",
        "output",
        "response",
        "system",
        "tools",
        "chosen",
        "rejected",
    ]
)
"""Columns that make up a layout: files may differ in it, which is told by itself."""


class Columns:
    """The columns of each file, gathered file by file."""

    def __init__(self) -> None:
        self._files: list[tuple[str, dict[str, frozenset[str]]]] = []

    def begin(self, name: str) -> None:
        """What is added from now on belongs to this file."""
        self._files.append((name, {}))

    def add(self, shape: Shape) -> None:
        columns = self._files[-1][1]
        for column, held in shape:
            columns[column] = columns.get(column, frozenset()) | {held}

    def differences(self) -> dict[str, tuple[int, str]]:
        """How files differ, in words: in how many, and the first of them. Null fits with every kind."""
        files = [(name, columns) for name, columns in self._files if columns]
        found: dict[str, tuple[int, str]] = {}
        every = sorted({column for _, columns in files for column in columns})
        lacking = {
            column: [name for name, columns in files if column not in columns]
            for column in every
            if column not in _OF_LAYOUTS and any(column not in columns for _, columns in files)
        }
        if len(lacking) > _TOLD:
            some = [name for name, columns in files if len(columns) < len(every)]
            found[f"files without some of the {len(every)} columns that others have"] = len(some), some[0]
        else:
            for column, names in lacking.items():
                found[f"files without the column '{column}', which others have"] = len(names), names[0]
        for column in every:
            kinds = Counter(each for _, columns in files for each in columns.get(column, ()) if each != _NULL)
            usual, *others = sorted(kinds, key=lambda each: (-kinds[each], each)) or [_NULL]
            for other in others[:_TOLD]:
                names = [name for name, columns in files if other in columns.get(column, ())]
                found[f"files where '{column}' is {other}, and not {usual} as in most"] = len(names), names[0]
        return found
