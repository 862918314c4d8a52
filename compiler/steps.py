"""The steps of a plan: what each computes, as values that travel as JSON.

A step refers to others by their description keys. Fields marked as remarks are for people and take no part in any key.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import Field

from compiler.evals import Answering, Calibration, Grader, InspectTask, Judging
from compiler.operations import Asked, Exclude, ModelMade, Operation
from compiler.stages import (
    Adapter,
    Group,
    Objective,
    Optimizer,
    Reward,
    Rollout,
    Schedule,
    Supervised,
    asked_by,
)
from compiler.values import END, EXECUTION, REMARK, RETENTION, Frozen, Measure, ModelPoint, Moment, Share


class PartOf(Frozen):
    """A part of a mix: a `tokenize` step or another mix, and how much of it.

    `amount` is None where the sizes of the parts say it.
    """

    name: str
    """Takes no part in keys, nor does the order of parts."""
    of: str | MixOf
    amount: Share | None


class PhaseOf(Frozen):
    """A stretch of a mix. `length` is a share of the whole or a quantity; None is all of it.

    With a `temperature` the parts are shared by size to the power of 1 / temperature.
    """

    length: Share | None
    parts: tuple[PartOf, ...]
    temperature: str | None = None


class MixOf(Frozen):
    """What a mix is, wherever it is used."""

    phases: tuple[PhaseOf, ...]
    budget: Measure | None
    max_epochs: str | None
    underfill: Literal["error", "allow"]

    def leaves(self) -> Iterator[PartOf]:
        """The parts that are sources, those of mixes within it among them."""
        for phase in self.phases:
            for part in phase.parts:
                if isinstance(part.of, str):
                    yield part
                else:
                    yield from part.of.leaves()


class Step(Frozen):
    name: str = Field(json_schema_extra=REMARK)
    """As seen from the file that was planned."""
    place: str = Field(json_schema_extra=REMARK)
    """FILE:LINE:COLUMN of the declaration, for errors that only data can show."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Description keys of the steps that must be done before this one."""
        return ()


class Read(Step):
    """Files to rows of one format."""

    kind: Literal["read"] = "read"
    format: str
    files: tuple[str, ...]
    fields: dict[str, str]
    tasks: tuple[InspectTask, ...] = ()
    """Of format `inspect`: what the samples of these begin with, as documents, is read; there are no files."""


class Transform(Step):
    """Rows to rows, by one operation.

    `format` is that of the rows it takes. `weights` is the step whose tokenizer counts tokens, where the operation
    counts any, for the loss of the consumer.
    """

    kind: Literal["transform"] = "transform"
    rows: str
    format: str
    operation: Operation
    weights: str | None = None
    loss: str | None = None
    reasoning: Literal["train", "mask"] = "train"
    template_args: dict[str, str] = Field(default_factory=dict[str, str])

    @property
    def asks(self) -> Asked | None:
        """The model that the operation asks, if any: then planning doesn't run it."""
        return self.operation.model if isinstance(self.operation, ModelMade) else None

    @property
    def inputs(self) -> tuple[str, ...]:
        operation, asked = self.operation, self.asks
        against = operation.against if isinstance(operation, Exclude) else ()
        model = () if asked is None or asked.point is None else (asked.point.step, asked.weights)
        return tuple(dict.fromkeys(step for step in (self.rows, self.weights, *against, *model) if step is not None))


class Weights(Step):
    """Weights to begin with, their tokenizer and chat template: pretrained ones at a location, or random ones.

    Exactly one of `location` and `architecture` is there.
    """

    kind: Literal["weights"] = "weights"
    location: str | None = None
    architecture: dict[str, Any] | None = None
    """The fields of a `DecoderConfig`, for random weights."""
    seed: int = 0
    """Of random weights."""
    tokenizer: str | None = None
    """Where another tokenizer than the weights' own is."""
    template: str | None = None
    """Where another chat template than their own is."""


class Tokenize(Step):
    """Rows to tokens, with the mask of those that are trained."""

    kind: Literal["tokenize"] = "tokenize"
    rows: str
    format: str
    weights: str
    loss: str
    reasoning: Literal["train", "mask"] = "train"
    template_args: dict[str, str] = Field(default_factory=dict[str, str])

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.rows, self.weights)


class Survey(Step):
    """Rows that are trained on, looked at as a whole: how varied they are, and what they share with evaluations."""

    kind: Literal["survey"] = "survey"
    rows: str
    format: str
    against: dict[str, tuple[str, ...]]
    """Of each evaluation, the steps that read its items."""
    made: bool
    """Whether a model made them: then their spread in meaning is of interest."""

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.rows, *chain(*self.against.values()))))


