"""Transforms of a source: what each takes, and the formats that it takes and gives."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import SkipValidation

from dsl.declarations.base import Written, declared
from dsl.declarations.shapes import ListOf, MappingOf, Measured, OneOf, Reference, Typed
from dsl.values import Predicate, Quantity, Range

if TYPE_CHECKING:
    from dsl.declarations.evals import Eval
    from dsl.declarations.models import Model

ALL = ("documents", "chat", "preference", "prompts")
WITH_MESSAGES = ("chat", "preference", "prompts")

TEMPERATURE = "The sampling temperature; 0 is greedy. Left out: the model's own."
MAX_TOKENS = "The most tokens that an answer may have. Left out: the model's own."


class Transform(Written):
    """`takes` are the formats it can be applied to; `gives` is the format after it, None for the same."""

    takes: ClassVar[tuple[str, ...]] = ALL
    gives: ClassVar[str | None] = None


class Filter(Transform):
    """Keeps the rows for which a condition holds: `filter(turns >= 2 and not has_tools)`."""

    predicate: Annotated[Predicate, SkipValidation] = declared(
        "computation", Typed("predicate"), "What a row must be to stay.", positional=True
    )


class Take(Transform):
    """Keeps so many rows, chosen by a keyed hash of their content: `take(3M tokens)`."""

    amount: Quantity = declared(
        "computation", Measured(("examples", "tokens", "trained tokens")), "How much is kept.", positional=True
    )


class Split(Transform):
    """Keeps a stretch of the rows in the order of a keyed hash: `split(0..0.8)` and `split(0.8..1)` share none."""

    share: Range = declared(
        "computation",
        Typed("range", 0, 1),
        "From where to where in that order, which runs from 0 to 1.",
        positional=True,
    )


class Sample(Transform):
    """A model answers every prompt, `n` times; each answer makes a chat."""

    takes = ("prompts", "chat")
    gives = "chat"
    with_: Annotated[Model, SkipValidation] = declared(
        "computation", Reference(("model",)), "The model that answers.", alias="with"
    )
    n: int = declared("computation", Typed("count", 1), "How many answers each prompt gets.", default=1)
    temperature: Fraction | None = declared("computation", Typed("number", 0), TEMPERATURE, default=None)
    max_tokens: int | None = declared("computation", Typed("count", 1), MAX_TOKENS, default=None)


class Judge(Transform):
    """A model, shown a row, gives one of a list of answers, kept in a new field.

    Rows whose judgement can't be read are set aside and counted.
    """

    as_: str = declared("computation", OneOf(), "The new field, which later conditions can test.", alias="as")
    with_: Annotated[Model, SkipValidation] = declared(
        "computation", Reference(("model",)), "The model that judges.", alias="with"
    )
    prompt: str = declared("computation", Typed("location"), "The file with the question that is put to the judge.")
    answers: tuple[str, ...] = declared("computation", ListOf(OneOf(), lists_things=True), "What the judge may answer.")


class Score(Transform):
    """A model, shown a row, gives a number, kept in a new field.

    Rows whose judgement can't be read are set aside and counted.
    """

    as_: str = declared("computation", OneOf(), "The new field, which later conditions can test.", alias="as")
    with_: Annotated[Model, SkipValidation] = declared(
        "computation", Reference(("model",)), "The model that scores.", alias="with"
    )
    prompt: str = declared("computation", Typed("location"), "The file with the question that is put to the judge.")
    scale: Range = declared("computation", Typed("range"), "The lowest and highest score.")


class Rewrite(Transform):
    """A model writes turns of each row anew."""

    takes = ("documents", "chat", "preference")
    turns: Literal["assistant", "user", "all"] = declared(
        "computation", OneOf(("assistant", "user", "all")), "Whose turns are written anew.", default="assistant"
    )
    with_: Annotated[Model, SkipValidation] = declared(
        "computation", Reference(("model",)), "The model that writes.", alias="with"
    )
    prompt: str = declared("computation", Typed("location"), "The file with what is asked of the writer.")
    temperature: Fraction | None = declared("computation", Typed("number", 0), TEMPERATURE, default=None)
    max_tokens: int | None = declared("computation", Typed("count", 1), MAX_TOKENS, default=None)


class Generate(Transform):
    """A model plans and writes documents from documents."""

    takes = ("documents",)
    with_: Annotated[Model, SkipValidation] = declared(
        "computation", Reference(("model",)), "The model that writes.", alias="with"
    )
    plan: str | None = declared(
        "computation", Typed("location"), "The file with how a plan of documents is asked for first.", default=None
    )
    prompt: str = declared("computation", Typed("location"), "The file with how a document is asked for.")
    vars: dict[str, str] = declared(
        "computation", MappingOf(Typed("text")), "Words that the prompts refer to.", default={}
    )
    genres: tuple[str, ...] = declared(
        "computation", ListOf(OneOf()), "The kinds of document that are written.", default=()
    )
    angles: tuple[str, ...] = declared(
        "computation", ListOf(OneOf()), "The angles from which documents look at their subject.", default=()
    )
    audiences: tuple[str, ...] = declared(
        "computation", ListOf(OneOf()), "The readers that documents are written for.", default=()
    )
    count: Quantity = declared("computation", Measured(("examples", "tokens")), "How much is written.")
    temperature: Fraction | None = declared("computation", Typed("number", 0), TEMPERATURE, default=None)
    max_tokens: int | None = declared("computation", Typed("count", 1), MAX_TOKENS, default=None)


class Dedup(Transform):
    """Drops rows that repeat an earlier one."""

    by: Literal["exact", "minhash", "embedding"] = declared(
        "computation",
        OneOf(("exact", "minhash", "embedding")),
        "What counts as the same: equal text, shared word sequences, or near meaning.",
        default="exact",
    )
    threshold: Fraction | None = declared(
        "computation",
        Typed("number", 0, 1),
        "The similarity from which two rows count as the same. Left out: 0.8 of `minhash`, 0.95 of `embedding`.",
        default=None,
    )


class Exclude(Transform):
    """Drops rows that overlap with an eval or a source, so that nothing measured is trained on."""

    overlap: Annotated[Eval, SkipValidation] = declared(
        "computation", Reference(("eval", "source")), "The eval or source that rows may not overlap with."
    )
    by: Literal["ngram", "embedding"] = declared(
        "computation",
        OneOf(("ngram", "embedding")),
        "What counts as an overlap: shared word sequences, or near meaning.",
        default="ngram",
    )
    ngram: int = declared(
        "computation",
        Typed("count", 1),
        "How many shared words in sequence count as an overlap; `embedding` needs none.",
        default=13,
    )
    threshold: Fraction = declared(
        "computation",
        Typed("number", 0, 1),
        "The similarity from which `embedding` counts an overlap; `ngram` needs none.",
        default=Fraction(4, 5),
    )


class Tools(Transform):
    """Adds tool definitions to rows, which the task never needs."""

    takes = WITH_MESSAGES
    files: tuple[str, ...] = declared(
        "computation",
        ListOf(Typed("location"), or_one=True, lists_things=True),
        "Files with tool definitions to choose from.",
    )
    count: Range = declared("computation", Typed("range", 0), "How many are added to a row: any number in this range.")
    chance: Fraction = declared(
        "computation", Typed("percent", 0, 1, above=0), "The share of the rows that get some.", default=Fraction(1)
    )


class System(Transform):
    """Adds a system prompt to rows."""

    takes = WITH_MESSAGES
    files: tuple[str, ...] = declared(
        "computation",
        ListOf(Typed("location"), or_one=True, lists_things=True),
        "Files with system prompts to choose from.",
    )
    chance: Fraction = declared(
        "computation", Typed("percent", 0, 1, above=0), "The share of the rows that get some.", default=Fraction(1)
    )


class Template(Transform):
    """Writes each record as a document, by a sandboxed Jinja template of its fields."""

    gives = "documents"
    file: str = declared("computation", Typed("location"), "The template file.", positional=True)


class Set(Transform):
    """Gives every row the same value of a field."""

    field: str = declared("computation", OneOf(), "The field that is set.")
    value: str = declared("computation", Typed("text"), "The value that it gets.")


class Truncate(Transform):
    """Cuts rows that are too long, and counts them: `truncate(2048 tokens)`."""

    to: Quantity = declared("computation", Measured(("tokens",)), "The longest that a row may be.", positional=True)


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
