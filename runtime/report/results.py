"""A study's results: every arm beside the base, with intervals, differences and claims; and results.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from runtime.evals.calibrated import Calibrated
from runtime.evals.claims import Claim, Judgement, Levels, judge_all
from runtime.evals.points import Place, Point, at_place, cells
from runtime.evals.statistics import LEVEL, Cell, Interval, difference, estimate

BASE = "base"
"""The arm that stands for the study's base."""


@dataclass(frozen=True)
class Entry:
    """A result of one arm at one point, of one seed or, with `seed` None, over all of them."""

    arm: str
    eval: str
    metric: str
    place: Place
    stage: str | None
    seed: int | None
    step: int
    tokens: int
    interval: Interval
    unreadable: int
    """Answers."""


@dataclass(frozen=True)
class Difference:
    """An arm less the base at the same point, over all seeds; `interval.n` is the number of pairs of items."""

    arm: str
    against: str
    eval: str
    metric: str
    place: Place
    step: int
    tokens: int
    interval: Interval


@dataclass(frozen=True)
class StudyResults:
    """All that was measured in a study."""

    study: str
    entries: tuple[Entry, ...]
    differences: tuple[Difference, ...]
    claims: tuple[tuple[str, Judgement], ...]
    """As written, and what became of each."""
    complete: bool = True
    """Whether all points of the study are in it; while it runs, or after it was stopped, they aren't."""
    stops: Mapping[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    """By ARM@SEED (or ARM): the update after which `stop:` ended it, and why in words."""
    judges: tuple[Calibrated, ...] = ()
    """Judges that were measured against hand labels, or asked their canaries again."""
    distances: Mapping[str, Interval] = field(default_factory=dict[str, Interval])
    """By arm: how far its training data lies from the evaluation that `distance:` names."""


def study_results(
    study: str, points: Sequence[Point], claims: Sequence[Claim] = (), levels: Levels | None = None
) -> StudyResults:
    """Intervals, differences and claims of the points of a study.

    Every arm has, at each of its points, an entry a seed and one over all seeds; a model that no seed changes has the
    latter only. A base that was never trained has one point, and every point of an arm is compared with it; else arm
    and base are compared where both have the same point. `levels` are those of `claims.judge_all`.
    """
    pairs = list(dict.fromkeys((point.arm, point.eval) for point in points))
    return StudyResults(
        study,
        entries=tuple(entry for arm, eval in pairs for entry in _entries(points, arm, eval)),
        differences=tuple(entry for arm, eval in pairs if arm != BASE for entry in _differences(points, arm, eval)),
        claims=tuple(zip((claim.text for claim in claims), judge_all(claims, points, levels), strict=True)),
    )


def to_text(results: StudyResults) -> str:
    """results.json as it is written."""
    return json.dumps(to_json(results), indent=2) + "\n"


def to_json(results: StudyResults) -> dict[str, Any]:
    """The content of results.json, see "Shapes that other tools rely on" in architecture.md.

    `n` is the number of distinct items, `unreadable` of answers. What isn't known (the interval of a mean over a
    single item, a metric without a readable answer) is null.
    """
    arms: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for entry in results.entries:
        row = {
            "metric": entry.metric,
            "stage": entry.stage,
            "seed": entry.seed,
            "step": entry.step,
            "tokens": entry.tokens,
            **_interval(entry.interval),
            "n": entry.interval.n,
            "unreadable": entry.unreadable,
        }
        rows = arms.setdefault(entry.arm, {}).setdefault(entry.eval, [])
        if row not in rows:  # where an arm was stopped, its end is one of the other points too
            rows.append(row)
    return {
        "study": results.study,
        "arms": arms,
        "differences": [
            {
                "arm": entry.arm,
                "against": entry.against,
                "eval": entry.eval,
                "metric": entry.metric,
                "step": entry.step,
                **_interval(entry.interval),
                "pairs": entry.interval.n,
            }
            for entry in results.differences
        ],
        "claims": [
            {
                "claim": text,
                "outcome": judgement.outcome,
                "detail": judgement.detail,
                "p": judgement.p,
                "level": judgement.level,
                "would_decide": judgement.would_decide,
            }
            for text, judgement in results.claims
        ],
        "complete": results.complete,
        "stops": [{"arm": arm, "step": step, "detail": text} for arm, (step, text) in results.stops.items()],
        "judges": [asdict(judge) for judge in results.judges],
        "distances": {arm: {**_interval(distance), "n": distance.n} for arm, distance in results.distances.items()},
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    return {"value": interval.value, "low": interval.low, "high": interval.high, "level": LEVEL}


def _entries(points: Sequence[Point], arm: str, eval: str) -> Iterator[Entry]:
    for place, cell in cells(points, arm, eval).items():
        here = [point for point in points if (point.arm, point.eval, point.place) == (arm, eval, place)]
        alone = [point for point in here if point.seed is not None]
        for point in sorted(alone, key=lambda point: point.seed or 0):
            yield _entry(point, point.seed, Cell(cell.label, {point.seed: point.scored}))
        yield _entry(here[0], None, cell)


def _entry(point: Point, seed: int | None, cell: Cell) -> Entry:
    return Entry(
        arm=point.arm,
        eval=point.eval,
        metric=point.scored.metric,
        place=point.place,
        stage=point.stage,
        seed=seed,
        step=point.step,
        tokens=point.tokens,
        interval=estimate(cell),
        unreadable=sum(scored.unreadable for scored in cell.by_seed.values()),
    )


def _differences(points: Sequence[Point], arm: str, eval: str) -> Iterator[Difference]:
    base = cells(points, BASE, eval)
    for place, cell in cells(points, arm, eval).items():
        against = at_place(base, place)
        if against is None:
            continue
        interval = difference(cell, against)
        if interval.value is None:
            continue
        first = next(point for point in points if (point.arm, point.eval, point.place) == (arm, eval, place))
        yield Difference(arm, BASE, eval, first.scored.metric, place, first.step, first.tokens, interval)
