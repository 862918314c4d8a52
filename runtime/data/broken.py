"""Records that can't be used: set aside with file, line and reason; too many of them stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.errors import UserError

SHOWN = 5
"""Broken records that an error names."""


class BrokenError(Exception):
    """A record can't be used; the text says why."""


@dataclass(frozen=True)
class Broken:
    """A record that was set aside, with the reason in words."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


def check_broken(count: int, first: Sequence[object], total: int, mend: str) -> None:
    """UserError where `count`, more than 1% of `total` records, are broken; the first print as place and reason."""
    if count * 100 <= total:
        return
    shown = "".join(f"\n  {item}" for item in first[:SHOWN])
    more = f"\n  and {count - SHOWN:,} more" if count > SHOWN else ""
    raise UserError(f"{count:,} of {total:,} records can't be used; more than 1% stops here:{shown}{more}", mend)
