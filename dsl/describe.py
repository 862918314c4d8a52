"""Shapes and terms in words, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from dsl.declarations.base import Declaration, Written
from dsl.declarations.shapes import (
    AnyOf,
    BuiltIn,
    Claimed,
    FlowOf,
    ListOf,
    MappingOf,
    Measured,
    Moments,
    OneKey,
    OneOf,
    Record,
    Reference,
    Shape,
    Typed,
)
from dsl.diagnostics.suggest import nearest
from dsl.scalar_values import UNITS
from dsl.source import Span
from dsl.terms import Applied, Atom, Items, Table, Term

_FEW = 8
_SCALARS = {
    "count": "a count (12000, 30M)",
    "number": "a number (0.95, 1e-4)",
    "percent": "a percent (3%)",
    "boolean": "true or false",
    "range": "a range (1..4)",
    "location": "a file or location",
    "text": "text",
    "predicate": "a condition over a record's fields",
    "name": "a name",
}


def expected(shape: Shape) -> str:
    """What a field takes: `a quantity in tokens or steps`."""
    match shape:
        case Typed("amount", units=units):
            return f"a percent, a ratio (2), a quantity in {alternatives(units)}, all or rest"
        case Typed(kind):
            limits = bounds(shape)
            return f"{_SCALARS[kind]}{f', {limits}' if limits else ''}"
        case Measured(units):
            return f"a quantity in {alternatives(units)}"
        case Moments():
            return "a point or a list of points (end, 25%, every 500 steps)"
        case OneOf(words):
            return alternatives(words) if words else "a word"
        case Reference(kinds):
            return f"the name of {alternatives([with_article(kind) for kind in kinds])}"
        case FlowOf("train"):
            return "none, a train or a flow of them"
        case FlowOf(kind, or_location):
            return f"{with_article(kind)} or a flow" + (", or a location" if or_location else "")
        case BuiltIn(table):
            words = [_call(name, model) for name, model in table.items()]
            return alternatives(words) if len(words) <= _FEW else f"a call ({', '.join(list(table)[:3])}, …)"
        case ListOf(OneKey(MappingOf(value))):
            return f"a list, each 'NAME: {{LABEL: …}}' with {expected(value)}"
        case ListOf(item, or_one):
            return f"{f'{expected(item)}, or ' if or_one else ''}a list, each {expected(item)}"
        case MappingOf(value, keys):
            return f"a mapping from {alternatives(keys) or 'label'} to {expected(value)}"
        case OneKey(value):
            return f"a mapping of one key to {expected(value)}"
        case Record(model):
            return f"a mapping with {', '.join(model.by_written_name())}"
        case Claimed():
            return "a comparison of results (harm(reasons) < harm(base))"
        case AnyOf((MappingOf(value, keys), ListOf(Reference()))):
            names = alternatives(with_article(key) for key in keys)
            return f"a mapping from the name of {names} to {_in_short(value)}, or a list of such names"
        case AnyOf(shapes):
            return ", or ".join(expected(one) for one in shapes)
        case _:
            assert_never(shape)


def _in_short(shape: Shape) -> str:
    """`expected`, without the units of an amount."""
    return (
        "an amount (40%, 5M tokens, rest)" if isinstance(shape, Typed) and shape.kind == "amount" else expected(shape)
    )


def _call(name: str, model: type[Written]) -> str:
    """A built-in with the arguments that it must have: `adamw(lr=…)`."""
    fields = [(written, one) for written, one in model.by_written_name().items() if one.is_required]
    arguments = ["…" if one.facts.positional else f"{written}=…" for written, one in fields]
    return f"{name}({', '.join(arguments)})" if arguments else name


def bounds(shape: Typed) -> str:
    """What a scalar's bounds ask for, in words: `above 0`, `of 1 or more`, `between 0 and 1`; '' where it has none."""

    def written(bound: float) -> str:
        if shape.kind == "percent":
            return f"{bound:.0%}"
        return str(int(bound)) if bound == int(bound) else f"{bound:g}"

    match shape.low, shape.high, shape.above, shape.below:
        case float() | int() as low, float() | int() as high, None, None:
            return f"between {written(low)} and {written(high)}"
        case low, high, above, below:
            least = (
                f"above {written(above)}"
                if above is not None
                else f"of {written(low)} or more"
                if low is not None
                else ""
            )
            most = (
                f"below {written(below)}" if below is not None else f"up to {written(high)}" if high is not None else ""
            )
            return " and ".join(filter(None, (least, most)))


