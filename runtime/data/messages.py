"""Brings the messages and tools of a chat, as data sets write them, into the one form that templates take."""

from __future__ import annotations

from typing import Any

from runtime.data.broken import BrokenError
from runtime.data.strict_json import Parser

ROLES = ("system", "user", "assistant", "tool")
_OTHER_ROLES = {"developer": "system", "function": "tool"}
"""Names that OpenAI gave to roles later and earlier."""
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
"""Fields of a message that hold its reasoning, by whoever wrote the data; the first that is there counts."""

_SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "observation": "tool",
}
_CALLS = ("function_call", "tool_call")

Json = dict[str, Any]


def messages_of(value: Any) -> list[Json]:
    """The messages of a list, or of its JSON text. Raises BrokenError for what no template can render."""
    value = parsed(value, "messages")
    if not isinstance(value, list):
        raise BrokenError(f"its messages are {kind(value)}, not a list")
    if not value:
        raise BrokenError("it has no messages")
    return [_message(number, message) for number, message in enumerate(value, 1)]


def from_sharegpt(value: Any) -> list[Json]:
    """ShareGPT's turns, `{"from": "human", "value": …}`, as messages; those that are messages already stay."""
    value = parsed(value, "conversations")
    if not isinstance(value, list):
        raise BrokenError(f"its conversations are {kind(value)}, not a list")
    return [_turn(number, turn) for number, turn in enumerate(value, 1)]


def tools_of(record: Json) -> list[Json] | None:
    """Definitions of tools: a list, its JSON text, or OpenAI's earlier `functions`. Raises BrokenError."""
    tools = parsed(record.get("tools"), "tools")
    functions = parsed(record.get("functions"), "functions")
    if tools is None and isinstance(functions, list):
        tools = [{"type": "function", "function": function} for function in functions]
    if tools is None:
        return None
    if isinstance(tools, list):
        tools = [parsed(tool, "tools") for tool in tools]
    if not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
        raise BrokenError("its tools are not a list of objects")
    return tools


def unusual_in(messages: list[Json]) -> list[str]:
    """What is odd about a chat but no reason to refuse it."""
    found: list[str] = []
    roles = [message["role"] for message in messages]
    if "assistant" not in roles:
        found.append("chats without an assistant's message")
    elif roles[-1] == "user":
        found.append("chats that end with the user")
    if "tool" not in roles and not any("tool_calls" in message for message in messages):
        return found
    followers = zip(messages, roles[1:], strict=False)
    if any(message.get("tool_calls") and follower != "tool" for message, follower in followers):
        found.append("chats with a tool call without its result")
    if any(
        role == "tool" and before not in ("assistant", "tool")
        for before, role in zip(["", *roles], roles, strict=False)
    ):
        found.append("chats with a tool's result without its call")
    return found


def parsed(value: Any, name: str) -> Any:
    """The value of a JSON text, where a column holds one; anything else as it is. Raises BrokenError."""
    if not isinstance(value, str):
        return value
    try:
        return Parser().value(value) if value.strip() else None
    except BrokenError as error:
        verb = "are" if name.endswith("s") else "is"
        raise BrokenError(f"its {name} {verb} a string of JSON that can't be read: {error}") from error


def kind(value: object) -> str:
    """What a value of JSON is, in words."""
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


def _message(number: int, message: Any) -> Json:
    if not isinstance(message, dict):
        raise BrokenError(f"message {number} is {kind(message)}, not an object")
    role = message.get("role")
    role = _OTHER_ROLES.get(role, role) if isinstance(role, str) else role
    if role not in ROLES:
        raise BrokenError(f"message {number} has the role {role!r}, which is none of {', '.join(ROLES)}")
    content, reasoning = message.get("content"), None
    if isinstance(content, list):
        content, reasoning = _joined(number, content)
    result: Json = {"role": role, "content": content}
    for name, value in message.items():  # a table gives every message every key, null where it has none
        if value is not None and name not in result and name not in (*REASONING_FIELDS, "tool_calls", "function_call"):
            result[name] = value
    if role == "assistant":
        _add_reasoning(number, message, reasoning, result)
        _add_calls(number, message, result)
    if not isinstance(content, str) and not (content is None and "tool_calls" in result):
        raise BrokenError(f"the content of message {number} is {kind(content)}, not a string")
    if role in ("user", "assistant") and not (content or "").strip() and "tool_calls" not in result:
        raise BrokenError(f"message {number} ({role}) is empty")
    return result


def _joined(number: int, parts: list[Any]) -> tuple[str, str | None]:
    """The text of parts, and the reasoning among them."""
    texts: list[str] = []
    reasoning: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, dict) and part.get("type") == "thinking" and isinstance(part.get("thinking"), str):
            reasoning.append(part["thinking"])
        else:
            raise BrokenError(f"message {number} has parts that are not text")
    return "".join(texts), "".join(reasoning) or None


def _add_reasoning(number: int, message: Json, among_parts: str | None, result: Json) -> None:
    told = [message[name] for name in REASONING_FIELDS if message.get(name)]
    reasoning = told[0] if told else among_parts
    if reasoning is None:
        return
    if not isinstance(reasoning, str):
        raise BrokenError(f"the reasoning of message {number} is {kind(reasoning)}, not a string")
    result["reasoning_content"] = reasoning


def _add_calls(number: int, message: Json, result: Json) -> None:
    calls, function = message.get("tool_calls"), message.get("function_call")
    if not calls and function:
        calls = [{"type": "function", "function": function}]
    if not calls:
        return
    if not (isinstance(calls, list) and all(map(_is_call, calls))):
        raise BrokenError(f"the tool calls of message {number} are not a list of functions with a name")
    result["tool_calls"] = calls


def _is_call(call: Any) -> bool:
    function = call.get("function", call) if isinstance(call, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _turn(number: int, turn: Any) -> Any:
    if not isinstance(turn, dict) or "from" not in turn:
        return turn
    said, value = turn["from"], turn.get("value")
    role = _SHAREGPT_ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        raise BrokenError(f"message {number} is from {said!r}, which is none of {', '.join(_SHAREGPT_ROLES)}")
    rest = {name: inner for name, inner in turn.items() if name not in ("from", "value")}
    if said not in _CALLS:
        return {"role": role, "content": value, **rest}
    calls = parsed(value, f"call in message {number}")
    return {"role": role, "content": None, "tool_calls": calls if isinstance(calls, list) else [calls], **rest}
