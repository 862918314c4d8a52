"""Takes down what each update gave: its row of telemetry, and whether training can go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import jax
import numpy as np

from compiler.program.step import Metrics
from runtime.errors import UserError
from runtime.train.checkpoints import Checkpoints
from runtime.train.committed import newest_point
from runtime.train.prepared import Prepared
from runtime.train.spikes import Policy, Spikes
from runtime.train.telemetry import Row, Telemetry

if TYPE_CHECKING:
    from runtime.train.loop import Training


@dataclass(frozen=True)
class Dispatched:
    """An update that the device may still be at."""

    update: int
    prepared: Prepared
    metrics: Metrics
    seconds: float
    """That its batch took to make."""
    at: float
    """When it was dispatched, by `time.monotonic`."""


class Ledger:
    """Takes down each update's row when the next one is dispatched, so that the device never waits for the host.

    A context manager: a thread of its own waits for the device and notes when an update was done.
    """

    def __init__(
        self,
        training: Training,
        rows: Telemetry,
        checkpoints: Checkpoints,
        progress: Callable[[Row, int], None],
        say: Callable[[str], None],
        on_spike: Policy,
    ) -> None:
        self._training = training
        self._rows = rows
        self._checkpoints = checkpoints
        self._progress = progress
        self._say = say
        self._on_spike = on_spike
        self._spikes = Spikes(rows.before)
        self._late: tuple[Dispatched, Future[float]] | None = None
        self._watching = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._done_at: float | None = None
        self._clock = time.monotonic()

    def add(self, dispatched: Dispatched) -> None:
        """Settles the update before. Raises UserError if its loss or gradient isn't a finite number."""
        done = self._watching.submit(_done, dispatched.metrics)
        self._settle()
        self._late = dispatched, done

    def sync(self) -> None:
        """Settles the last update too, and brings all rows to the disk: none that isn't finite is ever saved."""
        self._settle()
        self._rows.sync()

    def go_on(self) -> None:
        """What has passed since the last `sync` went to something else: it counts in no update."""
        self._clock = time.monotonic()
        if self._done_at is not None:
            self._done_at = self._clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watching.shutdown(wait=error is None)

    def _settle(self) -> None:
        if self._late is None:
            return
        dispatched, done = self._late
        self._late = None
        done_at = done.result()
        row = self._row(dispatched, done_at)
        self._done_at = self._clock = done_at
        if not (math.isfinite(row.loss) and math.isfinite(row.gradient_norm)):
            self._checkpoints.wait()
            what = f"loss is {row.loss}" if not math.isfinite(row.loss) else f"gradient's norm is {row.gradient_norm}"
            raise _stopping(self._training, row, f"the {what}", self._checkpoints.folder)
        self._rows.add(row)
        self._progress(row, self._training.updates)
        spike = self._spikes.add(row)
        if spike is not None and self._on_spike == "stop":
            self._checkpoints.wait()
            raise _stopping(self._training, row, spike, self._checkpoints.folder)
        if spike is not None and self._on_spike == "warn":
            self._say(f"{_in_words(self._training, row, spike)}")

    def _row(self, dispatched: Dispatched, done_at: float) -> Row:
        training, prepared = self._training, dispatched.prepared
        loss, norm, rate, sums = jax.tree.map(np.asarray, tuple(dispatched.metrics))
        seconds = done_at - self._clock
        idle = dispatched.seconds if self._done_at is None else max(dispatched.at - self._done_at, 0.0)
        useful = prepared.flops if training.peak is not None else None
        return Row(
            update=dispatched.update,
            tokens=prepared.tokens,
            trained_tokens=prepared.trained_tokens,
            loss=float(loss),
            gradient_norm=float(norm),
            learning_rate=float(rate),
            seconds=seconds,
            padding=1 - prepared.tokens / prepared.places,
            data_wait_seconds=min(idle, dispatched.seconds),
            memory_bytes=_memory(),
            mfu=None if useful is None or training.peak is None else useful / seconds / training.peak,
            told={**prepared.told, **training.told(sums)},
        )


def _done(metrics: Metrics) -> float:
    jax.block_until_ready(metrics)
    return time.monotonic()


def _memory() -> int | None:
    """The most bytes that this process's first device held so far, None where it doesn't tell."""
    stats = jax.local_devices()[0].memory_stats()
    return None if stats is None else stats.get("peak_bytes_in_use")


def _in_words(training: Training, row: Row, what: str) -> str:
    places = training.batches.places(row.update)
    read = f"; its batch is {places}" if places else ""
    return f"{what} in update {row.update} of {training.updates} of {training.name}{read}"


def _stopping(training: Training, row: Row, what: str, folder: Path) -> UserError:
    good = newest_point(folder)
    kept = f"update {good} in {folder} is the last good checkpoint" if good else "there is no checkpoint before it"
    return UserError(
        _in_words(training, row, what),
        f"lower lr (it was {row.learning_rate:.3g} here) or set max_grad_norm, and look at the rows; {kept}",
        training.place,
    )
