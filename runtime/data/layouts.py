"""Recognises how a record is laid out, and turns it into the record of its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runtime.data.broken import BrokenError
from runtime.data.messages import from_sharegpt, kind, messages_of, tools_of, unusual_in
from runtime.data.preference import preference
from runtime.data.rows import Format
from runtime.data.tokenised import is_tokenised, tokenised

Json = dict[str, Any]


def renamed(record: Json, fields: Mapping[str, str]) -> Json:
    """The record with columns under the format's names; a column that already has such a name gives way."""
    if not fields:
        return record
    missing = [column for column in fields.values() if column not in record]
    if missing:
        raise BrokenError(f"it has no column '{missing[0]}' (it has {_names(record)})")
    mapped = {column: name for name, column in fields.items()}
    return {mapped.get(name, name): value for name, value in record.items() if name in mapped or name not in fields}


def arranged(format: Format, record: Json) -> tuple[str, Json, tuple[str, ...]]:
    """The name of the layout, the record of the format, and what is unusual about it but no reason to refuse it.

    Documents have `text`; chats and prompts `messages` and perhaps `tools`; preferences `messages` (the prompt),
    `chosen` and `rejected`, and perhaps `tools`. Pre-tokenised ones have `tokens` and `trained` instead. Columns that
    the layout doesn't use are kept. Raises BrokenError.
    """
    if format == "documents":
        return _document(record)
    if format == "preference":
        name, pair = preference(record)
        return (*_with_system(name, pair), ())
    layouts = _CHATS if format == "chat" else _PROMPTS
    for name, (needed, convert) in layouts.items():
        if all(record.get(column) is not None for column in needed):
            messages, used = convert(record)
            used = ("messages", *used)
            chat = {"messages": messages, **{key: value for key, value in record.items() if key not in used}}
            name, chat = _with_system(name, chat)
            return name, chat, _unusual(format, chat["messages"])
    if format == "chat" and is_tokenised(record):
        return "pre-tokenised", *tokenised(record)
    raise BrokenError(f"it has no {_WANTED[format]} (it has {_names(record)})")


def _document(record: Json) -> tuple[str, Json, tuple[str, ...]]:
    if "text" not in record:
        if is_tokenised(record):
            return "pre-tokenised", tokenised(record)[0], ()
        raise BrokenError(f"it has no column 'text' (it has {_names(record)})")
    if not isinstance(record["text"], str):
        raise BrokenError(f"its text is {kind(record['text'])}, not a string")
    if not record["text"].strip():
        raise BrokenError("its text is empty")
    return "text", record, ()


def _with_system(name: str, chat: Json) -> tuple[str, Json]:
    """Puts messages and tools in their form; a column `system` becomes the system prompt that they lack."""
    chat = {**chat, "messages": messages_of(chat["messages"])}
    tools = tools_of(chat)
    for column in ("tools", "functions"):
        chat.pop(column, None)
    if tools is not None:
        chat["tools"] = tools
    system = chat.get("system")
    if isinstance(system, str) and chat["messages"][0]["role"] != "system":
        del chat["system"]
        if system.strip():
            chat["messages"] = [{"role": "system", "content": system}, *chat["messages"]]
            return f"{name}, system apart", chat
    return name, chat


def _unusual(format: Format, messages: list[Json]) -> tuple[str, ...]:
    if format == "chat":
        return tuple(unusual_in(messages))
    return ("prompts that end with the assistant",) if messages[-1]["role"] == "assistant" else ()


Converted = tuple[Any, tuple[str, ...]]
"""Messages, unchecked, and the columns that they come from."""


def _messages(record: Json) -> Converted:
    return record["messages"], ()


def _conversations(record: Json) -> Converted:
    return from_sharegpt(record["conversations"]), ("conversations",)


def _answered(prompt: str, answer: str) -> Callable[[Json], Converted]:
    def convert(record: Json) -> Converted:
        return [*_said("user", record[prompt]), *_said("assistant", record[answer])], (prompt, answer)

    return convert


def _instructed(answer: str) -> Callable[[Json], Converted]:
    def convert(record: Json) -> Converted:
        messages, used = _instruction(record)
        return [*messages, *_said("assistant", record[answer])], (*used, answer)

    return convert


def _instruction(record: Json) -> Converted:
    instruction, given = record["instruction"], record.get("input")
    if given:
        if not isinstance(instruction, str) or not isinstance(given, str):
            raise BrokenError("its instruction and input are not both strings")
        instruction = f"{instruction}\n\n{given}"
    return _said("user", instruction), ("instruction", "input")


def _prompt(record: Json) -> Converted:
    return _said("user", record["prompt"]), ("prompt",)


def _said(role: str, said: Any) -> list[Any]:
    """What one side says: messages, or the content of one."""
    return said if isinstance(said, list) else [{"role": role, "content": said}]


_Layouts = dict[str, tuple[tuple[str, ...], Callable[[Json], Converted]]]

_CHATS: _Layouts = {
    "messages": (("messages",), _messages),
    "ShareGPT": (("conversations",), _conversations),
    "prompt/completion": (("prompt", "completion"), _answered("prompt", "completion")),
    "prompt/response": (("prompt", "response"), _answered("prompt", "response")),
    "instruction/output": (("instruction", "output"), _instructed("output")),
    "instruction/response": (("instruction", "response"), _instructed("response")),
}
"""Layouts of chats with the columns that each needs, none of them null; the first that fits is taken."""
_PROMPTS: _Layouts = {
    "messages": (("messages",), _messages),
    "ShareGPT": (("conversations",), _conversations),
    "prompt": (("prompt",), _prompt),
    "instruction": (("instruction",), _instruction),
}
_WANTED = {
    "chat": "messages, conversations, prompt and completion, or instruction and output",
    "prompts": "messages, conversations, prompt or instruction",
}


def _names(record: Json) -> str:
    return ", ".join(sorted(record)) or "no columns"
