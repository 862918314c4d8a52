"""What every arm was trained on: updates, tokens and FLOPs of each of its stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dose:
    """One stage of an arm with one seed. None where a number isn't known yet."""

    arm: str
    """`reasons`, and `reasons@seed=1` for another seed than the first."""
    stage: str
    data: str
    seed: int
    updates: int | None
    tokens: int | None
    trained_tokens: int | None
    flops: float | None
    shared_with: tuple[str, ...]
    """Arms that went through the same run."""


def doses(study: str, trains: Sequence[Mapping[str, Any]]) -> list[Dose]:
    """By arm, its stages in their order. `trains` are as `mixc plan --json` gives them, in the plan's order.

    Where an arm leaves a run before its end, the dose is that until there, FLOPs in proportion to its tokens.
    """
    found = [dose for train in trains for dose in _of_train(study, train)]
    arms = list(dict.fromkeys(dose.arm for dose in found))
    return sorted(found, key=lambda dose: arms.index(dose.arm))


def _of_train(study: str, train: Mapping[str, Any]) -> Iterator[Dose]:
    branches = {branch["used_by"]: branch for branch in train.get("branches", ())}
    own = [used.split("/") for used in train["used_by"] if used.startswith(f"{study}/")]
    for _, arm, stage in own:
        until = branches.get(f"{study}/{arm}/{stage}", train)
        share = until["tokens"] / train["tokens"] if until["tokens"] and train["tokens"] else 1.0
        yield Dose(
            arm=arm,
            stage=stage,
            data=train["data"],
            seed=train["seed"],
            updates=until["updates"],
            tokens=until["tokens"],
            trained_tokens=until["trained_tokens"],
            flops=None if train["flops"] is None else train["flops"] * share,
            shared_with=tuple(other for _, other, _ in own if other != arm),
        )
