"""Reads the values that scorers of Inspect give, for a metric: a label, a number, or why there is neither."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect_ai.scorer import Score

GRADES: Mapping[str, tuple[str, float]] = {
    "C": ("correct", 1.0),
    "I": ("incorrect", 0.0),
    "P": ("partial", 0.5),
    "N": ("noanswer", 0.0),
}
"""Inspect's letters for grades: the label and the number that each stands for."""
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_INSTRUMENT = ("grader_failed", "scoring_failed")
"""Reasons of a score that say that measuring failed, whatever the value is."""


@dataclass(frozen=True)
class Value:
    """What a sample's scores say for a metric: exactly one of `label` with `number`, and `unreadable`."""

    label: str | None = None
    number: float = math.nan
    unreadable: str | None = None
    detail: str = ""


class NoKeyError(Exception):
    """The scores have nothing of the metric's key; `keys` are those that they have."""

    def __init__(self, keys: list[str]) -> None:
        super().__init__()
        self.keys = keys


def value_of(scores: Mapping[str, Score], key: str, *, rate: bool) -> Value:
    """A sample's value for `rate(KEY)` or `mean(KEY)`.

    A scorer that gives a mapping has its keys, one that gives a single value its own name; `SCORER.KEY` tells several
    scorers apart. Beside, `score` is the one scorer's single value, and so is the label of a rate: `correct`,
    `incorrect`, `partial`, `noanswer` for Inspect's letters, else the text that the scorer gives.

    Args:
        scores: by scorer; none of them has been left out because it failed.

    Raises:
        NoKeyError: no score has the key.
    """
    found = _columns(scores)
    single = [score for score in scores.values() if not isinstance(score.value, Mapping)]
    if key in found:
        owner, value = found[key]
    elif len(single) == 1 and (rate or key == "score"):
        return _labelled(single[0], key) if rate else _numbered(single[0], single[0].value)
    else:
        raise NoKeyError(sorted({*found, *(["score"] if len(single) == 1 else [])}))
    number = _numbered(owner, value)
    if not rate or number.unreadable is not None:
        return number
    if number.number not in (0.0, 1.0):
        return Value(unreadable=f"{key} is {number.number:g}, neither 0 nor 1", detail=number.detail)
    return Value(key if number.number else f"not {key}", number.number, detail=number.detail)


def _columns(scores: Mapping[str, Score]) -> dict[str, tuple[Score, Any]]:
    found: dict[str, tuple[Score, Any]] = {}
    twice: set[str] = set()
    for name, score in scores.items():
        if not isinstance(score.value, Mapping):
            found[name] = score, score.value
            continue
        for key, value in score.value.items():
            found[f"{name}.{key}"] = score, value
            twice |= {key} & found.keys()
            found[key] = score, value
    return {key: value for key, value in found.items() if key not in twice}


def _labelled(score: Score, wanted: str) -> Value:
    """The label of a single value."""
    number = _numbered(score, score.value)
    if number.unreadable is not None and not isinstance(score.value, str):
        return number
    if score.reason in _INSTRUMENT:
        return number
    text = score.value
    if isinstance(text, str):
        label = GRADES[text][0] if text in GRADES else text
        return Value(label, number.number, detail=number.detail)
    if number.number in (0.0, 1.0):
        return Value("correct" if number.number else "incorrect", number.number, detail=number.detail)
    return Value(unreadable=f"the score is {number.number:g}, and no '{wanted}' or other label", detail=number.detail)


def _numbered(score: Score, value: Any) -> Value:
    detail = score.explanation or ""
    if score.reason in _INSTRUMENT:
        return Value(unreadable=score.reason.replace("_", " "), detail=detail)
    number = _number(value)
    if number is None or not math.isfinite(number):
        shown = "nothing" if number is not None or value is None else json.dumps(value, default=str)[:80]
        return Value(unreadable=f"the scorer gives {shown}, which is no number", detail=detail)
    label = GRADES[value][0] if isinstance(value, str) and value in GRADES else None
    return Value(label, number, detail=detail)


def _number(value: Any) -> float | None:
    if isinstance(value, bool | int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    if value in GRADES:
        return GRADES[value][1]
    try:
        return _WORDS[value.lower()] if value.lower() in _WORDS else float(value)
    except ValueError:
        return None
