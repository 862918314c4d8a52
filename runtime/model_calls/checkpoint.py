"""Weights of ours as a model of Inspect: `mixc/NAME`, served in this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
)
from inspect_ai.tool import ToolCall, ToolChoice, ToolInfo

from compiler.program.sampler import Prompt
from runtime.data.templates import RenderError, render
from runtime.data.tokenize import Consumer, template_of
from runtime.errors import UserError
from runtime.model_calls.batches import WAITING, Batches
from runtime.model_calls.draws import Draws, in_evaluation
from runtime.model_calls.messages import to_records, tools_to_records
from runtime.model_calls.provider import mixc
from runtime.model_calls.stored import check_askable
from runtime.model_calls.tool_calls import Form, form_of, parsed

if TYPE_CHECKING:
    from compiler.program.config import Parameters
    from runtime.weights.description import ModelDescription

_MOST_TOKENS = 2048
"""Of an answer, where nobody says."""


class CheckpointAPI(ModelAPI):
    """Renders a conversation with the model's chat template, and samples an answer.

    Tools are given to the template; calls of them are found in the answer where the template tells their form (see
    `tool_calls`), and are text else. In an evaluation the random stream of an answer follows from the conversation,
    the sample's epoch, how often the sample asked the same, and `seed` of the configuration (0); outside, `seed` begins
    it, and without one an answer is the same each time.

    Args:
        model_name: STUDY/ARM@STEP (see `find_checkpoint`), where no parameters are given.
        store: the folder with what ran; None for the environment's MIXC_STORE, and else `runs`.
        description, parameters: the model.
        template_args: as in a spec.

    Raises:
        PrerequisiteError: there is no such model; Inspect's command line prints it without a traceback.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's own interface)
        *,
        store: str | None = None,
        description: ModelDescription | None = None,
        parameters: Parameters | None = None,
        template_args: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        try:
            if description is None or parameters is None:
                description, parameters, template_args = _read(model_name, store)
            self._template = template_of(Consumer(description.tokenizer, "assistant", template_args or {}))
        except UserError as error:
            if parameters is not None:
                raise
            raise PrerequisiteError(str(error)) from error
        self._tokenizer = description.tokenizer
        self._context = description.config.context
        self._form: Form | None = form_of(description.tokenizer.chat_template)
        self._draws = Draws()
        self._batches = Batches(description.config, parameters, description.tokenizer.stops)

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        check_askable(input, tool_choice, config, taken=("stop_seqs",))
        messages, offered = to_records(input), tools_to_records(tools if tool_choice != "none" else ())
        try:
            prompt = render(self._template, messages, offered, generation_prompt=True).text
        except RenderError as error:
            raise UserError(str(error), "name a template that can write these chats", self.model_name) from error
        ids = self._tokenizer.tokenizer.encode(prompt, add_special_tokens=False).ids
        if len(ids) >= self._context:
            return ModelOutput.from_content(self.model_name, "", "model_length")
        seed = config.seed or 0
        continuation = self._batches.submit(
            Prompt(
                ids=ids,
                tokens=config.max_tokens or _MOST_TOKENS,
                temperature=1.0 if config.temperature is None else config.temperature,
                top_p=1.0 if config.top_p is None else config.top_p,
                seed=self._draws.next(messages, offered).seed(seed) if in_evaluation() else seed,
            )
        )
        made = await asyncio.wrap_future(continuation)
        text = self._tokenizer.tokenizer.decode(list(made.text_ids))
        full = len(ids) + len(made.ids) >= self._context
        reason: StopReason = "stop" if made.stopped else "model_length" if full else "max_tokens"
        ends = [text.index(end) for end in config.stop_seqs or () if end in text]
        if ends:
            text, reason = text[: min(ends)], "stop"
        text, calls = parsed(text, self._form, [tool.name for tool in tools] if offered else [])
        message = ChatMessageAssistant(
            content=text,
            tool_calls=[
                ToolCall(id=f"call_{len(messages)}_{number}", function=call.name, arguments=dict(call.arguments))
                for number, call in enumerate(calls)
            ]
            or None,
            model=self.model_name,
            source="generate",
        )
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason="tool_calls" if calls else reason)],
            usage=ModelUsage(input_tokens=len(ids), output_tokens=len(made.ids), total_tokens=len(ids) + len(made.ids)),
        )

    async def aclose(self) -> None:
        await asyncio.to_thread(self._batches.close)

    def max_connections(self) -> int:
        return WAITING

    async def count_text_tokens(self, text: str) -> int:
        return len(self._tokenizer.tokenizer.encode(text, add_special_tokens=False).ids)


def _read(name: str, store: str | None) -> tuple[ModelDescription, Parameters, Mapping[str, str]]:
    """The model of a name, its weights and the arguments of its template. Raises UserError."""
    from rich.console import Console

    from runtime.checkpoints_by_name import find_checkpoint
    from runtime.progress import Reporter
    from runtime.steps.models import parameters
    from runtime.store import Store

    reporter = Reporter(Console(stderr=True))
    opened = Store(Path(store or os.environ.get("MIXC_STORE") or "runs"), reporter.say)
    context, arm, point = find_checkpoint(name, opened, reporter)
    assert arm.weights is not None, "an arm that is served has no weights to find"
    return context.model(arm.weights), parameters(context, point, arm.weights), arm.template_args


def checkpoint_model(
    name: str,
    description: ModelDescription,
    parameters: Parameters,
    template_args: Mapping[str, str],
    config: GenerateConfig,
) -> Model:
    """Inspect's model of these weights; close it (`async with`) when done. UserError where it has no chat template."""
    make: Any = mixc
    api = make(name, config=config, description=description, parameters=parameters, template_args=template_args)
    return Model(api, config)
