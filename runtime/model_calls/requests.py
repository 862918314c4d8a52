"""What a model is asked, and what it answers, as values; and the key that an answer is stored under."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias, TypeVar

from compiler.operations import Asked
from runtime.data.rows import canonical_json

Result = TypeVar("Result")

PROBLEMS: Mapping[str, str] = {
    "max_tokens": "cut off at max_tokens",
    "model_length": "longer than the model reads",
    "content_filter": "refused by the provider's filter",
}
"""Reasons for stopping that leave no whole answer; the text then is a part of one, or a message of the provider's."""


@dataclass(frozen=True)
class Request:
    """One question. The answer to sample 1 is another one than that to sample 0.

    Attributes:
        messages: as records have them: `role`, `content`, and perhaps `tool_calls` and `tool_call_id`.
        tools: definitions in OpenAI's layout.
        seed: of the random stream of weights of ours; None for one that follows from all that is asked, of whom.
    """

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    sample: int = 0
    seed: int | None = None


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        content: the text.
        stop: why it ended, in Inspect's words: `stop`, `max_tokens`, `model_length`, `content_filter`, `tool_calls`.
        tool_calls: in the layout of records.
        reasoning: thoughts that the provider tells apart from the text.
        input_tokens: tokens of the prompt, those read from a provider's cache among them; None where it didn't say.
        output_tokens: tokens made, thoughts among them.
        seconds: how long the call took that succeeded.
    """

    content: str
    stop: str = "stop"
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    reasoning: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float = 0.0

    @property
    def problem(self) -> str | None:
        """Why there is no whole answer, in words; None where there is one."""
        if self.stop in PROBLEMS:
            return PROBLEMS[self.stop]
        return None if self.content.strip() or self.tool_calls else "empty answer"

    @property
    def message(self) -> dict[str, Any]:
        """The assistant's message as records have it."""
        message: dict[str, Any] = {"role": "assistant", "content": self.content}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = [dict(call) for call in self.tool_calls]
        return message


Exchange: TypeAlias = Generator[Request, Answer, Result]
"""Requests that follow from each other: yields each, is sent its answer, and returns what came of them."""


@dataclass(frozen=True)
class Settings:
    """All that can change an answer beside the prompt and the model. Numbers are exact."""

    temperature: Fraction | None = None
    top_p: Fraction | None = None
    max_tokens: int | None = None
    template_args: Mapping[str, str] | None = None

    @staticmethod
    def of(asked: Asked) -> Settings:
        def exact(text: str | None) -> Fraction | None:
            return None if text is None else Fraction(text)

        return Settings(exact(asked.temperature), exact(asked.top_p), asked.max_tokens, asked.template_args or None)


def key_of(request: Request, model: str, settings: Settings) -> bytes:
    """SHA-256, 32 bytes, of the canonical JSON of request, model and settings: what is there, and nothing else.

    Args:
        model: PROVIDER/NAME of a served model, or the content hash of weights of ours.
    """
    asked = {
        "messages": [dict(message) for message in request.messages],
        "tools": [dict(tool) for tool in request.tools],
        "model": model,
        "settings": {
            name: value if isinstance(value, int | dict) else str(value)
            for name, value in vars(settings).items()
            if value is not None
        },
        "sample": request.sample,
    }
    if request.seed is not None:
        asked["seed"] = str(request.seed)
    return hashlib.sha256(canonical_json(asked).encode()).digest()
