"""Canaries of a served judge: a few answers that it judges anew in every run, since it can change under its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from compiler.evals import Judging
from compiler.identity import sha256
from compiler.keys import computed
from compiler.values import Frozen
from runtime.data.rows import canonical_json
from runtime.disk import disk_errors, write_atomically
from runtime.evals.judging import ATTEMPTS, JudgedAnswer, Judgement

CANARIES = 12
NEAR = Fraction(1, 10)
"""Scores that lie no further apart than this share of the scale count as the same."""

JudgeAgain = Callable[[Sequence[JudgedAnswer], int], list[Judgement]]
"""Judges answers with samples of the judge's answers from a number on, which tells them from all stored ones."""


class Canary(Frozen):
    """An answer with the first judgement of it."""

    record: dict[str, Any]
    text: str
    place: str
    first: str | float


class Watch(Frozen):
    """What came of judging the canaries anew in one run."""

    date: str
    """YYYY-MM-DD, in UTC."""
    changed: int
    """Canaries that got another judgement than at first, twice: a judge that isn't sure of itself is no other one."""
    unsure: int
    """Canaries of which the judge said another thing once, and then not again."""
    shift: float | None = None
    """Of scores: how much higher they are than at first, on average."""


class Canaries(Frozen):
    """The canaries of a judge with a prompt, and all that came of them."""

    date: str
    """Of the first judgements."""
    canaries: tuple[Canary, ...]
    watches: tuple[Watch, ...] = Field(default=())


def canary_key(judging: Judging, prompt: Sequence[str]) -> str:
    """What tells a judge, its settings and what it is asked from all others.

    Args:
        prompt: the SHA-256 of the file `judging.prompt`.
    """
    return sha256({"judging": computed(judging.model_copy(update={"prompt": None})), "prompt": list(prompt)})


def canary_file(store: Path, key: str) -> Path:
    return store / "canaries" / f"{key}.json"


def load(store: Path, key: str) -> Canaries | None:
    """The canaries that are kept; None where there are none that can be read."""
    try:
        return Canaries.model_validate_json(canary_file(store, key).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def save(store: Path, key: str, canaries: Canaries) -> None:
    """Raises UserError where the disk refuses."""
    path = canary_file(store, key)
    with disk_errors(store):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, canaries.model_dump_json(indent=1).encode())


def choose(answers: Sequence[JudgedAnswer], judgements: Sequence[Judgement], key: str, date: str) -> Canaries | None:
    """At most `CANARIES` of the answers whose judgement could be read, by a keyed hash; None where none could."""
    found: dict[str, Canary] = {}
    for answer, judgement in zip(answers, judgements, strict=True):
        if (value := _value(judgement)) is not None:
            name = sha256([key, canonical_json(answer.record["messages"]), answer.text])
            found.setdefault(
                name, Canary(record=dict(answer.record), text=answer.text, place=answer.place, first=value)
            )
    chosen = tuple(found[name] for name in sorted(found)[:CANARIES])
    return Canaries(date=date, canaries=chosen) if chosen else None


def judged_again(canaries: Canaries, judging: Judging, judge: JudgeAgain, date: str) -> Canaries:
    """With what the judge says of its canaries now. What it says otherwise than at first, it is asked once more.

    Each run uses samples of its own; one that was killed before this returned uses the same again, which are stored.
    """
    sample = 2 * ATTEMPTS * (len(canaries.watches) + 1)
    answers = [JudgedAnswer(record=each.record, text=each.text, place=each.place) for each in canaries.canaries]
    now = [_value(each) for each in judge(answers, sample)]
    other = [
        index
        for index, (canary, value) in enumerate(zip(canaries.canaries, now, strict=True))
        if not _same(canary.first, value, judging)
    ]
    again = judge([answers[index] for index in other], sample + ATTEMPTS) if other else []
    changed = sum(_same(now[index], _value(each), judging) for index, each in zip(other, again, strict=True))
    shifts = [
        value - canary.first
        for canary, value in zip(canaries.canaries, now, strict=True)
        if isinstance(value, float) and isinstance(canary.first, float)
    ]
    watch = Watch(
        date=date,
        changed=changed,
        unsure=len(other) - changed,
        shift=sum(shifts) / len(shifts) if shifts else None,
    )
    return canaries.model_copy(update={"watches": (*canaries.watches, watch)})


def drift(canaries: Canaries | None) -> str | None:
    """How the judge has changed, as the last run found; None where it hasn't, or wasn't asked again."""
    if canaries is None or not canaries.watches or not canaries.watches[-1].changed:
        return None
    watch, total = canaries.watches[-1], len(canaries.canaries)
    text = f"the judge answers {watch.changed} of {total} canaries differently than on {canaries.date}"
    if watch.shift:
        text += f", {abs(watch.shift):.2g} {'higher' if watch.shift > 0 else 'lower'} on average"
    return text


def _value(judgement: Judgement) -> str | float | None:
    if judgement.unreadable is not None:
        return None
    return judgement.label if judgement.value is None else float(judgement.value)


def _same(first: str | float | None, now: str | float | None, judging: Judging) -> bool:
    if isinstance(first, float) and isinstance(now, float):
        assert judging.low is not None
        assert judging.high is not None
        return abs(first - now) <= NEAR * (Fraction(judging.high) - Fraction(judging.low))
    return first == now
