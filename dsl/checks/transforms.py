"""Rules for single transforms: the fields that they make, and whether their settings mean something there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from dsl.checks.finding import Finding, at, title
from dsl.checks.formats import PLURAL, origin_format
from dsl.checks.records import Step, new_fields, steps_of
from dsl.declarations.data import Augment, Source
from dsl.declarations.installed import word_of
from dsl.declarations.transforms import Dedup, Exclude, Judge, Rewrite, Score, Set, Take
from dsl.hole import IncompleteError
from dsl.record_fields import DERIVED, OWN
from dsl.scalars import ScalarError, parse_text
from dsl.values import Field


def new_fields_are_new(chain: Source | Augment) -> Iterator[Finding]:
    """A field that a transform makes can be named in conditions, and no other field has its name."""
    for step in steps_of(chain):
        with suppress(IncompleteError):
            for name in new_fields(step.transform) or ():
                yield from _taken(step, name)


def judges_choose(chain: Source | Augment) -> Iterator[Finding]:
    """A judge chooses between two answers or more, and a scale has two ends."""
    for step in steps_of(chain):
        with suppress(IncompleteError):
            if isinstance(step.transform, Judge) and len(step.transform.answers) == 1:
                message = f"the judge may answer {step.transform.answers[0]} alone"
                yield Finding(message, step.place("answers"), "write two answers or more: 'answers=[yes, no]'")
            elif isinstance(step.transform, Score) and step.transform.scale.low == step.transform.scale.high:
                yield Finding("a scale of one number tells nothing", step.place("scale"), "write 'scale=1..10'")


def columns_are_read(source: Source) -> Iterator[Finding]:
    """No column is named as a field that is derived from the record, which conditions would read instead."""
    format = origin_format(source)
    for name in source.fields:
        if format is not None and name in DERIVED[format] and name not in OWN[format]:
            message = f"'{name}' in 'fields' of {title(source)} is never read: {PLURAL[format]} have their own"
            yield Finding(message, at(source, f"fields.{name}", "fields"), "give the column another name")


def settings_have_effect(chain: Source | Augment) -> Iterator[Finding]:
    """Nothing is silently ignored: each setting of a transform means something for the records that it gets."""
    for step in steps_of(chain):
        with suppress(IncompleteError):
            transform = step.transform
            if isinstance(transform, Rewrite) and step.records.formats == ("documents",) and _writes(step, "turns"):
                message = "'turns' does nothing in rewrite: documents have no turns"
                yield Finding(message, step.place("turns"), "leave it out: a document is rewritten as a whole")
            if isinstance(transform, Dedup) and transform.by == "exact" and _writes(step, "threshold"):
                message = "'threshold' does nothing in dedup: exact repeats are equal"
                yield Finding(message, step.place("threshold"), "leave it out, or write 'by=minhash'")
            if isinstance(transform, Exclude):
                unread, other = ("threshold", "embedding") if transform.by == "ngram" else ("ngram", "ngram")
                if _writes(step, unread):
                    message = f"'{unread}' does nothing in exclude, which goes by {transform.by}"
                    yield Finding(message, step.place(unread), f"leave it out, or write 'by={other}'")


def amounts_are_there(chain: Source | Augment) -> Iterator[Finding]:
    """What `take` counts is there: prompts have no tokens that are trained."""
    for step in steps_of(chain):
        with suppress(IncompleteError):
            is_trained = isinstance(step.transform, Take) and step.transform.amount.unit == "trained tokens"
            if is_trained and step.records.formats == ("prompts",):
                message = "prompts have no trained tokens to take: the answers are still to be written"
                yield Finding(message, step.place(), "take so many 'examples' or 'tokens'")


def _writes(step: Step, argument: str) -> bool:
    return f"apply[{step.index}].{argument}" in step.chain.places


def _taken(step: Step, name: str) -> Iterator[Finding]:
    word = word_of(step.transform)
    place = step.place("field" if isinstance(step.transform, Set) else "as")
    before, formats = step.records.fields.get(name), step.records.formats
    if not _can_be_named(name):
        yield Finding(
            f"no condition can name the field '{name}'", place, "take a name of letters, digits and '_': 'took_bait'"
        )
    elif all(name in DERIVED[one] or name in OWN[one] for one in formats):
        message = f"records have a field '{name}' already here, and {word} makes another"
        yield Finding(message, place, "take another name")
    elif before and before.maker == "fields":
        message = f"'fields' names a column '{name}', and {word} makes another"
        yield Finding(message, place, "take another name")
    elif before and before.is_current:
        message = f"'{before.maker}' has made a field '{name}', and {word} makes another"
        yield Finding(message, place, "take another name, or leave one of the two out")


def _can_be_named(name: str) -> bool:
    try:
        return parse_text("predicate", name) == Field(name)
    except ScalarError:
        return False
