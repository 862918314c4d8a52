"""Typed access to the settings in a model's `config.json`: what is wrong is refused by its name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

from runtime.errors import UserError

Written = dict[str, Any]
"""JSON: settings by name."""


@dataclass(frozen=True)
class Settings:
    """The settings of one file, or of a table within it. Everything raises `UserError`."""

    written: Written
    place: Path
    defaults: Written = field(default_factory=dict[str, Any])
    """What a setting is that isn't written; one that is written as null has no value."""
    table: str = ""
    """The name of the table, with a dot behind it, where it is one."""

    def get(self, name: str) -> Any:
        """A setting's value, None where it has none."""
        return self.written[name] if name in self.written else self.defaults.get(name)

    def refuse(self, name: str, help: str) -> NoReturn:
        """Says which setting can't be had, as it is written or would be."""
        message = f"'{self.table}{name}: {self.get(name)}' isn't supported"
        raise UserError(message, help, str(self.place))

    def count(self, name: str) -> int:
        """A whole number above 0."""
        value = self._needed(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.refuse(name, "it must be a whole number above 0")
        return value

    def number(self, name: str) -> float:
        """A number above 0."""
        value = self._needed(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
            self.refuse(name, "it must be a number above 0")
        return float(value)

    def optional_count(self, name: str) -> int | None:
        return None if self.get(name) is None else self.count(name)

    def optional_number(self, name: str) -> float | None:
        return None if self.get(name) is None else self.number(name)

    def switch(self, name: str) -> bool:
        """True or false; false where nothing is said."""
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            self.refuse(name, "it must be true or false")
        return bool(value)

    def inner(self, name: str) -> Settings:
        """The table of that name, empty where there is none."""
        value = self.get(name)
        if value is not None and not isinstance(value, dict):
            self.refuse(name, "it must be a table of settings")
        return Settings(cast(Written, value or {}), self.place, table=f"{self.table}{name}.")

    def _needed(self, name: str) -> object:
        value = self.get(name)
        if value is None:
            raise UserError(f"the configuration lacks '{self.table}{name}'", "use a complete model", str(self.place))
        return value
