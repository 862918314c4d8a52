"""Gives every row the same value of a field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.data.rows import Rows, derived
from runtime.data.transforms.outcome import Outcome


def set_field(rows: Rows, field: str, value: str, path: Path) -> Outcome:
    """The rows with `field` set to the text `value`; what a row had there is replaced, and the note says so.

    Args:
        path: the Parquet file of the new rows.
    """
    replaced = 0

    def made() -> Iterator[tuple[int, dict[str, Any]]]:
        nonlocal replaced
        for number, record in rows.numbered():
            replaced += record.get(field) not in (None, value)
            yield number, {**record, field: value}

    result = derived(rows, made(), path)
    notes = (f"{replaced:,} of {len(rows):,} rows had another value of '{field}'",) if replaced else ()
    return Outcome(result, notes=notes)
