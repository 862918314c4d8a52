"""Weights of ours as a model of Inspect: `mixc/NAME`, served in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from compiler.program.sampler import Prompt
from runtime.data.templates import RenderError, render
from runtime.data.tokenize import Consumer, template_of
from runtime.errors import UserError
from runtime.model_calls.batches import ROWS, Batches
from runtime.model_calls.messages import to_records, tools_to_records

if TYPE_CHECKING:
    from compiler.program.config import Parameters
    from runtime.weights.description import ModelDescription

_MOST_TOKENS = 2048
"""Of an answer, where nobody says."""


class CheckpointAPI(ModelAPI):
    """Renders a conversation with the model's chat template, and samples an answer.

    Tools are given to the template; a call that the model makes stays text. `seed` of the configuration begins the
    random stream of one answer; without it an answer is drawn from the conversation alone, so the same each time.

    Args:
        description, parameters: the model.
        template_args: as in a spec.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's own interface)
        *,
        description: ModelDescription,
        parameters: Parameters,
        template_args: Mapping[str, str],
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self._tokenizer = description.tokenizer
        self._context = description.config.context
        self._template = template_of(Consumer(description.tokenizer, "assistant", template_args))
        self._batches = Batches(description.config, parameters, description.tokenizer.stops)

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        try:
            prompt = render(self._template, to_records(input), tools_to_records(tools), generation_prompt=True).text
        except RenderError as error:
            raise UserError(str(error), "name a template that can write these chats", self.model_name) from error
        ids = self._tokenizer.tokenizer.encode(prompt, add_special_tokens=False).ids
        if len(ids) >= self._context:
            return ModelOutput.from_content(self.model_name, "", "model_length")
        continuation = self._batches.submit(
            Prompt(
                ids=ids,
                tokens=config.max_tokens or _MOST_TOKENS,
                temperature=1.0 if config.temperature is None else config.temperature,
                top_p=1.0 if config.top_p is None else config.top_p,
                seed=config.seed or 0,
            )
        )
        made = await asyncio.wrap_future(continuation)
        text = self._tokenizer.tokenizer.decode(list(made.text_ids))
        full = len(ids) + len(made.ids) >= self._context
        reason = "stop" if made.stopped else "model_length" if full else "max_tokens"
        return ModelOutput(
            model=self.model_name,
            choices=[
                ChatCompletionChoice(
                    message=ChatMessageAssistant(content=text, model=self.model_name, source="generate"),
                    stop_reason=reason,
                )
            ],
            usage=ModelUsage(input_tokens=len(ids), output_tokens=len(made.ids), total_tokens=len(ids) + len(made.ids)),
        )

    async def aclose(self) -> None:
        await asyncio.to_thread(self._batches.close)

    def max_connections(self) -> int:
        return 2 * ROWS


_REGISTERED: Any = modelapi("mixc")(CheckpointAPI)


def checkpoint_model(
    name: str,
    description: ModelDescription,
    parameters: Parameters,
    template_args: Mapping[str, str],
    config: GenerateConfig,
) -> Model:
    """Inspect's model of these weights; close it (`async with`) when done. UserError where it has no chat template."""
    api = _REGISTERED(name, config=config, description=description, parameters=parameters, template_args=template_args)
    return Model(api, config)
