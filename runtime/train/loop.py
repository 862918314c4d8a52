"""The training loop: from the beginning or from where a killed run was, to the last update."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.program.config import Parameters
from compiler.program.optimizer import Optimizer
from compiler.program.step import TrainState, TrainStep
from runtime.disk import disk_errors
from runtime.distributed import Processes, current
from runtime.stopping import Stopped
from runtime.train import telemetry
from runtime.train.checkpoints import Checkpoints, first_state, load_state
from runtime.train.committed import prune, refuse_other_data, resume_point, weights_at
from runtime.train.ledger import Dispatched, Ledger
from runtime.train.meeting import Meeting
from runtime.train.placement import Placement
from runtime.train.prepared import Batches, Prepared
from runtime.train.spikes import Policy
from runtime.train.telemetry import Row, Telemetry

SAVE_SECONDS = 600.0


def _nothing(sums: Mapping[str, NDArray[np.float32]]) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True)
class Training:
    """What one train step computes."""

    name: str
    """As the user knows it (`finetune`), for messages."""
    initial: Callable[[], Parameters]
    """What is trained, float32, before the first update. Called at a fresh start alone; the arrays are donated to the
    first update: nobody else may use them."""
    parameters: Parameters
    """A `jax.ShapeDtypeStruct` for each of them, with its sharding on a mesh."""
    optimizer: Optimizer
    step: TrainStep
    updates: int
    """The last one that is made."""
    batches: Batches
    data: Mapping[str, str]
    """Digests of what is read, by name (`{"tokens": "9f86…"}`): a run resumes only over the same."""
    frozen: Callable[[], Parameters] = dict
    """What the decoder is made of beside what is trained. Called once, where training begins or goes on."""
    placement: Placement = field(default_factory=Placement)
    """Where batches go."""
    told: Callable[[Mapping[str, NDArray[np.float32]]], Mapping[str, float]] = _nothing
    """From the sums of the loss to what telemetry says."""
    whole: bool = True
    """Whether nothing comes after the last update. If something may, the state of it is kept."""
    peak: float | None = None
    """Floating-point operations a second of all devices together at best; None where that isn't known."""
    place: str | None = None
    """FILE:LINE:COLUMN of the declaration, for messages."""


def train(
    training: Training,
    folder: Path,
    keep: AbstractSet[int],
    progress: Callable[[Row, int], None],
    stop: Event,
    say: Callable[[str], None],
    save_seconds: float = SAVE_SECONDS,
    on_spike: Policy = "warn",
    between: Callable[[int, TrainState], bool] | None = None,
) -> int:
    """Leaves in `folder` `weights/UPDATE/` for the updates of `keep` and the last, `metrics.parquet`, `tensorboard/`.

    Killed at any moment and called again, it goes on from the newest checkpoint; on the same machine what comes out is
    the same to the bit. A batch without trained tokens has loss and gradient 0. Of several processes (see
    `runtime.distributed`) all call it; the first one alone writes rows and marks.

    Args:
        training: what to compute.
        folder: of this train step alone, and of one run at a time (see `Store.lock`).
        keep: updates, from 1 to `training.updates`, after which weights are kept and the full state is saved.
        progress: takes each update's row, an update late, and the number of updates.
        stop: once set, in any process, the state is saved after the update under way.
        say: takes remarks for people.
        save_seconds: the full state is saved too when so much time has passed since it was last.
        on_spike: whether a loss or gradient far above the usual stops training, or is said.
        between: called after each update of `keep` but the last, once its checkpoint is committed: what it raises
            loses nothing. It leaves the state alone and says whether training ends here; then the state stays too, to
            go on from. For a single process.

    Returns:
        The last update that was made.

    Raises:
        UserError: loss or gradient isn't a finite number, or spikes where that stops; the disk is full; the data isn't
            that of the checkpoints.
        Stopped: `stop` was set, and everything is saved.
    """
    wanted = keep | {training.updates}
    processes = current().branch(f"train {folder.name}")
    if not processes.first:
        say, progress = _silent, _silent
    assert between is None or processes.count == 1
    run = _Run(training, folder, wanted, progress, stop, say, save_seconds, on_spike, processes, between)
    last = training.updates
    with disk_errors(folder):
        refuse_other_data(folder, training.data, training.name)
        start = resume_point(folder, wanted, say, processes)
        if not processes.told(lambda: wanted <= set(weights_at(folder))):
            last = _train(run, start)
        if processes.first:
            _finish(run, last)
        processes.together()
    return last


