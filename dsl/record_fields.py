"""What a record of each format has: its own fields, and those that are derived from it for conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["a number", "a text", "true or false", "a list or an object"]


@dataclass(frozen=True, slots=True)
class RecordField:
    """What kind of value a derived field has, and what it is, in words."""

    kind: Kind
    meaning: str


_CONVERSATION = {
    "user": RecordField("a text", "the user's messages, joined by a blank line"),
    "assistant": RecordField("a text", "the assistant's messages, joined by a blank line"),
    "system": RecordField("a text", "the system prompt"),
    "text": RecordField("a text", "all messages"),
    "has_tools": RecordField("true or false", "whether it has tool definitions or calls"),
    "has_system": RecordField("true or false", "whether it has a system prompt"),
    "tokens": RecordField("a number", "its length as rendered for the model that reads it"),
}
_TURNS = {"turns": RecordField("a number", "how many messages the assistant has")}

DERIVED: Mapping[str, Mapping[str, RecordField]] = {
    "documents": {
        "text": RecordField("a text", "the document"),
        "characters": RecordField("a number", "its length in code points"),
        "tokens": RecordField("a number", "its length for the model that reads it"),
    },
    "chat": _TURNS | _CONVERSATION,
    "preference": {
        "chosen": RecordField("a text", "the answer that is preferred"),
        "rejected": RecordField("a text", "the answer that is not"),
        **{name: field for name, field in _CONVERSATION.items() if name != "assistant"},
    },
    "prompts": _TURNS | _CONVERSATION,
}
"""Fields that conditions can test beside the columns of the record; they win over a column of the same name."""

OWN: Mapping[str, Mapping[str, Kind]] = {
    "documents": {"text": "a text"},
    "chat": {"messages": "a list or an object", "tools": "a list or an object"},
    "preference": {
        "messages": "a list or an object",
        "tools": "a list or an object",
        "chosen": "a text",
        "rejected": "a text",
    },
    "prompts": {"messages": "a list or an object", "tools": "a list or an object"},
}
"""The columns that make a record one of its format."""