class Order(Step):
    """Which row stands where in a stage: exact amounts, then a seeded order.

    `length` is the stage's `for`, None where the budget says it, and without that one pass. `data` and `use` name the
    random stream: the data's declaration, and how often it was used before in this flow.
    """

    kind: Literal["order"] = "order"
    mix: MixOf
    length: Measure | None
    sequence: int
    batch: Measure
    seed: int
    data: str
    use: int

    @property
    def names(self) -> dict[str, str]:
        """What each `tokenize` step is called as a part; where it is several, by the first."""
        return {cast(str, part.of): part.name for part in reversed(list(self.mix.leaves()))}

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cast(str, part.of) for part in self.mix.leaves()))


class Pack(Step):
    """An order to batches of token rows."""

    kind: Literal["pack"] = "pack"
    order: str
    tokens: tuple[str, ...]
    sequence: int
    packing: Literal["none", "first_fit", "best_fit"]
    overlong: Literal["split", "cut"] = "split"
    """What becomes of a row that is longer than the sequence."""
    batch: Measure
    updates: int | None
    """Where the stage's length is in updates: how many; the order then holds at least as much."""
    pairs: bool = False
    """Whether an example is two answers to one prompt: each has at most `sequence` tokens, and a row holds twice."""
    reserved: int = 0
    """Of the sequence, what stays free behind a prompt for its answer."""

    @property
    def longest(self) -> int:
        """The most tokens that a row of the data may have, or either side of a pair."""
        return self.sequence - self.reserved

    @property
    def width(self) -> int:
        """The most tokens of a row of a batch."""
        return self.longest * (2 if self.pairs else 1)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.order, *self.tokens)


class Train(Step):
    """One stage: what is optimised over which batches, from which model."""

    kind: Literal["train"] = "train"
    model: ModelPoint
    """The stage's input."""
    weights: str
    """The `weights` step that the flow began with: shape of the decoder, tokenizer and chat template."""
    pack: str
    objective: Objective = Supervised()
    adapter: Adapter | None = None
    base: ModelPoint | None = None
    """With an adapter that goes on with that of `model`: what both lie on, which `model`'s first such stage took in."""
    groups: tuple[Group, ...] = ()
    reference: str | None = None
    """Of DPO with a reference: the `respond` step with the log-probabilities that the stage's input gives the pairs."""
    reward: Reward | None = None
    rollout: Rollout | None = None
    seed: int = 0
    """Of an adapter's first values and of dropout; 0 where neither is drawn."""
    sampling_seed: int = 0
    """Of the answers that are sampled; 0 where none are."""
    optimizer: Optimizer
    schedule: Schedule
    max_grad_norm: str | None
    precision: Literal["float32", "bfloat16"]
    checkpoint: tuple[Moment, ...] = Field(default=(), json_schema_extra=RETENTION)
    """Where weights are kept beside `ends`."""
    ends: tuple[Moment, ...] = Field(default=(END,), json_schema_extra=RETENTION)
    """Where the stages end that this is the run of: at its own end, or at an earlier point. Weights are kept there, and
    nothing is trained past the last point that is kept or asked for."""
    on_spike: Literal["warn", "stop"] = Field(default="warn", json_schema_extra=EXECUTION)
    """What becomes of a run whose loss or gradient norm jumps far above what it was."""

    @property
    def inputs(self) -> tuple[str, ...]:
        base = None if self.base is None else self.base.step
        judges = () if self.reward is None else asked_by(self.reward)
        asked = (step for each in judges if each.point is not None for step in (each.point.step, each.weights))
        steps = (self.model.step, self.weights, self.pack, base, self.reference, *asked)
        return tuple(dict.fromkeys(step for step in steps if step is not None))


class Respond(Step):
    """What a model says to every item of an evaluation: log-probabilities, or answers that are sampled."""

    kind: Literal["respond"] = "respond"
    model: ModelPoint | None
    """Whose log-probabilities; None where answers are sampled, which `answering` says of whom."""
    weights: str | None
    """The `weights` step that says the tokenizer and the chat template; None of a served model."""
    method: Literal["choice", "loss", "pairs", "answers", "inspect"]
    items: tuple[str, ...]
    """`read` steps for choice and answers, `tokenize` steps for loss; for pairs (the reference of DPO) the `order` step
    that they are used in: of its rows each is asked once. None for tasks of Inspect."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """A reference is computed as what is held to it: rounding would tell them apart else."""
    template_args: dict[str, str] = Field(default_factory=dict[str, str])
    answering: Answering | None = None
    """For `answers` and `inspect`."""
    tasks: tuple[InspectTask, ...] = ()
    """For `inspect`."""

    @property
    def asks(self) -> ModelPoint | None:
        """The weights of ours that are asked; None of a served model."""
        return self.model if self.answering is None else self.answering.model.point

    @property
    def inputs(self) -> tuple[str, ...]:
        steps = (self.asks and self.asks.step, self.weights, *self.items)
        return tuple(dict.fromkeys(step for step in steps if step is not None))


class Score(Step):
    """A metric of the items of a `respond` step."""

    kind: Literal["score"] = "score"
    respond: str
    metric: str
    normalise: Literal["none", "length"]
    grader: Grader | None = None
    """What is made of sampled answers before the metric is taken."""
    calibrate: str | None = None
    """The step that measures the judge first: it ends the run where the judge isn't to be believed."""

    @property
    def judge(self) -> Asked | None:
        """The model that judges."""
        return self.grader.model if isinstance(self.grader, Judging) else None

    @property
    def inputs(self) -> tuple[str, ...]:
        judge = self.judge
        steps = () if judge is None or judge.point is None else (judge.point.step, judge.weights)
        return tuple(dict.fromkeys(step for step in (self.respond, self.calibrate, *steps) if step is not None))