@dataclass(frozen=True)
class _Run:
    """What `train` was given, and the processes that do it."""

    training: Training
    folder: Path
    wanted: AbstractSet[int]
    progress: Callable[[Row, int], None]
    stop: Event
    say: Callable[[str], None]
    save_seconds: float
    on_spike: Policy
    processes: Processes
    between: Callable[[int, TrainState], bool] | None


def _train(run: _Run, start: int) -> int:
    training, folder, processes = run.training, run.folder, run.processes
    meeting = Meeting(processes, run.stop)
    if not meeting.begins():
        raise Stopped
    if start:
        run.say(f"{training.name} goes on after update {start} of {training.updates}")
    state = _state(training, folder, start)
    frozen = training.frozen()
    with (
        Telemetry(folder, start, writes=processes.first) as rows,
        Checkpoints(folder, run.wanted, training.data, processes) as checkpoints,
        Ledger(training, rows, checkpoints, run.progress, run.say, run.on_spike) as ledger,
    ):
        saved_at = time.monotonic()
        made = _prepare(training, start + 1, state) if training.batches.ahead else None
        for update in range(start + 1, training.updates + 1):
            try:
                made = made or _prepare(training, update, state)
            except Stopped:
                if update > 1:
                    ledger.sync()
                    checkpoints.save(update - 1, state, resumable=True)
                    checkpoints.wait()
                raise
            state, metrics = training.step(state, frozen, made.placed, _scalar(made.prepared.denominator))
            dispatched = Dispatched(update, made.prepared, metrics, made.seconds, time.monotonic())
            made = None
            if training.batches.ahead and update < training.updates:
                made = _prepare(training, update + 1, state)  # while the device computes
            ledger.add(dispatched)
            checkpoints.check()
            due = meeting.after(update, save=time.monotonic() - saved_at >= run.save_seconds)
            stopping = due.stop and update < training.updates
            if update in run.wanted or due.save or stopping:
                ledger.sync()
                checkpoints.save(update, state, resumable=update < training.updates or not training.whole)
                saved_at = time.monotonic()
            if stopping:
                checkpoints.wait()
                raise Stopped
            if run.between is not None and update in run.wanted and update < training.updates:
                checkpoints.wait()
                if run.between(update, state):
                    return update
                ledger.go_on()
                saved_at = time.monotonic()
    return training.updates


def _finish(run: _Run, last: int) -> None:
    folder, training = run.folder, run.training
    if (folder / telemetry.LIVE).exists() or not (folder / telemetry.DONE).exists():
        telemetry.finish(folder)
    done = training.whole and last == training.updates
    prune(folder, run.wanted, last, states=0 if done else 1)
    (folder / telemetry.LIVE).unlink(missing_ok=True)


def _silent(*_: object) -> None:
    """What the other processes say, the first one says."""


def _scalar(denominator: int) -> Any:
    """As NumPy has it: that is the same for all processes of a mesh."""
    return np.int32(max(denominator, 1))


@dataclass(frozen=True)
class _Made:
    prepared: Prepared
    placed: object
    """The batch where the step wants it."""
    seconds: float
    """That it took."""


def _prepare(training: Training, update: int, state: TrainState) -> _Made:
    began = time.monotonic()
    prepared = training.batches.prepare(update, state)
    placed = training.placement.put(prepared.batch, prepared.rows)
    return _Made(prepared, placed, time.monotonic() - began)


def _state(training: Training, folder: Path, update: int) -> TrainState:
    if update == 0:
        return first_state(training.initial(), training.parameters, training.optimizer)
    return load_state(folder, update, training.parameters, training.optimizer)
