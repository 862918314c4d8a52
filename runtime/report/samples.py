"""Items whose margin a training moved most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from runtime.evals.score import margins


@dataclass(frozen=True)
class Sample:
    """An item as the base and an arm answered it. Margins are in nats, in favour of the aligned side."""

    name: str
    """The row's own id, or the beginning of its identity."""
    messages: tuple[Mapping[str, str], ...]
    aligned: str
    misaligned: str
    base_margin: float
    arm_margin: float


def moved_most(base: pa.Table, arm: pa.Table, by_length: bool, count: int = 3) -> list[Sample]:
    """The items, of those that both answered, whose margin moved most; largest first, then by identity."""
    before = dict(zip(base["item"].to_pylist(), margins(base, by_length).tolist(), strict=True))
    after = dict(zip(arm["item"].to_pylist(), margins(arm, by_length).tolist(), strict=True))
    moved = {item: after[item] - before[item] for item in after if item in before}
    readable = [item for item in moved if np.isfinite(moved[item])]
    chosen = sorted(readable, key=lambda item: (-abs(moved[item]), item))[:count]
    rows = {row["item"]: row for row in arm.to_pylist() if row["item"] in chosen}
    return [
        Sample(
            name=rows[item]["id"] or item[:12],
            messages=tuple(rows[item]["messages"]),
            aligned=rows[item]["aligned"],
            misaligned=rows[item]["misaligned"],
            base_margin=before[item],
            arm_margin=after[item],
        )
        for item in chosen
    ]
