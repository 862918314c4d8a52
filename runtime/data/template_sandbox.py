"""What a chat template may do, and how much: it is a program that somebody published with a model.

Jinja's sandbox keeps it away from Python's objects. What the sandbox leaves open is time and memory: loops within
loops, a text that doubles with every round, `'x' * 10**10`. So work is counted, and what grows is measured before it
is made. All limits are numbers of things, none is a time: the same template on the same chat ends in the same way on
every machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

TODAY = date(2026, 1, 1)
"""The day that a template sees which asks for today's: the same files give the same tokens on every day."""

CHARACTERS = 1 << 26
"""The longest text that a template may make, in a variable or in all; a list counts as what it would be as text."""
WORK = 1_000_000
"""Rounds of loops and calls in one rendering, and the items and each 64 characters that they handle; some seconds."""
WIDEST = 10_000
"""The largest number that a filter or a method of a text takes, such as a width."""

FILTERS = (
    *("abs", "attr", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float"),
    *("forceescape", "format", "groupby", "indent", "int", "items", "join", "last", "length", "list", "lower", "map"),
    *("max", "min", "reject", "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr", "sort"),
    *("string", "striptags", "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount"),
)
"""Filters of Jinja that templates have. The others lay out pages, or draw at random."""
_AT_ONCE = frozenset({"count", "d", "default", "first", "last", "length"})
"""Filters that do as much for a long list as for a short one."""
_ANY_NUMBER = frozenset({"abs", "d", "default", "float", "int", "max", "min"})
"""Filters to which a number is a value, not a width."""


_INTERNAL = frozenset(dir(dict)) | {"_number"}
_LOOP = frozenset({"first", "last", "index", "index0", "length", "previtem", "nextitem"})


class Sandbox(ImmutableSandboxedEnvironment):
    """What Hugging Face's templates are written for, sandboxed and within limits."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, **options)
        self.context_class = LimitedContext
        self.filters = {name: _limited(name, self.filters[name]) for name in FILTERS}
        self.filters["tojson"] = _limited("tojson", _tojson)
        self.globals |= {"raise_exception": _raise_exception, "strftime_now": TODAY.strftime, "namespace": _Namespace}
        del self.globals["lipsum"]  # which draws at random

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As the sandbox does it, which is slow, with a short way for what templates ask for most."""
        if isinstance(obj, dict) and attribute not in _INTERNAL:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            _refuse_wide_format(left)
        elif operator != "%" and isinstance(left, int) and isinstance(right, int):
            _refuse_long_number(left.bit_length() * (abs(right) if operator == "**" else 1) + right.bit_length())
        elif operator == "*":
            _refuse_above(_factor(left) * _factor(right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, function: Any, /, *arguments: Any, **named: Any) -> Any:  # type: ignore[override]
        owner = getattr(getattr(function, "__wrapped__", function), "__self__", None)  # the sandbox wraps `format`
        if isinstance(owner, str):
            if function.__name__ in ("format", "format_map"):
                _refuse_wide_format(owner)
            elif function.__name__ == "join":
                arguments = tuple(map(list, arguments))
        spend(context, owner, (*arguments, *named.values()), widths=isinstance(owner, str))
        result = super().call(context, function, *arguments, **named)
        if isinstance(result, range):
            _work(context, len(result))
        return result


def written(template: jinja2.Template, fields: Mapping[str, Any]) -> str:
    """What a template writes of a row. Raises SecurityError where that is too long, and whatever the template does."""
    pieces: list[str] = []
    size = 0
    for piece in template.generate(fields):
        pieces.append(piece)
        size += len(piece)
        if size > CHARACTERS:
            raise SecurityError(f"it writes more than {CHARACTERS:,} characters for one row")
    return "".join(pieces)


class NumberedMessage(dict[str, Any]):
    """A message that knows its number. The sandbox keeps templates away from names that begin with `_`."""

    __slots__ = ("_number",)
    _number: int


class LimitedContext(Context):
    """The variables of one rendering, and the work that is left to it."""

    work: list[int]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.work = [WORK]

    def derived(self, locals: dict[str, Any] | None = None) -> Context:
        context = super().derived(locals)
        assert isinstance(context, LimitedContext)
        context.work = self.work
        return context


def one_round(context: Context) -> None:
    """Counts a round of a loop."""
    assert isinstance(context, LimitedContext)
    context.work[0] -= 1
    if context.work[0] < 0:
        raise SecurityError(f"it does more than {WORK:,} rounds of loops and calls for one chat")


@jinja2.pass_context
def kept(context: Context, value: Any) -> Any:
    """The value, which a variable is to keep, if it is no longer than a text may be."""
    _work(context, _cost(value, _refuse_above(_size(value))))
    return value


def _cost(value: Any, size: int) -> int:
    return size // 64 + (len(value) if isinstance(value, (list, tuple, dict)) else 0)


def spend(context: Context, owner: Any, arguments: Iterable[Any], widths: bool) -> None:
    """Counts a call, after checking that what comes of it is small: at most the product of what it is given.

    Args:
        owner: the text or list that the call is about.
        arguments: the call's.
        widths: numbers among them are widths.
    """
    size = _size(owner)
    cost = 1 + _cost(owner, size)
    for argument in arguments:
        if widths and isinstance(argument, int) and abs(argument) > WIDEST:
            raise SecurityError(f"it asks for a width of {argument:,}, and {WIDEST:,} is the most")
        other = _size(argument)
        cost += _cost(argument, other) + _refuse_above(max(size, 1) * other) // 1024
    _work(context, cost)


def _work(context: Context, rounds: int) -> None:
    assert isinstance(context, LimitedContext)
    context.work[0] -= rounds
    if context.work[0] < 0:
        one_round(context)


def _limited(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of Jinja that is measured like a call."""
    passing = getattr(getattr(function, "jinja_pass_arg", None), "name", None)

    @jinja2.pass_context
    def limited(context: Context, value: Any, *arguments: Any, **named: Any) -> Any:
        if name == "join" and not isinstance(value, str):
            value = list(value)
        elif name == "format":
            _refuse_wide_format(str(value))
        if name not in _AT_ONCE:
            spend(context, value, (*arguments, *named.values()), widths=name not in _ANY_NUMBER)
        match passing:
            case "context":
                return function(context, value, *arguments, **named)
            case "eval_context":
                return function(context.eval_ctx, value, *arguments, **named)
            case "environment":
                return function(context.environment, value, *arguments, **named)
            case _:
                return function(value, *arguments, **named)

    return limited


def _size(value: Any) -> int:
    """Characters of a text; of what holds others, about those that it would be written with; of a message, one.

    A list that holds another twice counts it twice, though it is walked once: so a list of itself, doubled forty times,
    is known for what it is.
    """
    if isinstance(value, str):
        return len(value)
    return _size_of_all(value, {})


def _size_of_all(value: Any, known: dict[int, int]) -> int:
    if isinstance(value, str):
        return len(value)
    if type(value) is NumberedMessage or not isinstance(value, (list, tuple, dict, Namespace)):
        return 1
    if id(value) not in known:
        known[id(value)] = 1  # a namespace may hold itself
        values = value._Namespace__attrs if isinstance(value, Namespace) else value  # type: ignore[attr-defined]
        held = (part for item in values.items() for part in item) if isinstance(values, dict) else values
        known[id(value)] = 1 + sum(_size_of_all(item, known) for item in held)
    return known[id(value)]


def _factor(value: Any) -> int:
    """Of a product: how long a text or list is, or how large a number."""
    return _size(value) if isinstance(value, (str, list, tuple)) else abs(value) if isinstance(value, int) else 1


def _refuse_above(size: int) -> int:
    if size > CHARACTERS:
        raise SecurityError(f"it makes something longer than {CHARACTERS:,} characters")
    return size


def _refuse_long_number(bits: int) -> None:
    if bits > WIDEST:
        raise SecurityError(f"it makes a number of more than {WIDEST:,} bits")


def _refuse_wide_format(text: str) -> None:
    """Widths stand in the text of a format."""
    if _WIDE.search(text):
        raise SecurityError(f"it formats to a width above {WIDEST:,}, or to one that it doesn't write")


_WIDE = re.compile(r"\d{5,}|%[-+ #0]*\*|%[^%]*\.\*|\{[^{}]*:[^{}]*\{")


class _Namespace(Namespace):
    """Jinja's, without names that begin with `_`: those are Python's own."""

    def __init__(*arguments: Any, **named: Any) -> None:
        self, *given = arguments
        attributes = dict(*given, **named)
        for name in attributes:
            _refuse_internal(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_internal(name)
        super().__setitem__(name, value)


def _refuse_internal(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"it may not set {name!r}")


def _tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    """JSON as Hugging Face writes it: not escaped for HTML, keys in their order."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)
