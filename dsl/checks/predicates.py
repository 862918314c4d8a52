"""Rules for the conditions of filters: their fields, the types of these, and what they can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Literal

from dsl.checks.facts import Facts, facts_of, format_kind, outcome, outcome_in
from dsl.checks.finding import Finding, title
from dsl.checks.formats import PLURAL
from dsl.checks.patterns import pattern_help, pattern_mistake
from dsl.checks.records import Step, steps_of
from dsl.declarations.base import Place
from dsl.declarations.data import Augment, Source
from dsl.declarations.transforms import Filter
from dsl.describe import alternatives
from dsl.hole import IncompleteError
from dsl.record_fields import DERIVED, Kind
from dsl.scalars import ScalarError, parse_text
from dsl.source import Span
from dsl.unparse import unparse
from dsl.values import Compare, Constant, Expression, Field, Has, InRange, Logic, Matches, Not, Predicate


def fields_fit(chain: Source | Augment) -> Iterator[Finding]:
    """A condition tests fields that the records have there, each as the number, text, or true or false that it is."""
    yield from _findings(chain, "field")


def labels_are_quoted(chain: Source | Augment) -> Iterator[Finding]:
    """A bare word beside `==` is a field; a label stands in double quotes."""
    yield from _findings(chain, "label")


def conditions_choose(chain: Source | Augment) -> Iterator[Finding]:
    """A condition holds for some records and not for others, as far as the text tells."""
    yield from _findings(chain, "constant")


def patterns_are_readable(chain: Source | Augment) -> Iterator[Finding]:
    """The patterns of conditions are RE2."""
    yield from _findings(chain, "pattern")


@dataclass(frozen=True, slots=True)
class _Mistake:
    about: Literal["field", "label", "constant", "pattern"]
    message: str
    span: Span
    help: str


def _findings(chain: Source | Augment, about: str) -> Iterator[Finding]:
    for step in steps_of(chain):
        with suppress(IncompleteError):  # a hole in one condition says nothing about the others
            if isinstance(step.transform, Filter):
                predicate = step.transform.predicate
                checker = _Checker(step, _asked(predicate), title(chain) if step.chain is not chain else "")
                told = {one.message: one for one in reversed([*checker.check(predicate)])}
                for one in reversed(told.values()):
                    if one.about == about:
                        place = step.place()
                        if _is_written(predicate, place):
                            place = Place(place.source, one.span)
                        yield Finding(one.message, place, one.help)


def _is_written(predicate: Predicate, place: Place) -> bool:
    """Whether a predicate's places are those of its text in this file: not where a constant gave it, or quotes hide
    escapes."""
    span = predicate.span
    try:
        return parse_text("predicate", place.source.text[span.start : span.end]) == predicate
    except ScalarError:
        return False


def _asked(predicate: Predicate) -> frozenset[str]:
    """The fields that `has` asks for: they may be columns of the file, of any type."""
    match predicate:
        case Has(field=field):
            return frozenset((field.name,))
        case Not(operand=operand):
            return _asked(operand)
        case Logic(operands=operands):
            return frozenset[str]().union(*map(_asked, operands))
        case _:
            return frozenset()


@dataclass(frozen=True, slots=True)
class _Checker:
    """Types one condition, for the records that come to it."""

    step: Step
    asked: frozenset[str]
    sender: str
    """The source that sends its records through an augment, in words."""

    def check(self, predicate: Predicate) -> Iterator[_Mistake]:
        match predicate:
            case Logic(operands=operands):
                for operand in operands:
                    yield from self.check(operand)
            case Not(operand=operand):
                yield from self.check(operand)
            case Has(field=field):
                yield from self._has(field, predicate)
            case Matches(field=field):
                yield from self._matches(field, predicate)
            case InRange():
                yield from self._in_range(predicate)
            case Compare():
                yield from self._compare(predicate)
            case Field():
                yield from self._absent(predicate)
                kind = self._facts(predicate).kind
                if kind not in (None, "true or false"):
                    message = f"'{predicate.name}' is {kind}, and a condition alone is true or false"
                    yield _Mistake("field", message, predicate.span, _comparison(predicate.name, kind))

    def _has(self, field: Field, predicate: Has) -> Iterator[_Mistake]:
        if self._facts(field).is_there:
            other = f"has_{field.name}"
            help = f"did you mean '{other}'?" if other in self.step.records.derived() else "leave it out"
            message = f"'has({field.name})' always holds: every record has it here"
            yield _Mistake("constant", message, predicate.span, help)

    def _matches(self, field: Field, predicate: Matches) -> Iterator[_Mistake]:
        yield from self._absent(field)
        kind = self._facts(field).kind
        if kind not in (None, "a text"):
            message = f"'{field.name}' is {kind}, and 'matches' searches a text"
            yield _Mistake("field", message, predicate.span, _comparison(field.name, kind))
        if mistake := pattern_mistake(predicate.pattern):
            message = f"'{predicate.pattern}' is not an RE2 pattern: {mistake}"
            yield _Mistake("pattern", message, predicate.span, pattern_help(mistake))

    def _in_range(self, predicate: InRange) -> Iterator[_Mistake]:
        if isinstance(predicate.value, Constant):
            yield _no_field(predicate)
            return
        yield from self._absent(predicate.value)
        facts, bounds = self._facts(predicate.value), predicate.range
        if facts.kind not in (None, "a number"):
            yield _not_a_number(predicate.value, facts.kind, "in", predicate.span)
        elif (holds := outcome_in(facts, bounds)) is not None:
            yield _decided(predicate, holds, facts)

    def _compare(self, predicate: Compare) -> Iterator[_Mistake]:
        sides = predicate.left, predicate.right
        if predicate.left == predicate.right or all(isinstance(side, Constant) for side in sides):
            yield _no_field(predicate)
            return
        if unquoted := self._unquoted_label(*sides) or self._unquoted_label(*reversed(sides)):
            yield unquoted
            return
        if predicate.operator in ("==", "!=") and (bare := self._unknown_label(predicate)):
            yield bare
        for side in sides:
            yield from self._absent(side)
        facts = [self._facts(side) for side in sides]
        if predicate.operator not in ("==", "!="):
            for side, one in zip(sides, facts, strict=True):
                if one.kind not in (None, "a number"):
                    yield _not_a_number(side, one.kind, predicate.operator, predicate.span)
                    return
        left, right = facts
        if left.kind and right.kind and left.kind != right.kind:
            yield _other_kind(sides, left.kind, right.kind, predicate.span)
        elif isinstance(predicate.right, Constant):
            yield from _outcome(predicate, predicate.operator, left, predicate.right)
        elif isinstance(predicate.left, Constant):
            yield from _outcome(predicate, _FLIPPED[predicate.operator], right, predicate.left)

    def _unquoted_label(self, field: Expression, label: Expression) -> _Mistake | None:
        if isinstance(field, Field) and isinstance(label, Field) and self._facts(label) == Facts():
            labels = self._facts(field).labels
            if label.name in labels:
                message = f"'{label.name}' is a field here, and '{field.name}' a label"
                return _Mistake("field", message, label.span, f'quote it: "{label.name}"')
        return None

    def _unknown_label(self, predicate: Compare) -> _Mistake | None:
        """A bare word on the right that names no field that is known: labels stand in quotes."""
        left, right = predicate.left, predicate.right
        if not (isinstance(left, Field) and isinstance(right, Field) and self.step.records.is_whole):
            return None
        facts = self._facts(left)
        if facts.labels or facts.kind in ("a number", "true or false"):
            return None
        is_made = right.name in self.step.records.fields or right.name in self.step.later
        if right.name in self.asked or is_made or self._facts(right) != Facts():
            return None
        message = f"'{right.name}' is read as a field, since a label stands in double quotes"
        column = f"'fields: {{{right.name}: {right.name}}}'"
        help = f'write "{right.name}"; a column of the file that is called so is named in {column}'
        return _Mistake("label", message, right.span, help)

    def _facts(self, expression: Expression) -> Facts:
        return facts_of(expression, self.step.records)

    def _absent(self, expression: Expression) -> Iterator[_Mistake]:
        """That the records have no such field, where that is sure."""
        if not isinstance(expression, Field) or not self.step.records.is_whole:
            return
        name, span, records = expression.name, expression.span, self.step.records
        if name in self.asked or name in records.fields or any(format_kind(one, name) for one in records.formats):
            return
        column = f"a column of the file that is called so is named in 'fields: {{{name}: {name}}}'"
        others = [PLURAL[one] for one in DERIVED if format_kind(one, name)]
        if name in self.step.later:
            maker = self.step.later[name].maker
            message = f"there is no '{name}' yet: '{maker}' makes it further down"
            yield _Mistake("field", message, span, f"put the filter after '{maker}'")
        elif others:
            have = alternatives(PLURAL[one] for one in records.formats)
            sent = f"{self.sender} sends {have} here; " if self.sender else ""
            message = f"{have} have no '{name}': it is a field of {alternatives(others)}"
            yield _Mistake("field", message, span, f"{sent}test {alternatives(records.derived())}; {column}")
        elif near := _near_miss(name, (*records.derived(), *records.fields)):
            yield _Mistake("field", f"unknown field '{name}'", span, f"did you mean '{near}'? If not, {column}")


_NEAR = 0.8


@lru_cache(maxsize=1 << 10)
def _near_miss(name: str, known: tuple[str, ...]) -> str | None:
    """The field that a name is a slip of the pen for: names that only number their fields apart are not."""
    for one in known:
        is_numbered = len(one) == len(name) and one[:-1] == name[:-1]
        ratio = SequenceMatcher(None, name.lower(), one).ratio()
        if ratio >= _NEAR and abs(len(one) - len(name)) <= 1 and not is_numbered:
            return one
    return None


_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def _outcome(predicate: Compare, operator: str, facts: Facts, constant: Constant) -> Iterator[_Mistake]:
    if (holds := outcome(facts, operator, constant.value)) is not None:
        yield _decided(predicate, holds, facts)


def _decided(predicate: Compare | InRange, holds: bool, facts: Facts) -> _Mistake:
    message = f"'{unparse(predicate)}' {'always' if holds else 'never'} holds: {facts.why}"
    help = "write another bound, or leave the filter out"
    if len(facts.labels) > 1:
        help = "write " + alternatives([f'"{one}"' for one in facts.labels])
    return _Mistake("constant", message, predicate.span, help)


def _no_field(predicate: Compare | InRange) -> _Mistake:
    message = f"'{unparse(predicate)}' is the same for every record"
    return _Mistake("constant", message, predicate.span, "compare a field with a value: 'tokens <= 2048'")


def _not_a_number(side: Expression, kind: Kind, operator: str, span: Span) -> _Mistake:
    message = f"'{unparse(side)}' is {kind}, and '{operator}' compares numbers"
    help = "write a number without quotes"
    if isinstance(side, Field):
        help = _comparison(side.name, kind)
        if side.name == "text":
            help += "; 'tokens' is its length"
    return _Mistake("field", message, span, help)


def _other_kind(sides: tuple[Expression, Expression], left: Kind, right: Kind, span: Span) -> _Mistake:
    first, second = (f"'{unparse(side)}'" for side in sides)
    message = f"{first} is {left}, and {second} is {right}"
    field, kind = (sides[0], left) if isinstance(sides[0], Field) else (sides[1], right)
    assert isinstance(field, Field)
    return _Mistake("field", message, span, _comparison(field.name, kind))


def _comparison(name: str, kind: Kind) -> str:
    """How a field of a kind is tested."""
    match kind:
        case "a number":
            return f"compare it with a number: '{name} >= 2'"
        case "a text":
            return f"compare it with a text, '{name} == \"…\"', or search it: 'matches({name}, \"…\")'"
        case "true or false":
            return f"write '{name}' or 'not {name}'"
        case _:
            return f"ask whether it is there: 'has({name})'"
