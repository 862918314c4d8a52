"""Parses JSON more strictly than Python does: no NaN, no key twice, no nesting without end."""

from __future__ import annotations

import json
from typing import Any

from runtime.data.broken import BrokenError

DEEPEST = 256
"""Levels of lists and objects that a record may have; so it can be parsed again wherever it goes."""


class Parser:
    """A parser that is made once and used for many texts: making one costs as much as a short record."""

    def __init__(self) -> None:
        self._fault: str | None = None
        self._decoder = json.JSONDecoder(parse_constant=self._constant, object_pairs_hook=self._object)

    def value(self, text: str) -> Any:
        """The value of a text. Raises BrokenError."""
        return self._checked(self._run(self._decoder.decode, text), text)

    def record(self, text: str) -> dict[str, Any]:
        """The object of a text. Raises BrokenError."""
        value = self.value(text)
        if not isinstance(value, dict):
            raise BrokenError("it is JSON, but not an object: each line holds one record in braces")
        return value

    def first(self, text: str, start: int) -> tuple[Any | BrokenError, int]:
        """The value that begins at `start`, or what is wrong with it, and where it ends.

        Raises json.JSONDecodeError where the text stops being JSON, perhaps because it goes on later.
        """
        self._fault = None
        value, end = self._decoder.raw_decode(text, start)
        try:
            return self._checked(value, text[start:end]), end
        except BrokenError as error:
            return error, end

    def _run(self, decode: Any, text: str) -> Any:
        self._fault = None
        try:
            return decode(text)
        except json.JSONDecodeError as error:
            raise BrokenError(f"it is not JSON: {error.msg.removesuffix(' at')} at column {error.colno}") from error
        except (RecursionError, ValueError) as error:
            raise BrokenError(unreadable(error)) from error

    def _checked(self, value: Any, text: str) -> Any:
        if self._fault is not None:
            raise BrokenError(self._fault)
        if text.count("[") + text.count("{") > DEEPEST and _deeper(value, DEEPEST):
            raise BrokenError(_TOO_DEEP)
        return value

    def _constant(self, name: str) -> None:
        self._fault = self._fault or f"it is not JSON: {name} is no number"

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            self._fault = self._fault or f"it has the key {twice!r} twice in one object"
        return found


_TOO_DEEP = f"it nests deeper than {DEEPEST} levels"


def unreadable(error: RecursionError | ValueError) -> str:
    """Why a text that may be JSON isn't read: it nests too deep, or has a number of thousands of digits."""
    return _TOO_DEEP if isinstance(error, RecursionError) else "it holds an integer of more than 4,300 digits"


def _deeper(value: Any, levels: int) -> bool:
    """Level by level, since a recursive walk would meet the limit that it looks for."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return any(isinstance(each, dict | list) for each in level)
