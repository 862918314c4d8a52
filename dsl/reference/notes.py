"""What the declarations can't say of themselves: names of groups, and meanings of scalar types and units."""

from __future__ import annotations

from dataclasses import dataclass

from dsl.declarations.base import Role
from dsl.scalars import ScalarKind
from dsl.values import Unit


@dataclass(frozen=True, slots=True)
class Group:
    """Built-ins for one field: what one of them is called, and the heading over all."""

    word: str
    heading: str


GROUPS = {
    "apply": Group("a transform", "Transforms"),
    "shares": Group("a way to share", "Shares"),
    "objective": Group("an objective", "Objectives"),
    "rollout": Group("a way to sample", "Rollouts"),
    "optimizer": Group("an optimizer", "Optimizers"),
    "schedule": Group("a schedule", "Schedules"),
    "adapter": Group("an adapter", "Adapters"),
    "metric": Group("a metric", "Metrics"),
    "match": Group("a dose", "Doses"),
    "distance": Group("a distance", "Distances"),
    "launcher": Group("a launcher", "Launchers"),
}
"""By the field where they stand."""

WORDS = {
    "edition": (
        "`edition: 2026`",
        "The rules that the file is written for. A later edition never changes the meaning of an older file.",
    ),
    "import": (
        "`import:` with `ALIAS: FILE`",
        "Gives the names of another file as `ALIAS.NAME`; `ALIAS: {file: FILE, let: {NAME: VALUE}}` gives it other "
        "constants. No cycles, no wildcards, nothing outside the project unless `--allow-outside` says so.",
    ),
    "let": (
        "`let:` with `NAME: VALUE`",
        "Constants: scalars, lists, mappings, names, calls. `$NAME` stands for a whole value or argument, and has the "
        "type of the place where it stands. `--set NAME=VALUE` changes one for a run.",
    ),
    "extends": (
        "`extends: NAME`",
        "Starts from another declaration of the same kind. Written fields replace, a mapping merges by key, a list or "
        "call is replaced whole. `mixc show FILE NAME --resolved` tells what came from where.",
    ),
    "drop": (
        "`KEY: drop`",
        "Takes back what `extends` gives: an entry of a mapping, or a field, which then has its default. "
        "`NAME(FIELD=drop)` does it in a call.",
    ),
    "base": (
        "`base |> …`",
        "In the arms of a study, the study's base; bound last, so that an extending study has its own.",
    ),
    "none": ("`LEVEL: none`", "In a matrix, the level without a stage."),
}
"""Words that no declaration has: how each is written, and what it says."""

ROLES: dict[Role, str] = {
    "computation": "changing it reruns what depends on it",
    "execution": "how and where it is run: recorded with the results, and no reason to rerun",
    "retention": "what is kept, not what comes out",
    "remark": "changing it does nothing",
}

SCALARS: dict[ScalarKind, str] = {
    "count": (
        "Suffixes k, M, B, T are powers of 1000, Ki, Mi, Gi, Ti of 1024. A point or an exponent is fine where the "
        "value is whole: `1.5k`, `1e3` and `4.0` are counts, `1.5` is an error. Exact: nothing is rounded."
    ),
    "quantity": (
        "A field says which units it takes. `tokens` are all tokens that are read, `trained tokens` those with a loss; "
        "padding never counts. Whole as a count is (`1e3 steps` is `1000 steps`), but for epochs, minutes and dollars. "
        "Each unit has its singular: `1 example`."
    ),
    "amount": (
        "How much of a mix a part is. Quantities and `all` come first, then percents of the whole, then what is left "
        "by ratio; `rest` is the ratio 1."
    ),
    "when": (
        "Fires at the first step at or past the point. Percents are of the last stage, or of the one that `of` names; "
        "`every` leaves out the start and includes the end. A list is written in brackets: `[start, every 10%]`."
    ),
    "range": "Both bounds are included.",
    "number": "Kept exactly as written.",
    "percent": "Where a percent stands, a plain number is an error: `3%`, not `0.03`.",
    "boolean": "Nothing else: `yes`, `no`, `on` and `off` are words.",
    "word": "One of a list that the field gives, or a label of your own. A label with other characters is quoted.",
    "name": (
        "A declaration of this file, or `alias.name` of an import. `NAME.holdout` is what a source sets aside, "
        "`SUITE.EVAL` is a member of a suite."
    ),
    "call": (
        "A built-in with its arguments, or a declaration with fields replaced. Dotted paths reach inside: "
        "`finetune(optimizer.lr=3e-4)`. `adamw(lr=1e-4)` and the mapping `adamw: {lr: 1e-4}` are the same."
    ),
    "flow": (
        "Left to right: a source through augments is a source, a model through stages is a model. It may go on over "
        "indented lines."
    ),
    "predicate": (
        '`==`, `!=`, `<`, `<=`, `>`, `>=`, `in LOW..HIGH`, `matches(FIELD, "PATTERN")`, `has(FIELD)`, joined by `not`, '
        "`and`, `or` with Python's precedence. Comparisons don't chain. A missing field is an error unless `has` asks "
        'first. Patterns are RE2, and `\\"` is their only escape.'
    ),
    "claim": (
        "Results are `EVAL(ARM)`, `EVAL(FACTOR=LEVEL)` and `EVAL(ARM, at=POINT)`; `at` is `end` unless said, `at=all` "
        "is one joint test over all common points. `- 2%` is two percentage points."
    ),
    "location": (
        "Relative to the file that says it, and inside the project. With a scheme (`hf://`, `gs://`, `s3://`, "
        "`package://`) it is taken as it is."
    ),
    "text": "Anything. Quotes are needed where YAML needs them: before `#`, `: ` and other marks of YAML.",
}
"""What each scalar type means, beside its form."""

UNITS: dict[Unit, str] = {
    "tokens": "All tokens that are read, by the tokenizer of the model that reads them, after its chat template: "
    "`2M tokens`. Padding never counts.",
    "trained tokens": "Tokens with a loss: under `loss: assistant`, those of the assistant's turns.",
    "steps": "Updates of the weights, one for each `batch`: `500 steps`.",
    "epochs": "Passes over a source, or over the budget of a mix; also in part: `1.5 epochs`.",
    "examples": "Records: a document, a chat, a preference or a prompt each: `800 examples`.",
    "prompts": "What `grpo` counts a batch in: each prompt is answered by a group of completions.",
    "completions": "Answers that a model samples in training with `grpo`.",
    "bytes": "Memory, written with the unit beside the number: `16GiB`. KiB, MiB, GiB and TiB are powers of 1024.",
    "minutes": "Time by the clock, only where no result depends on it: `90 minutes`.",
    "dollars": "What calls of a served model may cost: `20 dollars`.",
}
"""What each unit counts."""
