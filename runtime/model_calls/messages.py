"""Messages, tools and answers between the layout of records and Inspect's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentReasoning,
    ModelOutput,
)
from inspect_ai.tool import ToolCall, ToolInfo, ToolParams

from runtime.model_calls.requests import Answer


def to_inspect(messages: Sequence[Mapping[str, Any]]) -> list[ChatMessage]:
    """Messages of a record for Inspect. Calls and results that name no id are numbered, so that each finds its own."""
    result: list[ChatMessage] = []
    waiting: list[tuple[str, str]] = []  # calls without a result yet: id and function
    for number, message in enumerate(messages):
        text = message.get("content") or ""
        match message["role"]:
            case "system":
                result.append(ChatMessageSystem(content=text))
            case "user":
                result.append(ChatMessageUser(content=text))
            case "assistant":
                calls = [
                    _call(call, f"call_{number}_{place}") for place, call in enumerate(message.get("tool_calls") or ())
                ]
                waiting = [(call.id, call.function) for call in calls]
                result.append(ChatMessageAssistant(content=text, tool_calls=calls or None))
            case _:
                named = message.get("tool_call_id")
                place = next((i for i, (id, _) in enumerate(waiting) if named in (None, id)), None)
                id, function = waiting.pop(place) if place is not None else (named, message.get("name"))
                result.append(ChatMessageTool(content=text, tool_call_id=id, function=function))
    return result


def to_records(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Inspect's messages as records have them."""
    result: list[dict[str, Any]] = []
    for message in messages:
        record: dict[str, Any] = {"role": message.role, "content": message.text}
        if isinstance(message, ChatMessageAssistant) and message.tool_calls:
            record["tool_calls"] = [_record_of(call) for call in message.tool_calls]
        if isinstance(message, ChatMessageTool) and message.tool_call_id:
            record["tool_call_id"] = message.tool_call_id
        result.append(record)
    return result


def tools_to_inspect(tools: Sequence[Mapping[str, Any]]) -> list[ToolInfo]:
    """Definitions in OpenAI's layout for Inspect."""
    result: list[ToolInfo] = []
    for tool in tools:
        function = tool.get("function", tool)
        result.append(
            ToolInfo(
                name=function["name"],
                description=function.get("description") or function["name"],
                parameters=ToolParams.model_validate(function.get("parameters") or {}),
            )
        )
    return result


def tools_to_records(tools: Sequence[ToolInfo]) -> list[dict[str, Any]]:
    """Inspect's tools in OpenAI's layout."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters.model_dump(exclude_none=True),
            },
        }
        for tool in tools
    ]


def answer_of(output: ModelOutput, seconds: float) -> Answer:
    """Inspect's output as an answer. ValueError where it holds none."""
    if not output.choices:
        raise ValueError("the answer holds no choice")
    message, usage = output.message, output.usage
    content = message.content if isinstance(message.content, list) else []
    return Answer(
        content=message.text,
        stop=output.stop_reason,
        tool_calls=tuple(_record_of(call) for call in message.tool_calls or ()),
        reasoning="\n\n".join(part.reasoning for part in content if isinstance(part, ContentReasoning)),
        input_tokens=None
        if usage is None
        else usage.input_tokens + (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0),
        output_tokens=None if usage is None else usage.output_tokens,
        seconds=round(seconds, 3),
    )


def _call(call: Mapping[str, Any], id: str) -> ToolCall:
    function = call.get("function", call)
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    return ToolCall(id=call.get("id") or id, function=function["name"], arguments=arguments)


def _record_of(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.function, "arguments": arguments}}
