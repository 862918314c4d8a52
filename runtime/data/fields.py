"""Reads fields of records: the columns that a record has, and those that `dsl.record_fields` derives from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dsl.record_fields import DERIVED, OWN
from runtime.data.rows import Format

Record = Mapping[str, Any]
Reader = Callable[[Record], Any]


def reader(format: Format, name: str) -> Reader:
    """What reads a field from a record of the format; it gives None where the field isn't there.

    A derived field wins over a column of the same name. A record that was tokenized before has none but `tokens`, which
    isn't read from records: it depends on the model.
    """
    if name not in DERIVED[format] or name in OWN[format]:
        return lambda record: record.get(name)
    basis, derive = "text" if format == "documents" else "messages", _derivation(name)
    return lambda record: None if record.get(basis) is None else derive(record)


def _derivation(name: str) -> Reader:
    match name:
        case "characters":
            return lambda record: len(record["text"])
        case "text":
            return _joined_texts
        case "turns":
            return lambda record: sum(message["role"] == "assistant" for message in record["messages"])
        case "has_tools":
            return _has_tools
        case "has_system":
            return lambda record: any(message["role"] == "system" for message in record["messages"])
        case "user" | "assistant" | "system":
            return lambda record: _joined_texts(record, name)
        case _:
            raise AssertionError(f"'{name}' is no field of one record alone")


def _joined_texts(record: Record, role: str | None = None) -> str:
    """Texts of the messages of a role, or of all, with a blank line between them."""
    messages = record["messages"]
    return "\n\n".join(message.get("content") or "" for message in messages if role is None or message["role"] == role)


def _has_tools(record: Record) -> bool:
    return bool(record.get("tools")) or any(message.get("tool_calls") for message in record["messages"])
