"""Values that steps are made of: exact quantities, points of a run, models at a point."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

REMARK: dict[str, JsonValue] = {"role": "remark"}
"""Marks a field that names a step for people and changes nothing of what it computes."""
RETENTION: dict[str, JsonValue] = {"role": "retention"}
"""Marks a field that says what is kept, not what comes out."""
EXECUTION: dict[str, JsonValue] = {"role": "execution"}
"""Marks a field that changes how or how far something runs, not what comes out."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measure(Frozen):
    """An exact quantity: `count` is a decimal or a fraction `a/b`, `unit` a unit of the language."""

    count: str
    unit: str


class Share(Frozen):
    """An amount of a mix: `percent` and `ratio` carry `value` as a fraction, `quantity` a measure."""

    kind: Literal["percent", "ratio", "quantity", "all", "rest"]
    value: str | Measure | None = None


class Moment(Frozen):
    """A point of a stage: its end, a fraction of its updates, or the first update at or past a quantity."""

    kind: Literal["end", "fraction", "quantity"]
    value: str | Measure | None = None


END = Moment(kind="end")


class ModelPoint(Frozen):
    """Weights: a `weights` step's, or a `train` step's at a moment."""

    step: str
    at: Moment = END
