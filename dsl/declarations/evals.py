"""Declarations of evaluations."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import SkipValidation

from dsl.declarations.base import Declaration, Written, declared
from dsl.declarations.data import DOC, SourceView
from dsl.declarations.models import Model
from dsl.declarations.shapes import BuiltIn, ListOf, MappingOf, OneOf, Record, Reference, Typed
from dsl.values import Range


class Rate(Written):
    """The share of items that have a label: `rate(aligned)`."""

    label: str = declared("computation", OneOf(), "The label that is counted.", positional=True)


class Mean(Written):
    """The mean of a number over items: `mean(margin)`."""

    field: str = declared("computation", OneOf(), "The field that holds the number.", positional=True)


class Calibration(Written):
    """Hand labels that a judge is measured against before it is believed."""

    labels: str = declared(
        "computation",
        Typed("location"),
        "A JSONL file of answers labelled by hand, a line each: `prompt` (or `messages`, or `item`, a row of `prompts` "
        "by its `id`), `answer`, `label` or `score`, and the `reader` where there are several.",
    )
    agreement: Fraction = declared(
        "computation",
        Typed("number", 0, 1),
        "The least agreement with them: the share of equal labels, or the rank correlation (Spearman's) of scores. A "
        "judge below it isn't believed, and the run ends before anything else is computed.",
    )


METRICS: dict[str, type[Written]] = {"rate": Rate, "mean": Mean}


class Eval(Declaration):
    """What is measured: exactly one of `choice`, `prompts`, `loss`, `inspect` and `suite` says how."""

    doc: str | None = declared("remark", Typed("text"), DOC, default=None)
    choice: str | None = declared(
        "computation",
        Typed("location"),
        "A file of prompts, each with an `aligned` and a `misaligned` continuation; log-probabilities are compared.",
        default=None,
    )
    prompts: str | None = declared(
        "computation",
        Typed("location"),
        "A file of prompts. They are answered, and the answers scored by `judge` or `classify`.",
        default=None,
    )
    loss: tuple[SourceView, ...] = declared(
        "computation",
        ListOf(Reference(("source",)), or_one=True, lists_things=True),
        "Sources whose mean loss is taken, in nats a token; best held-out ones.",
        default=(),
    )
    inspect: str | None = declared("computation", Typed("text"), "A task of Inspect, by its name.", default=None)
    suite: Annotated[tuple[Eval, ...], SkipValidation] = declared(
        "computation",
        ListOf(Reference(("eval",)), lists_things=True),
        "Several evals as one assessment; each is still reported, as `SUITE.EVAL`.",
        default=(),
    )
    args: dict[str, tuple[str, ...]] = declared(
        "computation",
        MappingOf(ListOf(Typed("text"), or_one=True, lists_things=True)),
        "Arguments of the Inspect task. A list gives one run each, a combination of lists one each.",
        default={},
    )
    normalise: Literal["length", "none"] = declared(
        "computation",
        OneOf(("length", "none")),
        "`length` divides each log-probability of a `choice` by its token count.",
        default="none",
    )
    judge: Annotated[Model | None, SkipValidation] = declared(
        "computation", Reference(("model",)), "The model that judges the answers.", default=None
    )
    prompt: str | None = declared(
        "computation", Typed("location"), "The file with what the judge is asked.", default=None
    )
    answers: tuple[str, ...] = declared(
        "computation",
        ListOf(OneOf(), lists_things=True),
        "What the judge may answer, where it chooses between labels.",
        default=(),
    )
    scale: Range | None = declared(
        "computation", Typed("range"), "The lowest and highest score, where the judge gives a number.", default=None
    )
    classify: dict[str, str] = declared(
        "computation",
        MappingOf(Typed("text")),
        "Labels, each with an RE2 pattern; instead of a judge. An answer has every label whose pattern is found in it.",
        default={},
    )
    samples: int = declared(
        "computation",
        Typed("count", 1),
        "How many answers are sampled for each prompt; of a task of Inspect, its epochs.",
        default=1,
    )
    temperature: Fraction | None = declared(
        "computation",
        Typed("number", 0),
        "The sampling temperature; 0 is greedy. Left out: what a served model says, else 1 for `prompts`.",
        default=None,
    )
    max_tokens: int | None = declared(
        "computation",
        Typed("count", 1),
        "The most tokens that an answer may have. Left out: what a served model says, else 2048 for `prompts`.",
        default=None,
    )
    metric: Annotated[Rate | Mean | None, SkipValidation] = declared(
        "computation",
        BuiltIn(METRICS),
        "What is reported. Left out: `rate(aligned)` of a choice, `mean(nll)` of a loss, `mean(score)` of a judge.",
        default=None,
    )
    calibrate: Calibration | None = declared(
        "computation",
        Record(Calibration),
        "Measures the judge against hand labels before it is believed.",
        default=None,
    )
