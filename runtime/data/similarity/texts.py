"""Gives the texts of a record: one to compare rows by, and each by itself to look for overlaps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtime.data.messages import REASONING_FIELDS
from runtime.data.rows import Format, Rows, canonical_json

PIECE = 4 << 20
"""Bytes of rows that a worker takes at a time."""
_BATCH = 1 << 18
"""Characters that are hashed at a time: so few that most arrays stay in the processor's cache."""

_SAME: Mapping[Format, tuple[str, ...]] = {
    "documents": ("text",),
    "chat": ("messages", "tools"),
    "preference": ("messages", "tools", "chosen", "rejected"),
    "prompts": ("messages", "tools"),
}
"""The fields that make a record's text; its other columns say something about it."""

Batch = tuple[list[int], list[str]]
"""Numbers and texts, one each."""


def whole_text(record: Mapping[str, Any], format: Format) -> str:
    """All that two records must share to be exactly the same text, with roles, tools and calls of tools."""
    if format == "documents":
        return record["text"]
    return canonical_json([record.get(field) or None for field in _SAME[format]])


def texts_of(record: Mapping[str, Any]) -> list[str]:
    """The texts of a record of any format, rows of evals among them, each by itself.

    They are the document, or what is said in each message (reasoning and arguments of tool calls too), and the
    continuations of a preference or a choice. Definitions of tools, and fields that say something about the record, are
    no texts of it.
    """
    texts: list[str] = []
    for field in ("text", "prompt", "messages", "chosen", "rejected", "aligned", "misaligned"):
        texts.extend(_texts_in(record.get(field)))
    return texts


def text_of(record: Mapping[str, Any]) -> str:
    """All texts of a record as one."""
    return "\n\n".join(texts_of(record))


def row_texts(rows: Rows, first: int = 0, last: int | None = None) -> Iterator[Batch]:
    """The number of each row from `first` to `last` (exclusive; None is all) and all its text, in batches."""
    return _batched((number, text_of(record)) for number, record in enumerate(rows.records(first, last), first))


def separate_texts(rows: Rows, first: int = 0, last: int | None = None) -> Iterator[Batch]:
    """The texts of each row, each with the number of its row, in batches. A row without text is left out."""
    records = enumerate(rows.records(first, last), first)
    return _batched((number, text) for number, record in records for text in texts_of(record))


def all_texts(rows: Rows) -> Iterator[str]:
    """The texts of all rows, each by itself."""
    for _, texts in separate_texts(rows):
        yield from texts


def _batched(items: Iterator[tuple[int, str]]) -> Iterator[Batch]:
    numbers: list[int] = []
    texts: list[str] = []
    characters = 0
    for number, text in items:
        numbers.append(number)
        texts.append(text)
        characters += len(text)
        if characters >= _BATCH:
            yield numbers, texts
            numbers, texts, characters = [], [], 0
    if texts:
        yield numbers, texts


def _texts_in(value: object) -> Iterator[str]:
    """The texts of a field: a text, or messages whose content is a text or a list of parts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for message in value:
            if isinstance(message, Mapping):
                yield from _texts_of_message(message)


def _texts_of_message(message: Mapping[str, Any]) -> Iterator[str]:
    for field in REASONING_FIELDS:
        if isinstance(message.get(field), str):
            yield message[field]
    content = message.get("content")
    for part in content if isinstance(content, list) else [content]:
        text = part.get("text") if isinstance(part, Mapping) else part
        if isinstance(text, str):
            yield text
    for call in message.get("tool_calls") or ():
        function = call.get("function", call) if isinstance(call, Mapping) else {}
        arguments = function.get("arguments")
        if arguments:
            yield arguments if isinstance(arguments, str) else canonical_json(arguments)