class Calibrate(Step):
    """A judge measured against labels given by hand."""

    kind: Literal["calibrate"] = "calibrate"
    judging: Judging
    calibration: Calibration
    items: tuple[str, ...]
    """`read` steps of the evaluation's prompts, which labels may name instead of giving the prompt again."""

    @property
    def inputs(self) -> tuple[str, ...]:
        point, weights = self.judging.model.point, self.judging.model.weights
        judge = () if point is None else (point.step, weights)
        return tuple(dict.fromkeys(step for step in (*self.items, *judge) if step is not None))


class Taken(Frozen):
    """What a stage trains on until it ends, or until an arm leaves it."""

    pack: str
    end: Moment = END
    rows: tuple[str, ...]
    """The steps that gave the rows of its sources."""


class Distance(Step):
    """How far what an arm trains on lies in meaning from the items of an evaluation."""

    kind: Literal["distance"] = "distance"
    trained: tuple[Taken, ...]
    """The arm's stages, in order."""
    items: tuple[str, ...]
    """The steps that read the items."""
    sampled: int = 300
    """Rows of each source of a stage that are embedded, and of each step of items: enough for a mean, and few enough
    for a laptop."""

    @property
    def inputs(self) -> tuple[str, ...]:
        trained = (step for taken in self.trained for step in (taken.pack, *taken.rows))
        return tuple(dict.fromkeys((*trained, *self.items)))


class PlannedPoint(Frozen):
    """An evaluation of an arm at a moment of a stage (None: before any stage)."""

    arm: str
    seed: int | None
    eval: str
    stage: str | None
    moment: Moment
    """Of `stage`; the fraction 0 is its input."""
    end: Moment = END
    """Where the arm leaves the stage's run: its end, or `until`."""
    last: bool
    """Whether `stage` is the arm's last."""
    train: str | None
    """The stage's train step."""
    score: str

    @property
    def fires(self) -> Moment:
        """The moment of the train step's run."""
        return self.end if self.moment == END else self.moment


class PlannedClaim(Frozen):
    """A claim as written, with what the evaluations in it are called in this plan."""

    text: str
    evals: dict[str, str]


class Report(Step):
    """A study's results, from all its scores. Names are part of it: they stand in what comes out."""

    kind: Literal["report"] = "report"
    points: tuple[PlannedPoint, ...]
    claims: tuple[PlannedClaim, ...]
    levels: dict[str, dict[str, str]]
    """Of the arms of a matrix: the level by factor."""
    stop: PlannedClaim | None = None
    """Once it holds of an arm with a seed, the study follows that no further."""
    ends: tuple[PlannedPoint, ...] = ()
    """With `stop`: what stands for an arm's end where it may be stopped, `end` being where. Most are never wanted."""
    distances: dict[str, str] = Field(default_factory=dict[str, str])
    """By arm the `distance` step of its training data."""
    distance_to: str | None = None
    """The evaluation that they are measured to."""

    @property
    def inputs(self) -> tuple[str, ...]:
        points = (*self.points, *self.ends)
        trains = (point.train for point in points if point.train is not None)
        return tuple(dict.fromkeys((*(point.score for point in points), *trains, *self.distances.values())))


AnyStep = (
    Read
    | Transform
    | Weights
    | Tokenize
    | Survey
    | Order
    | Pack
    | Train
    | Respond
    | Calibrate
    | Score
    | Distance
    | Report
)
DataStep = Read | Transform | Weights | Tokenize | Survey | Order | Pack
"""Steps that need no training: planning runs them, but for transforms that ask a model."""

TaggedStep: TypeAlias = Annotated[AnyStep, Field(discriminator="kind")]
"""A step as JSON tells it: by its `kind`."""


class Result(Frozen):
    """What is known of a done step: its key, the hash of what came out, and facts in numbers."""

    key: str
    content: str
    facts: dict[str, Any] = Field(default_factory=dict[str, Any])
