"""Samples what is asked at the same time together, on one device thread.

What an answer is does not depend on the prompts that happen to be beside it (see `sample_batch`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass, field

import jax

from compiler.program.config import DecoderConfig, Parameters, Precision
from compiler.program.sampler import Continuation, Prompt, sample_batch

ROWS = 64
"""Prompts that are continued together at most, where the cache has room for so many (see `sample_batch`)."""
WAITING = 4 * ROWS
"""Prompts that may wait: what is alike among them is put together, and equal prompts are read once."""
_WAIT_SECONDS = 0.02  # for more prompts


@dataclass(frozen=True)
class _Waiting:
    prompt: Prompt
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
        """Puts a prompt into the next batch."""
        waiting = _Waiting(prompt)
        self._queue.put(waiting)
        return waiting.future

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        waiting: list[_Waiting] = []
        open = True
        while open or waiting:
            open = self._collect(waiting) and open
            if not waiting:
                continue
            batch, waiting = _chosen(waiting)
            batch = [each for each in batch if each.future.set_running_or_notify_cancel()]
            if not batch:
                continue
            try:
                prompts = [each.prompt for each in batch]
                made = sample_batch(self._config, self._parameters, prompts, self._stops, precision=self._precision)
                for each, continuation in zip(batch, made, strict=True):
                    each.future.set_result(continuation)
            except Exception as error:
                for each in batch:
                    each.future.set_exception(error)

    def _collect(self, waiting: list[_Waiting]) -> bool:
        """Takes what is asked for, until so many wait or nothing more comes; False once it is to end."""
        while len(waiting) < WAITING:
            try:
                item = self._queue.get(timeout=_WAIT_SECONDS if waiting else None)
            except queue.Empty:
                return True
            if item is None:
                return False
            waiting.append(item)
        return True


def _chosen(waiting: list[_Waiting]) -> tuple[list[_Waiting], list[_Waiting]]:
    """The next batch, and those that go on waiting: the oldest, and what is most like it.

    Equal prompts come together, since each is read once, and then those of nearly its length, since rows that end
    early leave room that nobody takes.
    """
    first = waiting[0].prompt
    ids = tuple(first.ids)

    def unlike(each: _Waiting) -> tuple[bool, int, int]:
        prompt = each.prompt
        return tuple(prompt.ids) != ids, abs(prompt.tokens - first.tokens), abs(len(prompt.ids) - len(ids))

    order = sorted(waiting, key=unlike)
    batch = order[:ROWS]
    taken = set(map(id, batch))
    return batch, [each for each in waiting if id(each) not in taken]
