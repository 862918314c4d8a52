"""All that a study's page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from runtime.report.results import StudyResults


@dataclass(frozen=True)
class Curve:
    """What one training stage told, one element an update."""

    stage: str
    label: str
    """Whose it is: the arms that share it. Curves of one label are drawn alike."""
    tokens: np.ndarray
    """int64 `[updates]`: read until then."""
    loss: np.ndarray
    """float64 `[updates]`: nats a trained token, before the update."""
    learning_rate: np.ndarray
    """float64 `[updates]`."""
    gradient_norm: np.ndarray
    """float64 `[updates]`: before clipping."""
    seed: int | None = None
    """Where a label has several."""


@dataclass(frozen=True)
class SetAside:
    """Rows of a source that were broken or dropped, for one reason."""

    source: str
    reason: str
    count: int
    examples: tuple[tuple[str, str], ...] = ()
    """Of a few: the place (`data.jsonl:12`) and what stands there."""


@dataclass(frozen=True)
class StudyReport:
    """A study that ran. `sources`, `mixes` and `trains` are as `mixc plan --json` gives them."""

    question: str | None
    results: StudyResults
    responses: Mapping[str, Mapping[str, pa.Table]] = field(default_factory=dict)
    """By choice evaluation and arm: `choice.respond`'s table at the end, of the first seed. For sample items."""
    by_length: frozenset[str] = frozenset()
    """Evaluations with `normalise: length`."""
    curves: Sequence[Curve] = ()
    sources: Sequence[Mapping[str, Any]] = ()
    mixes: Sequence[Mapping[str, Any]] = ()
    trains: Sequence[Mapping[str, Any]] = ()
    set_aside: Sequence[SetAside] = ()
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    """By arm: `reasons`, and `reasons@seed=1` for another seed than the first."""
    docs: Mapping[str, str] = field(default_factory=dict)
    """By evaluation: its `doc:`."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """By library or model."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """What identifies the run: by what it is of, the key of a step or the hash of a file."""
    store: Path = Path("runs")
    page: Path | None = None
    """Where the page is written."""
