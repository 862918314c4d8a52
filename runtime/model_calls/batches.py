"""Samples many prompts at once on one device thread, in batches of a fixed shape.

A batch always has the same number of rows, and the lengths that it is filled up to follow from a prompt alone. So what
an answer is does not depend on the prompts that happen to be beside it.
"""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import queue
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from compiler.program.cache import extend, prefill
from compiler.program.compiled import compiled
from compiler.program.config import DecoderConfig, Parameters, Precision
from compiler.program.sampler import bucket, choose

ROWS = 8
"""Prompts in a batch; missing ones are filled up."""
_WAIT_SECONDS = 0.02  # for more prompts of the same shape


@dataclass(frozen=True)
class Prompt:
    """What one row of a batch is to continue.

    Attributes:
        ids: token ids, at least one and fewer than the model's context.
        tokens: how many to make at most.
        temperature: 0 takes the most likely token.
        top_p: share of probability that is kept, in (0, 1].
        seed: of this row's random stream, an int32.
    """

    ids: Sequence[int]
    tokens: int
    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True)
class Continuation:
    """Token ids that were made; `stopped` where a stop token ended them, which isn't among them."""

    ids: tuple[int, ...]
    stopped: bool


@dataclass(frozen=True)
class _Waiting:
    prompt: Prompt
    shape: tuple[int, int]
    future: Future[Continuation] = field(default_factory=Future)


class Batches:
    """A model that continues prompts. `submit` may be called from any thread; `close` ends the device thread."""

    def __init__(
        self, config: DecoderConfig, parameters: Parameters, stops: Collection[int], precision: Precision = "float32"
    ) -> None:
        self._config = config
        self._parameters = jax.device_put(parameters)
        self._stops = frozenset(stops)
        self._precision: Precision = precision
        self._queue: queue.Queue[_Waiting | None] = queue.Queue()
        self._thread = threading.Thread(target=self._serve, name="sampling", daemon=True)
        self._thread.start()

    def submit(self, prompt: Prompt) -> Future[Continuation]:
        """Puts a prompt into the next batch of its shape."""
        width = bucket(len(prompt.ids), self._config.context)
        end = min(len(prompt.ids) + prompt.tokens, self._config.context)
        waiting = _Waiting(prompt, (width, max(width, bucket(end, self._config.context))))
        self._queue.put(waiting)
        return waiting.future

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        waiting: dict[tuple[int, int], list[_Waiting]] = {}
        open = True
        while open or waiting:
            open = self._collect(waiting) and open
            if not waiting:
                continue
            shape = next(iter(waiting))
            batch, rest = waiting[shape][:ROWS], waiting[shape][ROWS:]
            del waiting[shape]
            if rest:
                waiting[shape] = rest
            batch = [each for each in batch if each.future.set_running_or_notify_cancel()]
            if not batch:
                continue
            try:
                for each, made in zip(batch, self._sampled([each.prompt for each in batch], *shape), strict=True):
                    each.future.set_result(made)
            except Exception as error:
                for each in batch:
                    each.future.set_exception(error)

    def _collect(self, waiting: dict[tuple[int, int], list[_Waiting]]) -> bool:
        """Takes what is asked for, until a batch is full or nothing more comes; False once it is to end."""
        while all(len(prompts) < ROWS for prompts in waiting.values()):
            try:
                item = self._queue.get(timeout=_WAIT_SECONDS if waiting else None)
            except queue.Empty:
                return True
            if item is None:
                return False
            waiting.setdefault(item.shape, []).append(item)
        return True

    def _sampled(self, prompts: Sequence[Prompt], width: int, capacity: int) -> list[Continuation]:
        rows = [*prompts, *[prompts[0]] * (ROWS - len(prompts))]
        padded = np.zeros((ROWS, width), np.int32)
        for row, prompt in zip(padded, rows, strict=True):
            row[: len(prompt.ids)] = prompt.ids
        places = jnp.asarray([len(prompt.ids) for prompt in rows], jnp.int32)
        keys = jax.vmap(jax.random.key)(jnp.asarray([prompt.seed for prompt in rows], jnp.int32))
        temperatures = jnp.asarray([prompt.temperature for prompt in rows], jnp.float32)
        shares = jnp.asarray([prompt.top_p for prompt in rows], jnp.float32)
        logits, cache = prefill(self._config, self._parameters, jnp.asarray(padded), places, capacity, self._precision)
        ends = [min(prompt.tokens, self._config.context - len(prompt.ids)) for prompt in prompts]
        made: Mapping[int, list[int]] = {number: [] for number in range(len(prompts))}
        stopped: set[int] = set()
        while True:
            chosen = choose(nucleus(logits, temperatures, shares), keys, places, temperatures)
            for number, token in enumerate(np.asarray(chosen)[: len(prompts)].tolist()):
                if number in stopped or len(made[number]) == ends[number]:
                    continue
                if token in self._stops:
                    stopped.add(number)
                else:
                    made[number].append(token)
            if all(number in stopped or len(made[number]) == ends[number] for number in made):
                return [Continuation(tuple(made[number]), number in stopped) for number in made]
            # Rows that have ended go on to the end of the others, over a place that nobody reads any more.
            places = jnp.minimum(places + 1, capacity - 1)
            cache = cache._replace(lengths=jnp.minimum(cache.lengths, capacity - 1))
            logits, cache = extend(self._config, self._parameters, cache, chosen, self._precision)


@compiled()
def nucleus(logits: jax.Array, temperatures: jax.Array, shares: jax.Array) -> jax.Array:
    """Logits of the most likely tokens that together have a share of the probability; the others become -inf.

    Top-p sampling of Holtzman et al. 2020. The most likely token always stays.

    Args:
        logits: float32 `[rows, vocabulary]`.
        temperatures: float32 `[rows]`; probabilities are taken at this temperature, at 1 where it is 0.
        shares: float32 `[rows]`, in (0, 1].

    Returns:
        Float32 `[rows, vocabulary]`.
    """
    scaled = logits / jnp.where(temperatures > 0, temperatures, 1.0)[:, None]
    falling = jnp.sort(scaled, axis=-1, descending=True)
    probabilities = jax.nn.softmax(falling, axis=-1)
    before = jnp.cumsum(probabilities, axis=-1) - probabilities
    kept = jnp.sum((before < shares[:, None]).astype(jnp.int32), axis=-1)
    least = jnp.take_along_axis(falling, kept[:, None] - 1, axis=-1)
    return jnp.where((scaled >= least) | (shares[:, None] >= 1.0), logits, -jnp.inf)
