"""Makes callers: from what a plan says of a model, its settings and its ceiling."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from threading import Event
from typing import TYPE_CHECKING

from compiler.operations import Asked
from runtime.model_calls.answers import Answers
from runtime.model_calls.calls import CONNECTIONS, Caller
from runtime.model_calls.failures import Patience
from runtime.model_calls.prices import Price
from runtime.model_calls.requests import Settings
from runtime.progress import Reporter

if TYPE_CHECKING:
    from inspect_ai.model import GenerateConfig, Model

    from compiler.program.config import Parameters
    from runtime.weights.description import ModelDescription


def served_caller(
    asked: Asked,
    answers: Answers,
    reporter: Reporter,
    stop: Event,
    *,
    connections: int = CONNECTIONS,
    patience: Patience | None = None,
) -> Caller:
    """A caller of a served model (`asked.api`). Nothing is looked up or sent before it has something to ask."""
    api = asked.api
    assert api is not None
    settings = Settings.of(asked)

    def opened() -> Model:
        from inspect_ai.model import get_model

        return get_model(api, config=_config(settings, connections), memoize=False)

    spend = None if asked.spend is None else Fraction(asked.spend)
    price = None if asked.price is None else Price(*map(Fraction, asked.price))
    return Caller(
        asked.name, api, opened, settings, answers, reporter, stop,
        spend, price, connections, patience or Patience(),
    )  # fmt: skip


def own_caller(
    asked: Asked,
    answers: Answers,
    reporter: Reporter,
    stop: Event,
    *,
    content: str,
    load: Callable[[], tuple[ModelDescription, Parameters]],
) -> Caller:
    """A caller of weights of ours (`asked.point`), which answer in this process.

    Args:
        content: what tells these weights from all others: the content hash of the `weights` step, or the key of the
            `train` step with the update.
        load: reads them; called only if something has to be asked.
    """
    from runtime.model_calls.batches import WAITING

    settings = Settings.of(asked)

    def opened() -> Model:
        from runtime.model_calls.checkpoint import checkpoint_model

        description, parameters = load()
        config = _config(settings, WAITING)
        return checkpoint_model(asked.name, description, parameters, settings.template_args or {}, config)

    return Caller(asked.name, content, opened, settings, answers, reporter, stop, connections=WAITING, patience=None)


def _config(settings: Settings, connections: int) -> GenerateConfig:
    from inspect_ai.model import GenerateConfig
    from inspect_ai.util import AdaptiveConcurrency

    def number(value: Fraction | None) -> float | None:
        return None if value is None else float(value)

    return GenerateConfig(
        temperature=number(settings.temperature),
        top_p=number(settings.top_p),
        max_tokens=settings.max_tokens,
        max_retries=0,
        cache_prompt=False,  # prompts are asked once; a provider's cache would cost more to write than it saves
        adaptive_connections=AdaptiveConcurrency(min=1, start=min(10, connections), max=connections),
    )
