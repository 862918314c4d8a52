"""The training loop: from the beginning or from where a killed run was, to the last update."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from compiler.program.batch import Batch
from compiler.program.config import Parameters
from compiler.program.objectives import target_count
from compiler.program.optimizer import Optimizer
from compiler.program.step import Metrics, TrainState, TrainStep
from runtime.disk import disk_errors
from runtime.errors import UserError
from runtime.stopping import Stopped
from runtime.train import telemetry
from runtime.train.checkpoints import Checkpoints, first_state, load_state
from runtime.train.committed import newest_point, prune, refuse_other_data, resume_point, weights_at
from runtime.train.telemetry import Row, Telemetry

SAVE_SECONDS = 600.0


@dataclass(frozen=True)
class Training:
    """What one train step computes."""

    name: str
    """As the user knows it (`finetune`), for messages."""
    initial: Callable[[], Parameters]
    """Float32 parameters before the first update. Called at a fresh start alone; the arrays are donated to the first
    update: nobody else may use them."""
    parameters: Parameters
    """A `jax.ShapeDtypeStruct` for each, with its sharding on a mesh."""
    optimizer: Optimizer
    step: TrainStep
    updates: int
    batch: Callable[[int], Batch]
    """The batch of an update, from 1 to `updates`, in NumPy's arrays. Pure: a resumed run reads on from any place."""
    frozen: Parameters
    """What the decoder is made of beside what is trained."""
    data: Mapping[str, str]
    """Digests of what is read, by name (`{"tokens": "9f86…"}`): a run resumes only over the same."""
    rows: Callable[[int], str] | None = None
    """The rows of an update's batch in words, for messages."""
    place: str | None = None
    """FILE:LINE:COLUMN of the declaration, for messages."""
    put: Callable[[Batch], Batch] | None = None
    """Onto the devices of a mesh; None leaves it to the step."""


def train(
    training: Training,
    folder: Path,
    keep: AbstractSet[int],
    progress: Callable[[Row, int], None],
    stop: Event,
    say: Callable[[str], None],
    save_seconds: float = SAVE_SECONDS,
) -> None:
    """Leaves in `folder` `weights/UPDATE/` for the updates of `keep` and the last, `metrics.parquet`, `tensorboard/`.

    Killed at any moment and called again, it goes on from the newest checkpoint; on the same machine what comes out is
    the same to the bit. A batch without trained tokens has loss and gradient 0.

    Args:
        training: what to compute.
        folder: of this train step alone, and of one process at a time (see `Store.lock`).
        keep: updates, from 1 to `training.updates`, after which weights are kept and the full state is saved.
        progress: takes each update's row, an update late, and the number of updates.
        stop: once set, the state is saved after the update under way.
        say: takes remarks for people.
        save_seconds: the full state is saved too when so much time has passed since it was last.

    Raises:
        UserError: loss or gradient isn't a finite number; the disk is full; the data isn't that of the checkpoints.
        Stopped: `stop` was set, and everything is saved.
    """
    wanted = keep | {training.updates}
    with disk_errors(folder):
        refuse_other_data(folder, training.data, training.name)
        start = resume_point(folder, wanted, say)
        if not wanted <= set(weights_at(folder)):
            _run(training, folder, wanted, start, progress, stop, say, save_seconds)
        if (folder / telemetry.LIVE).exists() or not (folder / telemetry.DONE).exists():
            telemetry.finish(folder)
        prune(folder, wanted, training.updates, states=0)
        (folder / telemetry.LIVE).unlink(missing_ok=True)


def _run(
    training: Training,
    folder: Path,
    wanted: AbstractSet[int],
    start: int,
    progress: Callable[[Row, int], None],
    stop: Event,
    say: Callable[[str], None],
    save_seconds: float,
) -> None:
    if start:
        say(f"{training.name} goes on after update {start} of {training.updates}")
    state = _state(training, folder, start)
    with Telemetry(folder, start) as rows, Checkpoints(folder, wanted, training.data) as checkpoints:
        ledger = _Ledger(training, rows, checkpoints, progress)
        saved_at = time.monotonic()
        prepared = _prepare(training, start + 1)
        for update in range(start + 1, training.updates + 1):
            if stop.is_set():
                if update > 1:
                    ledger.sync()
                    checkpoints.save(update - 1, state, resumable=True)
                    checkpoints.wait()
                raise Stopped
            batch, tokens, trained = prepared
            state, metrics = training.step(state, training.frozen, batch, jnp.maximum(trained, 1))
            if update < training.updates:
                prepared = _prepare(training, update + 1)  # while the device computes
            ledger.add(_Dispatched(update, tokens, trained, metrics))
            checkpoints.check()
            if update in wanted or time.monotonic() - saved_at >= save_seconds:
                ledger.sync()
                checkpoints.save(update, state, resumable=update < training.updates)
                saved_at = time.monotonic()


class _Dispatched(NamedTuple):
    """An update that the device may still be at."""

    update: int
    tokens: int
    trained_tokens: jax.Array
    metrics: Metrics


class _Ledger:
    """Takes down each update's row when the next one is dispatched, so that the device never waits for the host."""

    def __init__(
        self, training: Training, rows: Telemetry, checkpoints: Checkpoints, progress: Callable[[Row, int], None]
    ) -> None:
        self._training = training
        self._rows = rows
        self._checkpoints = checkpoints
        self._progress = progress
        self._late: _Dispatched | None = None
        self._clock = time.monotonic()

    def add(self, dispatched: _Dispatched) -> None:
        """Settles the update before. Raises UserError if its loss or gradient isn't a finite number."""
        self._settle()
        self._late = dispatched

    def sync(self) -> None:
        """Settles the last update too, and brings all rows to the disk: none that isn't finite is ever saved."""
        self._settle()
        self._rows.sync()

    def _settle(self) -> None:
        if self._late is None:
            return
        update, tokens, trained, metrics = self._late
        self._late = None
        loss, norm, rate = (float(value) for value in metrics[:3])  # waits for the device
        before, self._clock = self._clock, time.monotonic()
        row = Row(update, tokens, int(trained), loss, norm, rate, self._clock - before)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._checkpoints.wait()
            raise _diverged(self._training, row, self._checkpoints.folder)
        self._rows.add(row)
        self._progress(row, self._training.updates)


def _state(training: Training, folder: Path, update: int) -> TrainState:
    if update == 0:
        return first_state(training.initial(), training.parameters, training.optimizer)
    return load_state(folder, update, training.parameters, training.optimizer)


def _prepare(training: Training, update: int) -> tuple[Batch, int, jax.Array]:
    """A batch where the step wants it, its number of tokens, and of those that the loss takes."""
    batch = training.batch(update)
    tokens = int(np.count_nonzero(batch.segments))
    placed = batch if training.put is None else training.put(batch)
    return placed, tokens, target_count(placed)


def _diverged(training: Training, row: Row, folder: Path) -> UserError:
    what = f"the loss is {row.loss}" if not math.isfinite(row.loss) else f"the gradient's norm is {row.gradient_norm}"
    read = "" if training.rows is None else f"; its batch is {training.rows(row.update)}"
    good = newest_point(folder)
    kept = f"update {good} in {folder} is the last good checkpoint" if good else "there is no checkpoint before it"
    return UserError(
        f"{what} in update {row.update} of {training.updates} of {training.name}{read}",
        f"lower lr (it was {row.learning_rate:.3g} here) or set max_grad_norm, and look at the rows; {kept}",
        training.place,
    )
