"""The plan: steps by description key, and the studies and models that want them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeVar

from pydantic import Field

from compiler.operations import Asked
from compiler.steps import Step, TaggedStep
from compiler.values import END, Frozen, ModelPoint, Moment

Kind = TypeVar("Kind", bound=Step)


class PlannedStage(Frozen):
    """One training stage of an arm, by its declaration's name."""

    name: str
    train: str
    end: Moment = END
    """Where the arm leaves the run of the train step: at its end, or at `until`."""
    factor: str | None = None
    """The factor of a matrix that it comes from."""


class PlannedArm(Frozen):
    """One arm with one seed; `seed` is None where nothing is trained, so that a seed changes nothing."""

    name: str
    seed: int | None
    weights: str | None
    """The `weights` step that says the shape, the tokenizer and the chat template; None of a served model."""
    start: str | None
    """The `weights` step that the flow begins with: the same, but for random weights, which follow a seed."""
    template_args: dict[str, str]
    stages: tuple[PlannedStage, ...]
    levels: dict[str, str] = Field(default_factory=dict)
    """Of an arm of a matrix: its level by factor."""
    api: Asked | None = None
    """A served model, which has no weights here."""
    sampling_seed: int = 0
    """Of the answers that evaluations sample."""

    @property
    def reader(self) -> str:
        """`weights` of a model that isn't served."""
        assert self.weights is not None
        return self.weights

    @property
    def final(self) -> ModelPoint:
        """What the arm ends with; of a model that isn't served."""
        assert self.start is not None
        if not self.stages:
            return ModelPoint(step=self.start)
        return ModelPoint(step=self.stages[-1].train, at=self.stages[-1].end)


class PlannedMatch(Frozen):
    """Equal dose over arms, as a study asserts it."""

    unit: Literal["tokens", "trained_tokens"]
    of: str | None
    """A stage or factor; None for all stages."""
    within: str
    """The largest difference, as a fraction of the largest dose."""
    place: str


class PlannedStudy(Frozen):
    name: str
    question: str | None
    arms: tuple[PlannedArm, ...]
    """The base first, where the study has one."""
    match: PlannedMatch | None
    notes: dict[str, str]
    """What an evaluation's `doc` says, by its name."""
    report: str

    def label(self, arm: PlannedArm) -> str:
        """How an arm is named: `reasons`, and `reasons@seed=1` where the seed isn't its first."""
        first = next(each for each in self.arms if each.name == arm.name)
        return arm.name if arm.seed == first.seed else f"{arm.name}@seed={arm.seed}"


class Plan(Frozen):
    """What is to be computed for a spec. `steps` come in an order in which each follows its inputs."""

    spec: str
    root: str
    """The folder that locations are relative to."""
    steps: dict[str, TaggedStep]
    studies: tuple[PlannedStudy, ...] = ()
    models: tuple[PlannedArm, ...] = ()

    def of(self, kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
        """Steps of one kind with their description keys, in order."""
        return ((key, step) for key, step in self.steps.items() if isinstance(step, kind))
