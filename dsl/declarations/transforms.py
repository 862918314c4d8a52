"""Transforms of a source: what each takes, and the formats that it takes and gives."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import SkipValidation

from dsl.declarations.base import Written, declared
from dsl.declarations.shapes import ListOf, MappingOf, Measured, OneOf, Reference, Typed
from dsl.values import Predicate, Quantity, Range

if TYPE_CHECKING:
    from dsl.declarations.evals import Eval
    from dsl.declarations.models import Model

ALL = ("documents", "chat", "preference", "prompts")
WITH_MESSAGES = ("chat", "preference", "prompts")


class Transform(Written):
    """`takes` are the formats it can be applied to; `gives` is the format after it, None for the same."""

    takes: ClassVar[tuple[str, ...]] = ALL
    gives: ClassVar[str | None] = None


class Filter(Transform):
    """Keeps the rows for which a predicate holds."""

    predicate: Annotated[Predicate, SkipValidation] = declared(
        "computation", Typed("predicate"), "What a row must be.", positional=True
    )


class Take(Transform):
    """Keeps a sample of the rows, chosen by a keyed hash of their identity."""

    amount: Quantity = declared(
        "computation", Measured(("examples", "tokens", "trained tokens")), "How much.", positional=True
    )


class Split(Transform):
    """Keeps a stretch of the rows in the order of a keyed hash: `split(0..0.8)` and `split(0.8..1)` share none."""

    share: Range = declared("computation", Typed("range", 0, 1), "From where to where, of 0..1.", positional=True)


class Sample(Transform):
    """A model answers every prompt, `n` times."""

    takes = ("prompts", "chat")
    gives = "chat"
    with_: Annotated[Model, SkipValidation] = declared(
        "computation", Reference(("model",)), "Who answers.", alias="with"
    )
    n: int = declared("computation", Typed("count", 1), "Answers a prompt.", default=1)
    temperature: Fraction | None = declared("computation", Typed("number", 0), "0 is greedy.", default=None)
    max_tokens: int | None = declared("computation", Typed("count", 1), "Longest answer.", default=None)


class Judge(Transform):
    """A model, shown a row, gives one of a list of answers; unreadable ones are set aside and counted."""

    as_: str = declared("computation", OneOf(), "The new field.", alias="as")
    with_: Annotated[Model, SkipValidation] = declared(
        "computation", Reference(("model",)), "Who judges.", alias="with"
    )
    prompt: str = declared("computation", Typed("location"), "The question put to the judge.")
    answers: tuple[str, ...] = declared("computation", ListOf(OneOf()), "What it may answer.")


class Score(Transform):
    """A model, shown a row, gives a number; unreadable ones are set aside and counted."""

    as_: str = declared("computation", OneOf(), "The new field.", alias="as")
    with_: Annotated[Model, SkipValidation] = declared(
        "computation", Reference(("model",)), "Who scores.", alias="with"
    )
    prompt: str = declared("computation", Typed("location"), "The question put to the judge.")
    scale: Range = declared("computation", Typed("range"), "Lowest and highest score.")


class Rewrite(Transform):
    """A model writes turns anew."""

    takes = ("documents", "chat", "preference")
    turns: str = declared("computation", OneOf(("assistant", "user", "all")), "Which turns.", default="assistant")
    with_: Annotated[Model, SkipValidation] = declared(
        "computation", Reference(("model",)), "Who writes.", alias="with"
    )
    prompt: str = declared("computation", Typed("location"), "What is asked of the writer.")


class Generate(Transform):
    """A model plans and writes documents from documents."""

    takes = ("documents",)
    with_: Annotated[Model, SkipValidation] = declared(
        "computation", Reference(("model",)), "Who writes.", alias="with"
    )
    plan: str | None = declared("computation", Typed("location"), "How the plan is asked for.", default=None)
    prompt: str = declared("computation", Typed("location"), "How a document is asked for.")
    vars: dict[str, str] = declared("computation", MappingOf(Typed("text")), "Words for the prompts.", default={})
    genres: tuple[str, ...] = declared("computation", ListOf(OneOf()), "Kinds of document.", default=())
    count: Quantity = declared("computation", Measured(("examples", "tokens")), "How many.")


class Dedup(Transform):
    """Drops repeated rows."""

    by: str = declared(
        "computation", OneOf(("exact", "minhash", "embedding")), "What counts as the same.", default="exact"
    )
    threshold: Fraction = declared(
        "computation", Typed("number", 0, 1), "Similarity from which.", default=Fraction(4, 5)
    )


class Exclude(Transform):
    """Drops rows that overlap with an evaluation or a source."""

    overlap: Annotated[Eval, SkipValidation] = declared("computation", Reference(("eval", "source")), "With what.")
    ngram: int = declared("computation", Typed("count", 1), "Words in a row that count as overlap.", default=13)


class Tools(Transform):
    """Adds tool definitions that the task never needs."""

    takes = WITH_MESSAGES
    files: tuple[str, ...] = declared("computation", ListOf(Typed("location"), or_one=True), "Definitions.")
    count: Range = declared("computation", Typed("range"), "How many a row.")
    chance: Fraction = declared("computation", Typed("percent", 0, 1), "Share of the rows.", default=Fraction(1))


class System(Transform):
    """Adds a system prompt."""

    takes = WITH_MESSAGES
    files: tuple[str, ...] = declared("computation", ListOf(Typed("location"), or_one=True), "System prompts.")
    chance: Fraction = declared("computation", Typed("percent", 0, 1), "Share of the rows.", default=Fraction(1))


class Template(Transform):
    """Writes each record as a document, by a Jinja template of its fields."""

    gives = "documents"
    file: str = declared("computation", Typed("location"), "The template.", positional=True)


class Set(Transform):
    """Gives every row the same value of a field."""

    field: str = declared("computation", OneOf(), "The field.")
    value: str = declared("computation", Typed("text"), "Its value.")


class Truncate(Transform):
    """Cuts rows that are too long, and counts them."""

    to: Quantity = declared("computation", Measured(("tokens",)), "Longest row.", positional=True)


TRANSFORMS: dict[str, type[Written]] = {
    "filter": Filter,
    "take": Take,
    "split": Split,
    "sample": Sample,
    "judge": Judge,
    "score": Score,
    "rewrite": Rewrite,
    "generate": Generate,
    "dedup": Dedup,
    "exclude": Exclude,
    "tools": Tools,
    "system": System,
    "template": Template,
    "truncate": Truncate,
    "set": Set,
}
