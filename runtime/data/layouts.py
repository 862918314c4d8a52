"""Recognises how a record is laid out, and checks and turns it into the record of its format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from runtime.data.rows import Format

ROLES = ("system", "user", "assistant", "tool")

Json = dict[str, Any]


class BrokenError(Exception):
    """A record can't be used; the text says why."""


def renamed(record: Json, fields: Mapping[str, str]) -> Json:
    """The record with columns under the format's names; a column that already has such a name gives way."""
    missing = [column for column in fields.values() if column not in record]
    if missing:
        raise BrokenError(f"it has no column '{missing[0]}' (it has {_names(record)})")
    if not fields:
        return record
    mapped = {column: name for name, column in fields.items()}
    return {mapped.get(name, name): value for name, value in record.items() if name in mapped or name not in fields}


def arranged(format: Format, record: Json) -> tuple[str, Json, tuple[str, ...]]:
    """The name of the layout, the record of the format, and what is unusual about it but no reason to refuse it.

    Columns that the layout doesn't use are kept. Raises BrokenError.
    """
    if format == "documents":
        return "text", _document(record), ()
    for name, (needed, convert) in _CHAT_LAYOUTS.items():
        if all(column in record for column in needed):
            chat = convert(record)
            return name, chat, _check_messages(chat)
    raise BrokenError(f"it has no messages, prompt and completion, or instruction and output (it has {_names(record)})")


def _document(record: Json) -> Json:
    if "text" not in record:
        raise BrokenError(f"it has no column 'text' (it has {_names(record)})")
    if not isinstance(record["text"], str):
        raise BrokenError(f"its text is {_kind(record['text'])}, not a string")
    if not record["text"].strip():
        raise BrokenError("its text is empty")
    return record


def _messages(record: Json) -> Json:
    return record


def _prompt_completion(record: Json) -> Json:
    prompt, completion = record["prompt"], record["completion"]
    if isinstance(prompt, list) and isinstance(completion, list):
        return _chat(record, ("prompt", "completion"), [*prompt, *completion])
    return _chat(record, ("prompt", "completion"), _turn(prompt, completion))


def _instruction_output(record: Json) -> Json:
    instruction, given = record["instruction"], record.get("input")
    if given:
        if not isinstance(instruction, str) or not isinstance(given, str):
            raise BrokenError("its instruction and input are not both strings")
        instruction = f"{instruction}\n\n{given}"
    return _chat(record, ("instruction", "input", "output"), _turn(instruction, record["output"]))


def _turn(user: Any, assistant: Any) -> list[Json]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def _chat(record: Json, used: tuple[str, ...], messages: list[Json]) -> Json:
    return {"messages": messages, **{name: value for name, value in record.items() if name not in used}}


_CHAT_LAYOUTS: dict[str, tuple[tuple[str, ...], Callable[[Json], Json]]] = {
    "messages": (("messages",), _messages),
    "prompt/completion": (("prompt", "completion"), _prompt_completion),
    "instruction/output": (("instruction", "output"), _instruction_output),
}


def _check_messages(chat: Json) -> tuple[str, ...]:
    """Refuses what no template can render; puts texts given as lists of parts together, tools given as JSON apart."""
    messages = chat["messages"]
    if not isinstance(messages, list):
        raise BrokenError(f"its messages are {_kind(messages)}, not a list")
    if not messages:
        raise BrokenError("it has no messages")
    chat["messages"] = [_message(number, message) for number, message in enumerate(messages, 1)]
    if isinstance(chat.get("tools"), str):
        try:
            chat["tools"] = json.loads(chat["tools"])
        except ValueError as error:
            raise BrokenError(f"its tools are a string that isn't JSON: {error}") from error
    tools = chat.get("tools")
    if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
        raise BrokenError("its tools are not a list of objects")
    return tuple(_unusual(chat["messages"]))


def _message(number: int, message: Any) -> Json:
    if not isinstance(message, dict):
        raise BrokenError(f"message {number} is {_kind(message)}, not an object")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise BrokenError(f"message {number} has the role {role!r}, which is none of {', '.join(ROLES)}")
    if isinstance(content, list):
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise BrokenError(f"message {number} has parts that are not text")
        content = "".join(part["text"] for part in content)
        message = {**message, "content": content}
    calls = message.get("tool_calls")
    if calls is not None and not (isinstance(calls, list) and all(map(_is_call, calls))):
        raise BrokenError(f"the tool calls of message {number} are not a list of functions with a name")
    if content is None and role == "assistant" and calls:
        return message
    if not isinstance(content, str):
        raise BrokenError(f"the content of message {number} is {_kind(content)}, not a string")
    if role in ("user", "assistant") and not content.strip() and not calls:
        raise BrokenError(f"message {number} ({role}) is empty")
    return message


def _is_call(call: Any) -> bool:
    function = call.get("function", call) if isinstance(call, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _unusual(messages: list[Json]) -> list[str]:
    """Reported with counts, and kept."""
    found: list[str] = []
    roles = [message["role"] for message in messages]
    if "assistant" not in roles:
        found.append("chats without an assistant's message")
    elif roles[-1] == "user":
        found.append("chats that end with the user")
    followers = zip(messages, roles[1:], strict=False)
    if any(message.get("tool_calls") and follower != "tool" for message, follower in followers):
        found.append("chats with a tool call without its result")
    if any(
        role == "tool" and before not in ("assistant", "tool")
        for before, role in zip(["", *roles], roles, strict=False)
    ):
        found.append("chats with a tool's result without its call")
    return found


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def _names(record: Json) -> str:
    return ", ".join(sorted(record)) or "no columns"
