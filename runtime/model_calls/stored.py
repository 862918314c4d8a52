"""A model of a plan for Inspect's tasks and scorers: each of its answers is stored as it comes, and asked for once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from runtime.errors import UserError
from runtime.model_calls.draws import Draws
from runtime.model_calls.messages import to_inspect, to_records, tools_to_records
from runtime.model_calls.requests import Answer, Request, Settings
from runtime.stopping import Stopped

CANNOT = (
    "top_k", "frequency_penalty", "presence_penalty", "logit_bias", "num_choices", "logprobs", "top_logprobs",
    "stop_seqs", "response_schema",
)  # fmt: skip
"""Settings that change an answer and that a plan's models don't take; `num_choices: 1` is no change."""


@dataclass
class Failed:
    """Why a run can't go on, whatever becomes of single samples."""

    error: UserError | Stopped | None = None


class StoredAPI(ModelAPI):
    """Asks through a `Caller`: one answer for each conversation, settings, epoch, seed and turn.

    The random stream of weights of ours follows from the conversation, epoch, turn and the study's seed alone: models
    that are compared draw alike. What a spec says
    of the model's settings comes first, then what the task or scorer asks for.

    Args:
        ask: gives the answer to a request with settings (see `Caller.one_by_one`).
        settings: what the spec says.
        connections: calls in flight at most.
        seed: of the study, where the random stream of answers is ours; None for judges, and for served models.
        failed: takes down what no other sample could do better.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's own interface)
        *,
        ask: Callable[[Request, Settings], Awaitable[Answer]],
        settings: Settings,
        connections: int,
        seed: int | None,
        failed: Failed,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self._ask = ask
        self._settings = settings
        self._connections = connections
        self._seed = seed
        self._failed = failed
        self._draws = Draws()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        check_askable(input, tool_choice, config)
        messages, offered = to_records(input), tools_to_records(tools if tool_choice != "none" else ())
        settings, drawn = self._merged(config), self._draws.next(messages, offered)
        seed = None if self._seed is None else drawn.seed(self._seed)
        request = Request(messages, offered, drawn.sample, seed)
        try:
            answer = await self._ask(request, settings)
        except (UserError, Stopped) as error:
            self._failed.error = self._failed.error or error
            raise
        return output_of(answer, self.model_name)

    def max_connections(self) -> int:
        return self._connections

    async def count_text_tokens(self, text: str) -> int:
        return len(text) // 4 + 1  # Inspect's own downloads a tokenizer

    def _merged(self, config: GenerateConfig) -> Settings:
        said = self._settings

        def exact(number: float | None) -> Fraction | None:
            return None if number is None else Fraction(str(number))

        return replace(
            said,
            temperature=exact(config.temperature) if said.temperature is None else said.temperature,
            top_p=exact(config.top_p) if said.top_p is None else said.top_p,
            max_tokens=config.max_tokens if said.max_tokens is None else said.max_tokens,
        )


def check_askable(
    input: Sequence[ChatMessage], tool_choice: ToolChoice, config: GenerateConfig, taken: Sequence[str] = ()
) -> None:
    """ValueError for what would be left out silently: pictures, forced tools, and settings but those `taken`."""
    for message in input:
        parts = [] if isinstance(message.content, str) else message.content
        other = next((part.type for part in parts if not isinstance(part, ContentText | ContentReasoning)), None)
        if other is not None:
            raise ValueError(f"the conversation holds {other}, and the model reads text")
    if tool_choice not in ("auto", "none"):
        raise ValueError("the task forces the call of a tool, which the model can't be made to do")
    unlike = [name for name in CANNOT if name not in taken and getattr(config, name) not in (None, False)]
    unlike = [name for name in unlike if (name, getattr(config, name)) != ("num_choices", 1)]
    if unlike:
        raise ValueError(f"the task asks for {', '.join(unlike)}, which the model doesn't take")


def output_of(answer: Answer, model: str) -> ModelOutput:
    """A stored answer as Inspect's output."""
    (message,) = to_inspect([answer.message])
    assert isinstance(message, ChatMessageAssistant)
    content = message.content
    if answer.reasoning:
        content = [ContentReasoning(reasoning=answer.reasoning), ContentText(text=answer.content)]
    said = message.model_copy(update={"content": content, "model": model, "source": "generate"})
    read, made = answer.input_tokens or 0, answer.output_tokens or 0
    return ModelOutput(
        model=model,
        choices=[ChatCompletionChoice(message=said, stop_reason=_stop(answer.stop))],
        usage=ModelUsage(input_tokens=read, output_tokens=made, total_tokens=read + made),
    )


def _stop(reason: str) -> Any:
    return reason


class NobodyAPI(ModelAPI):
    """Stands where no model is meant to be asked, and says so if one is."""

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        raise NobodyError


class NobodyError(Exception):
    """A model was asked where the spec names none."""


_REGISTERED: Any = modelapi("mixc-plan")(StoredAPI)
_NOBODY: Any = modelapi("mixc-nobody")(NobodyAPI)


def stored_model(
    name: str,
    ask: Callable[[Request, Settings], Awaitable[Answer]],
    settings: Settings,
    connections: int,
    *,
    seed: int | None = None,
    failed: Failed,
) -> Model:
    """Inspect's model of one in a plan, as whom its logs name `name`."""
    config = GenerateConfig(
        max_connections=connections,
        max_retries=0,
        temperature=None if settings.temperature is None else float(settings.temperature),
        top_p=None if settings.top_p is None else float(settings.top_p),
        max_tokens=settings.max_tokens,
    )
    api = _REGISTERED(
        name, config=config, ask=ask, settings=settings, connections=connections, seed=seed, failed=failed
    )
    return Model(api, config)


def nobody() -> Model:
    """A model that can't be asked: NobodyError."""
    return Model(_NOBODY("nobody"), GenerateConfig(max_retries=0))
