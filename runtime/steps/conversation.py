"""A conversation with a model that a plan made."""

from __future__ import annotations

from collections.abc import Iterator

import jax

from compiler.plan import PlannedArm
from compiler.program.sampler import sample
from runtime.data.templates import Message, render
from runtime.data.tokenize import Consumer, template_of
from runtime.errors import UserError
from runtime.steps.context import Context
from runtime.steps.models import parameters


class Conversation:
    """Holds what was said. Each answer reads all of it, rendered with the model's chat template."""

    def __init__(self, context: Context, arm: PlannedArm, system: str | None = None) -> None:
        model = context.model(arm.reader)
        self._config, self._tokenizer = model.config, model.tokenizer
        self._template = template_of(Consumer(model.tokenizer, "assistant", arm.template_args))
        self._parameters = jax.device_put(parameters(context, arm.final, arm.reader))
        self._messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]

    def answer(self, message: str, *, tokens: int, temperature: float, seed: int) -> Iterator[str]:
        """Yields the answer in pieces, as they come. Raises UserError where it all fills the model's context."""
        self._messages.append({"role": "user", "content": message})
        prompt = render(self._template, self._messages, generation_prompt=True).text
        ids = self._tokenizer.tokenizer.encode(prompt, add_special_tokens=False).ids
        if len(ids) >= self._config.context:
            raise UserError(f"the conversation has {len(ids)} tokens, all that the model reads", "begin a new one")
        made: list[int] = []
        said = ""
        for token in sample(
            self._config,
            self._parameters,
            ids,
            tokens=tokens,
            temperature=temperature,
            seed=seed,
            stops=self._tokenizer.stops,
        ):
            made.append(token)
            text = self._tokenizer.tokenizer.decode(made)
            if not text.endswith("\N{REPLACEMENT CHARACTER}"):  # a character may take several tokens
                yield text[len(said) :]
                said = text
        self._messages.append({"role": "assistant", "content": said})
