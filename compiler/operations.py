"""What a transform does to rows, as values that travel as JSON: one for each transform of the language.

Numbers are exact, as decimals or fractions in text. Locations stand as the plan writes them; a step's key takes what is
in the files instead.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from compiler.values import EXECUTION, REMARK, Frozen, Measure, ModelPoint


class Asked(Frozen):
    """A model that is asked, with its settings: a served one (`api`), or weights of ours (`point`)."""

    name: str = Field(json_schema_extra=REMARK)
    """As the spec calls it."""
    api: str | None = None
    """PROVIDER/NAME, as Inspect writes it."""
    point: ModelPoint | None = None
    weights: str | None = None
    """The `weights` step that `point` began with: shape, tokenizer and chat template."""
    template_args: dict[str, str] = Field(default_factory=dict[str, str])
    temperature: str | None = None
    top_p: str | None = None
    max_tokens: int | None = None
    spend: str | None = Field(default=None, json_schema_extra=EXECUTION)
    """Dollars that its calls may cost."""
    price: tuple[str, str] | None = Field(default=None, json_schema_extra=EXECUTION)
    """Dollars for a million tokens in and out, where the spec says them."""


class Filter(Frozen):
    """Keeps the rows for which the predicate, in the language's own words, holds."""

    do: Literal["filter"] = "filter"
    predicate: str


class Take(Frozen):
    do: Literal["take"] = "take"
    amount: Measure


class Holdout(Frozen):
    """One side of a source: the rows that stay, or those set aside."""

    do: Literal["holdout"] = "holdout"
    side: Literal["kept", "held_out"]
    share: str


class Split(Frozen):
    """The rows whose keyed hash, as a number from 0 to 1, lies in `low` to `high` (exclusive, but for 1)."""

    do: Literal["split"] = "split"
    low: str
    high: str


class SetField(Frozen):
    do: Literal["set"] = "set"
    field: str
    value: str


class Truncate(Frozen):
    do: Literal["truncate"] = "truncate"
    tokens: int


class Template(Frozen):
    do: Literal["template"] = "template"
    file: str


class Dedup(Frozen):
    do: Literal["dedup"] = "dedup"
    by: Literal["exact", "minhash", "embedding"]
    threshold: str | None
    """None for `exact`."""


class Exclude(Frozen):
    """Drops rows that overlap with `against`: `transform`, `read` or further row steps.

    `by: ngram` shares so many words in sequence; `by: embedding` is nearer than the threshold.
    """

    do: Literal["exclude"] = "exclude"
    against: tuple[str, ...]
    by: Literal["ngram", "embedding"]
    ngram: int | None
    threshold: str | None


class Tools(Frozen):
    do: Literal["tools"] = "tools"
    files: tuple[str, ...]
    low: int
    high: int
    chance: str


class System(Frozen):
    do: Literal["system"] = "system"
    files: tuple[str, ...]
    chance: str


class Sample(Frozen):
    do: Literal["sample"] = "sample"
    model: Asked
    n: int


class Judge(Frozen):
    do: Literal["judge"] = "judge"
    model: Asked
    field: str
    prompt: str
    answers: tuple[str, ...]


class Score(Frozen):
    do: Literal["score"] = "score"
    model: Asked
    field: str
    prompt: str
    low: str
    high: str


class Rewrite(Frozen):
    do: Literal["rewrite"] = "rewrite"
    model: Asked
    turns: Literal["assistant", "user", "all"]
    prompt: str


class Generate(Frozen):
    do: Literal["generate"] = "generate"
    model: Asked
    plan: str | None
    prompt: str
    vars: dict[str, str]
    genres: tuple[str, ...]
    angles: tuple[str, ...]
    audiences: tuple[str, ...]
    count: Measure


class PlugIn(Frozen):
    """A transform of an installed package: its name, its version, and its fields as JSON."""

    do: Literal["plug_in"] = "plug_in"
    name: str
    version: str
    fields: dict[str, Any]
    files: tuple[str, ...] = ()


Choosing: TypeAlias = Filter | Take | Holdout | Split | Dedup | Exclude
"""Operations that give some of the rows that they take; the others make new ones."""

ModelMade: TypeAlias = Sample | Judge | Score | Rewrite | Generate
"""Operations that ask a model."""

Operation: TypeAlias = Annotated[
    Filter
    | Take
    | Holdout
    | Split
    | SetField
    | Truncate
    | Template
    | Dedup
    | Exclude
    | Tools
    | System
    | Sample
    | Judge
    | Score
    | Rewrite
    | Generate
    | PlugIn,
    Field(discriminator="do"),
]
"""An operation as JSON tells it: by what it does."""


def locations_of(operation: Operation) -> tuple[str, ...]:
    """The locations of the files that an operation reads: prompts, templates, definitions of tools."""
    match operation:
        case Tools(files=files) | System(files=files) | PlugIn(files=files):
            return files
        case Template(file=file):
            return (file,)
        case Judge(prompt=prompt) | Score(prompt=prompt) | Rewrite(prompt=prompt):
            return (prompt,)
        case Generate(plan=plan, prompt=prompt):
            return (prompt,) if plan is None else (plan, prompt)
        case _:
            return ()
