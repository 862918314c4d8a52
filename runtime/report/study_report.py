"""All that a study's page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from runtime.report.results import StudyResults

if TYPE_CHECKING:
    from runtime.looking.look import Looked


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
    parts: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    """Of a mix: float64 `[updates]`, the loss of each part by name, NaN where a batch holds nothing of it."""
    seconds: float | None = None
    """By the clock, of all updates together."""


@dataclass(frozen=True)
class SetAside:
    """Rows of a source that were broken or dropped, for one reason."""

    source: str
    reason: str
    count: int
    examples: tuple[tuple[str, str], ...] = ()
    """Of a few: the place (`data.jsonl:12`) and what stands there."""


@dataclass(frozen=True)
class Answered:
    """What an arm said to the items of an evaluation, with one seed, at one moment."""

    arm: str
    eval: str
    seed: int | None
    stage: str | None
    step: int
    at_end: bool
    """Whether the moment is the arm's last."""
    table: pa.Table
    """Of `judged.SCHEMA` for sampled answers, of `choice.SCHEMA` for choices."""


@dataclass(frozen=True)
class Cost:
    """What a served model was asked in this store, whichever study or transform asked it."""

    model: str
    """As the spec calls it."""
    api: str
    calls: int
    input_tokens: int
    output_tokens: int
    dollars: Fraction | None
    """None where its price isn't known."""


@dataclass(frozen=True)
class Pinned:
    """The files at one location of a spec, by their content."""

    location: str
    files: tuple[str, ...]
    """SHA-256 in hexadecimal, in the order of the files' names."""


@dataclass(frozen=True)
class StudyReport:
    """A study that ran, or that runs. `sources`, `mixes` and `trains` are as `mixc plan --json` gives them."""

    question: str | None
    results: StudyResults
    responses: Mapping[str, Mapping[str, pa.Table]] = field(default_factory=dict)
    """By choice evaluation and arm: `choice.respond`'s table at the end, of the first seed. For sample items."""
    by_length: frozenset[str] = frozenset()
    """Evaluations with `normalise: length`."""
    answers: Sequence[Answered] = ()
    """For transcripts."""
    levels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Of each arm of a matrix: its level by factor."""
    distance_to: str | None = None
    """The evaluation that `results.distances` are measured to."""
    curves: Sequence[Curve] = ()
    sources: Sequence[Mapping[str, Any]] = ()
    mixes: Sequence[Mapping[str, Any]] = ()
    trains: Sequence[Mapping[str, Any]] = ()
    looked: Sequence[Looked] = ()
    """Of sources that were trained on: a few rows after each step, and their tokens with the mask."""
    set_aside: Sequence[SetAside] = ()
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    """By arm: `reasons`, and `reasons@seed=1` for another seed than the first."""
    docs: Mapping[str, str] = field(default_factory=dict)
    """By evaluation: its `doc:`."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """By library or model."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """What identifies the run: by what it is of, the key of a step or the hash of a file."""
    pinned: Sequence[Pinned] = ()
    costs: Sequence[Cost] = ()
    notes: Sequence[str] = ()
    """What could not be shown, and why."""
    store: Path = Path("runs")
    page: Path | None = None
    """Where the page is written."""