def described(term: Term) -> str:
    """What is written, in a word or two."""
    match term:
        case Atom(scalar):
            return f"'{scalar.text}'" if len(scalar.text) <= 40 and "\n" not in scalar.text else "a text"
        case Items():
            return "a list"
        case Table():
            return "a mapping"
        case Applied(name):
            return f"a call of {name.text}"


def head(term: Term) -> Span:
    """Where a caret for a term stands: all of a scalar, the first key of a mapping, the first item of a list."""
    match term:
        case Atom():
            return term.span
        case Applied(name):
            return name.span
        case Table(cells):
            return next(iter(cells.values())).key.span if cells else term.span
        case Items(items):
            return head(items[0]) if items else term.span


def known_help(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words, else all of them."""
    words = list(known)
    near = nearest(word, words)
    if near:
        return f"did you mean '{near}'?"
    if not words:
        return "there are none"
    return f"write {alternatives(words)}" if len(words) <= _FEW else f"there are {', '.join(words)}"


def unknown_field_help(written: str, model: type[Written], *, is_call: bool) -> str:
    """What to write instead of a field that isn't there: one that is like it, or one that has it inside."""
    fields = model.by_written_name()
    help = known_help(written, [*fields, "extends"] if issubclass(model, Declaration) and not is_call else fields)
    if help.startswith("did") and written not in UNITS:
        return help
    conditions = [name for name, one in fields.items() if one.facts.shape == Typed("predicate")]
    if conditions and is_call:
        return f"write '{written} == …' to compare a field of the record"
    outer, dot, inner = written.partition(".")
    for name, one in fields.items():
        if written in _inner_names(one.facts.shape):
            return (
                f"write '{name}.{written}=…'"
                if is_call
                else f"write it inside '{name}': {_with(written, one.facts.shape)}"
            )
        if dot and not is_call and name == outer:
            return f"dotted paths stand in calls; here write it inside '{name}': {_with(inner, one.facts.shape)}"
        if written in getattr(one.facts.shape, "units", ()):
            return f"write '{name}: … {written}'"
    return help


def inner_help(written: str, shape: BuiltIn) -> str | None:
    """What to write for a built-in's argument that stands where the built-in should; None if it is none."""
    return f"write '{_with(written, shape)}'" if written in _inner_names(shape) else None


def _with(written: str, shape: Shape) -> str:
    """How a field inside another is written: `adamw(lr=…)`, `{labels: …}`."""
    for one in shape.shapes if isinstance(shape, AnyOf) else (shape,):
        if isinstance(one, BuiltIn):
            owners = [word for word, model in one.table.items() if written in model.by_written_name()]
            return f"{owners[0] if owners else 'NAME'}({written}=…)"
    return f"{{{written}: …}}"


def fields_with(written: str, model: type[Written]) -> set[str]:
    """The fields of a class that have a field of this name inside."""
    return {name for name, one in model.by_written_name().items() if written in _inner_names(one.facts.shape)}


def _inner_names(shape: Shape) -> set[str]:
    """The fields of what can stand in a field."""
    match shape:
        case BuiltIn(table):
            return {name for model in table.values() for name in model.by_written_name()}
        case Record(model):
            return set(model.by_written_name())
        case AnyOf(shapes):
            return {name for one in shapes for name in _inner_names(one)}
        case _:
            return set()


def alternatives(words: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} or {last}" if most else last


def with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
