"""Metrics of a run: a row for each update that survives a kill, for Parquet and TensorBoard."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from types import TracebackType
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


class Row(NamedTuple):
    """One update, in the order of the columns."""

    update: int
    """From 1."""
    tokens: int
    """Of its batch, without padding."""
    trained_tokens: int
    """That the loss takes."""
    loss: float
    """Mean over the trained tokens, in nats, before the update."""
    gradient_norm: float
    """Before clipping."""
    learning_rate: float
    seconds: float
    """Since the update before, by the clock; the first one of a process compiles too."""


class Telemetry:
    """Appends rows to `metrics.jsonl` and to an event file in `tensorboard/`; both begin with the rows up to `update`.

    A context manager. Rows written by a killed process past `update` are dropped: those updates are made again.
    """

    def __init__(self, folder: Path, update: int) -> None:
        rows = [row for row in _live(folder) if row.update <= update]
        write_atomically(folder / LIVE, b"".join(_line(row) for row in rows))
        self._file = (folder / LIVE).open("ab")
        (folder / "tensorboard").mkdir(exist_ok=True)
        # Its own writer instead of SummaryWriter: that one writes from a thread in which a full disk goes unseen.
        self._events = RecordWriter(str(folder / "tensorboard" / _EVENTS))
        self._clock = time.time() - sum(row.seconds for row in rows)
        self._flushed = time.monotonic()
        self._events.write(Event(wall_time=self._clock, file_version="brain.Event:2").SerializeToString())
        for row in rows:
            self._event(row)

    def add(self, row: Row) -> None:
        """Writes a row; it is safe from a kill at once, from a power cut after `sync`."""
        self._file.write(_line(row))
        self._file.flush()
        self._event(row)
        if time.monotonic() - self._flushed >= _EVENTS_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Brings the rows to the disk."""
        os.fsync(self._file.fileno())
        self._events.flush()
        self._flushed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._events.close()

    def _event(self, row: Row) -> None:
        self._clock += row.seconds
        values = [
            Summary.Value(tag=name, simple_value=getattr(row, name))
            for name in ("loss", "gradient_norm", "learning_rate", "tokens", "trained_tokens", "seconds")
        ]
        event = Event(wall_time=self._clock, step=row.update, summary=Summary(value=values))
        self._events.write(event.SerializeToString())


def read(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The columns of a train step's metrics by `Row`'s names: int64 and float64 `[updates]`; of a running one too."""
    if (folder / LIVE).exists():
        return _columns(_live(folder))
    table = pq.read_table(folder / DONE)
    return {name: table[name].to_numpy() for name in Row._fields}


def finish(folder: Path) -> None:
    """Turns the rows of a run that has ended into `metrics.parquet`."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(_columns(_live(folder))), buffer)
    write_atomically(folder / DONE, buffer.getvalue())


def _columns(rows: list[Row]) -> dict[str, np.ndarray[Any, Any]]:
    return {
        name: np.array([getattr(row, name) for row in rows], dtype=np.int64 if kind == "int" else np.float64)
        for name, kind in Row.__annotations__.items()
    }


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
    return json.dumps(row._asdict()).encode() + b"\n"
