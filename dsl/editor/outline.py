"""What a file holds: imports, constants, declarations with their fields, and the arms of studies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dsl.declarations import KINDS
from dsl.source import Span
from dsl.tree import Document, Entry, Mapping, Scalar, Sequence

Sort = Literal["import", "constant", "declaration", "field", "label"]


@dataclass(frozen=True, slots=True)
class Symbol:
    """`span` is all of it, `name_span` what is shown when one goes there."""

    name: str
    detail: str
    sort: Sort
    span: Span
    name_span: Span
    children: tuple[Symbol, ...] = ()


def outline(document: Document) -> list[Symbol]:
    """The symbols of a file in order, whatever is wrong with it."""
    symbols: list[Symbol] = []
    for entry in document.root.entries:
        kind, _, name = entry.key.text.partition(" ")
        name = name.strip()
        if kind in ("import", "let") and not name:
            sort: Sort = "import" if kind == "import" else "constant"
            symbols += [_symbol(each, sort, _value(each)) for each in _entries(entry)]
        elif name:
            children = tuple(_field(each) for each in _entries(entry) if each.key.text)
            detail = f"{kind}: {doc}" if (doc := _doc(entry)) else kind
            start = entry.key.span.end - len(name) if entry.key.style == "plain" else entry.key.span.start
            symbols.append(Symbol(name, detail, "declaration", entry.span, Span(start, entry.key.span.end), children))
    return symbols


def _field(entry: Entry) -> Symbol:
    """A field; the arms, factors and levels of a study are inside it."""
    labels: list[Symbol] = []
    if entry.key.text == "arms":
        labels = [_symbol(each, "label", _value(each)) for each in _entries(entry)]
    elif entry.key.text == "matrix" and isinstance(entry.value, Sequence):
        factors = [each for item in entry.value.items if isinstance(item, Mapping) for each in item.entries]
        labels = [
            _symbol(one, "label", "", tuple(_symbol(each, "label", _value(each)) for each in _entries(one)))
            for one in factors
        ]
    return _symbol(entry, "field", _value(entry), tuple(labels))


def _symbol(entry: Entry, sort: Sort, detail: str, children: tuple[Symbol, ...] = ()) -> Symbol:
    return Symbol(entry.key.text or "''", detail, sort, entry.span, entry.key.span, children)


def _entries(entry: Entry) -> tuple[Entry, ...]:
    return entry.value.entries if isinstance(entry.value, Mapping) else ()


def _value(entry: Entry) -> str:
    return _short(entry.value.text) if isinstance(entry.value, Scalar) else ""


def _doc(entry: Entry) -> str:
    kind = entry.key.text.partition(" ")[0]
    fields = KINDS[kind].by_written_name() if kind in KINDS else {}
    texts = {each.key.text: _value(each) for each in _entries(entry)}
    return next((texts[name] for name in ("doc", "question") if name in fields and texts.get(name)), "")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"
