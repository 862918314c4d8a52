"""The steps of a plan: what each computes, as values that travel as JSON.

A step refers to others by their description keys. Fields marked as remarks are for people and take no part in any key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue

REMARK: dict[str, JsonValue] = {"role": "remark"}
"""Marks a field that names a step for people and changes nothing of what it computes."""
RETENTION: dict[str, JsonValue] = {"role": "retention"}
"""Marks a field that says what is kept, not what comes out."""


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


class PartOf(Frozen):
    """A part of an order: which `tokenize` step, and how much of it."""

    name: str
    """Takes no part in keys, nor does the order of parts."""
    tokens: str
    amount: Share


class PhaseOf(Frozen):
    """A stretch of an order. `length` is a share of the whole or a quantity; None is all of it."""

    length: Share | None
    parts: tuple[PartOf, ...]


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


class Transform(Step):
    """Rows to rows. `operation` is the transform with its arguments in the language's own words.

    `weights` is the step whose tokenizer counts tokens, where the operation counts any, with the loss of the consumer.
    """

    kind: Literal["transform"] = "transform"
    rows: str
    format: str
    operation: Literal["filter", "take", "holdout"]
    argument: str
    weights: str | None = None
    loss: str | None = None
    template_args: dict[str, str] = {}

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.rows,) if self.weights is None else (self.rows, self.weights)


class Weights(Step):
    """Pretrained weights, their tokenizer and chat template at a location."""

    kind: Literal["weights"] = "weights"
    location: str


class Tokenize(Step):
    """Rows to tokens, with the mask of those that are trained."""

    kind: Literal["tokenize"] = "tokenize"
    rows: str
    format: str
    weights: str
    loss: str
    template_args: dict[str, str] = {}

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.rows, self.weights)


class Order(Step):
    """Which row stands where in a stage: exact amounts, then a seeded order.

    `length` is the stage's `for`, None where the budget says it, and without that one pass. `data` and `use` name the
    random stream: the data's declaration, and how often it was used before in this flow.
    """

    kind: Literal["order"] = "order"
    phases: tuple[PhaseOf, ...]
    budget: Measure | None
    length: Measure | None
    max_epochs: str | None
    underfill: Literal["error", "allow"]
    sequence: int
    batch: Measure
    seed: int
    data: str
    use: int

    @property
    def parts(self) -> tuple[PartOf, ...]:
        return tuple(part for phase in self.phases for part in phase.parts)

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.tokens for part in self.parts))


class Pack(Step):
    """An order to batches of token rows."""

    kind: Literal["pack"] = "pack"
    order: str
    tokens: tuple[str, ...]
    sequence: int
    packing: Literal["none", "best_fit"]
    batch: Measure
    updates: int | None
    """Where the stage's length is in updates: how many; the order then holds at least as much."""

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.order, *self.tokens)


class Schedule(Frozen):
    kind: Literal["cosine", "linear", "constant"]
    warmup: str | Measure
    """A fraction of the updates, or a quantity."""
    final: str


class AdamW(Frozen):
    kind: Literal["adamw"] = "adamw"
    lr: str
    b1: str
    b2: str
    eps: str
    weight_decay: str


class Train(Step):
    """One supervised stage over all weights."""

    kind: Literal["train"] = "train"
    model: ModelPoint
    weights: str
    """The `weights` step that the flow began with: shape of the decoder, tokenizer and chat template."""
    pack: str
    optimizer: AdamW
    schedule: Schedule
    max_grad_norm: str | None
    precision: Literal["float32", "bfloat16"]
    checkpoint: tuple[Moment, ...] = Field(default=(), json_schema_extra=RETENTION)
    """Where weights are kept beside the end."""

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.model.step, self.weights, self.pack)))


class Respond(Step):
    """What a model says to every item of an evaluation: log-probabilities here."""

    kind: Literal["respond"] = "respond"
    model: ModelPoint
    weights: str
    method: Literal["choice", "loss"]
    items: tuple[str, ...]
    """`read` steps for choice, `tokenize` steps for loss."""
    template_args: dict[str, str] = {}

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.model.step, self.weights, *self.items)))


class Score(Step):
    """A metric of the items of a `respond` step."""

    kind: Literal["score"] = "score"
    respond: str
    metric: str
    normalise: Literal["none", "length"]

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.respond,)


class PlannedPoint(Frozen):
    """An evaluation of an arm at a moment of a stage (None: before any stage)."""

    arm: str
    seed: int | None
    eval: str
    stage: str | None
    moment: Moment
    """Of `stage`; the fraction 0 is its input."""
    last: bool
    """Whether `stage` is the arm's last."""
    train: str | None
    """The stage's train step."""
    score: str


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

    @property
    def inputs(self) -> tuple[str, ...]:
        trains = (point.train for point in self.points if point.train is not None)
        return tuple(dict.fromkeys((*(point.score for point in self.points), *trains)))


AnyStep = Read | Transform | Weights | Tokenize | Order | Pack | Train | Respond | Score | Report
DataStep = Read | Transform | Weights | Tokenize | Order | Pack
"""Steps that need no model call and no training: planning runs them."""

TaggedStep: TypeAlias = Annotated[AnyStep, Field(discriminator="kind")]
"""A step as JSON tells it: by its `kind`."""


class Result(Frozen):
    """What is known of a done step: its key, the hash of what came out, and facts in numbers."""

    key: str
    content: str
    facts: dict[str, Any] = {}
