"""The table of judged answers that a score step leaves: one row a sampled answer, by item, then by sample."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

JUDGED = "judged.parquet"
SCHEMA = pa.schema(
    [
        ("item", pa.string()),
        ("sample", pa.int32()),
        ("id", pa.string()),
        ("messages", pa.string()),
        ("tools", pa.string()),
        ("answer", pa.string()),
        ("finish", pa.string()),
        ("label", pa.string()),
        ("value", pa.float64()),
        ("detail", pa.string()),
        ("unreadable", pa.string()),
    ]
)


@dataclass(frozen=True)
class Judged:
    """A sampled answer with what is made of it."""

    item: str
    """Identity of the prompt: answers to one are a cluster."""
    sample: int
    id: str | None
    """The row's own, for people."""
    messages: str
    """Of the prompt, as JSON in the layout of records."""
    tools: str
    """Those it shows, as a JSON list."""
    answer: str
    """What the model said; of a task of Inspect the whole conversation after the prompt, as text."""
    finish: str
    """Why it ended, in Inspect's words."""
    label: str | None = None
    value: float = nan
    """The score, NaN where there is none."""
    detail: str = ""
    """The judge's words."""
    unreadable: str | None = None
    """Why nothing can be made of the answer."""

    @property
    def conversation(self) -> list[dict[str, Any]]:
        """The messages of the prompt."""
        return json.loads(self.messages)


def write_judged(folder: Path, rows: Iterable[Judged]) -> None:
    """Writes `judged.parquet` into a step's folder."""
    pq.write_table(pa.Table.from_pylist([vars(row) for row in rows], SCHEMA), folder / JUDGED)


def read_judged(folder: Path) -> list[Judged]:
    """What `write_judged` wrote, in its order."""
    return [Judged(**row) for row in pq.read_table(folder / JUDGED).to_pylist()]
