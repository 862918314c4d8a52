"""Metrics of a run: a row for each update that survives a kill, for Parquet and TensorBoard."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.record_writer import RecordWriter

from runtime.disk import write_atomically

LIVE = "metrics.jsonl"
DONE = "metrics.parquet"
_EVENTS = "events.out.tfevents.0.mixc"
_EVENTS_SECONDS = 5.0
_NO_NUMBERS: Mapping[str, float] = MappingProxyType({})


class Row(NamedTuple):
    """One update, in the order of the columns. None where it isn't known: written before there was such a column, too.

    `told` becomes columns of its own.
    """

    update: int
    """From 1."""
    tokens: int
    """Of its batch, without padding."""
    trained_tokens: int
    """That the loss takes."""
    loss: float
    """As the objective has it, before the update: of supervised stages the mean over the trained tokens, in nats."""
    gradient_norm: float
    """Before clipping."""
    learning_rate: float
    seconds: float
    """Since the update before was done, by the clock; the first one of a process compiles too."""
    padding: float | None = None
    """The share of the batch's places that hold no token."""
    data_wait_seconds: float | None = None
    """Of `seconds`, those in which the devices had nothing to do because the batch wasn't ready."""
    memory_bytes: int | None = None
    """The most that the first process's first device held so far."""
    mfu: float | None = None
    """Model FLOPs utilisation: what the update needs by the architecture, over what the devices could have done."""
    told: Mapping[str, float] = _NO_NUMBERS
    """What the objective says beside its loss: `loss/PART` of parts of a mix, rewards."""

    def columns(self) -> dict[str, float | int | None]:
        """All of it by name, rates too, as Parquet and TensorBoard take it."""
        plain = {name: value for name, value in self._asdict().items() if name != "told"}
        return {
            **plain,
            "tokens_per_second": self._rate(self.tokens),
            "trained_tokens_per_second": self._rate(self.trained_tokens),
            **self.told,
        }

    def _rate(self, count: int) -> float | None:
        return count / self.seconds if self.seconds > 0 else None


class Telemetry:
    """Appends rows to `metrics.jsonl` and to an event file in `tensorboard/`; both begin with the rows up to `update`.

    A context manager. Rows written by a killed process past `update` are dropped: those updates are made again. One
    that doesn't write, since another process does, reads the rows up to `update` alone.
    """

    def __init__(self, folder: Path, update: int, *, writes: bool = True) -> None:
        self.before = [row for row in _rows(folder) if row.update <= update]
        """The rows up to `update`."""
        self._writes = writes
        if not writes:
            return
        write_atomically(folder / LIVE, b"".join(_line(row) for row in self.before))
        self._file = (folder / LIVE).open("ab")
        (folder / "tensorboard").mkdir(exist_ok=True)
        # Its own writer instead of SummaryWriter: that one writes from a thread in which a full disk goes unseen.
        self._events = RecordWriter(str(folder / "tensorboard" / _EVENTS))
        self._clock = time.time() - sum(row.seconds for row in self.before)
        self._flushed = time.monotonic()
        self._events.write(Event(wall_time=self._clock, file_version="brain.Event:2").SerializeToString())
        for row in self.before:
            self._event(row)

    def add(self, row: Row) -> None:
        """Writes a row; it is safe from a kill at once, from a power cut after `sync`."""
        if not self._writes:
            return
        self._file.write(_line(row))
        self._file.flush()
        self._event(row)
        if time.monotonic() - self._flushed >= _EVENTS_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Brings the rows to the disk."""
        if not self._writes:
            return
        os.fsync(self._file.fileno())
        self._events.flush()
        self._flushed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writes:
            self._file.close()
            self._events.close()

    def _event(self, row: Row) -> None:
        self._clock += row.seconds
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in row.columns().items()
            if value is not None and name != "update"
        ]
        event = Event(wall_time=self._clock, step=row.update, summary=Summary(value=values))
        self._events.write(event.SerializeToString())


def read(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The columns of a train step's metrics by name (see `Row`); of a running one too.

    int64 `[updates]` for `update`, `tokens` and `trained_tokens`, else float64 with NaN where a number isn't known.
    """
    return _columns(_rows(folder))


def finish(folder: Path) -> None:
    """Turns the rows of a run that has ended into `metrics.parquet`."""
    buffer = io.BytesIO()
    columns = {name: pa.array(values, from_pandas=True) for name, values in _columns(_live(folder)).items()}
    pq.write_table(pa.table(columns), buffer)
    write_atomically(folder / DONE, buffer.getvalue())


_COUNTS = ("update", "tokens", "trained_tokens")


def _columns(rows: Iterable[Row]) -> dict[str, np.ndarray[Any, Any]]:
    found = [row.columns() for row in rows]
    names = dict.fromkeys((*Row(0, 0, 0, 0.0, 0.0, 0.0, 0.0).columns(), *(name for row in found for name in row)))
    return {
        name: np.array([row.get(name) for row in found], dtype=np.int64 if name in _COUNTS else np.float64)
        for name in names
    }


def _rows(folder: Path) -> list[Row]:
    """The rows so far, of a run that goes on or of one that has ended."""
    if (folder / LIVE).exists() or not (folder / DONE).exists():
        return _live(folder)
    return list(_from_table(pq.read_table(folder / DONE)))


def _from_table(table: pa.Table) -> Iterable[Row]:
    fixed = set(Row._fields) - {"told"}
    derived = {"tokens_per_second", "trained_tokens_per_second"}
    for row in table.to_pylist():
        told = {name: value for name, value in row.items() if name not in fixed | derived and value is not None}
        yield Row(**{name: value for name, value in row.items() if name in fixed}, told=told)


def _live(folder: Path) -> list[Row]:
    """The rows of `metrics.jsonl`; a line that a kill or damage left unreadable isn't one."""
    path = folder / LIVE
    rows: list[Row] = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            rows.append(Row(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return rows


def _line(row: Row) -> bytes:
    return json.dumps(row._replace(told=dict(row.told))._asdict()).encode() + b"\n"
