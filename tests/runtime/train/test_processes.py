"""Several processes train as one: the same losses, stopped and killed together, restored on another count."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from threading import Event

import jax
import numpy as np
import pytest

from runtime.train import telemetry
from runtime.train.committed import committed, weights_at
from runtime.train.loop import train
from tests.runtime.train.processes import start
from tests.runtime.train.tiny import spread

pytestmark = pytest.mark.skipif(jax.device_count() < 2, reason="a mesh takes two devices: XLA_FLAGS was set otherwise")

UPDATES = 200
"""More than are made while a stop or a kill is on its way."""


def train_here(folder: Path) -> list[str]:
    """Trains to the end in this process, on its two devices, and gives what was said."""
    folder.mkdir(exist_ok=True)
    said: list[str] = []
    train(spread(UPDATES), folder, set(), lambda row, _: None, Event(), said.append)
    return said


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Of a run without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    assert train_here(folder) == []
    return telemetry.read(folder)["loss"].tolist()


def test_stopped_by_one_all_stop_at_the_same_update_and_one_goes_on(tmp_path: Path, losses: list[float]) -> None:
    folder = tmp_path / "stopped"
    started = start(2, folder, UPDATES)
    started.wait_for("3")
    started.send(1, signal.SIGTERM)
    assert started.codes() == [143, 143], started.said()
    (at,) = weights_at(folder)
    assert list(committed(folder, "state")) == [at]
    assert telemetry.read(folder)["update"].tolist() == list(range(1, at + 1))
    assert train_here(folder) == [f"finetune goes on after update {at} of {UPDATES}"]
    np.testing.assert_allclose(telemetry.read(folder)["loss"], losses, rtol=1e-4)


def test_one_killed_ends_all_and_what_it_damaged_is_passed_over(tmp_path: Path, losses: list[float]) -> None:
    folder = tmp_path / "killed"
    started = start(2, folder, UPDATES, save_seconds=0.0)
    started.wait_for("10")
    while len(committed(folder, "state")) < 2:
        time.sleep(0.01)
    started.send(1, signal.SIGKILL)
    codes = started.codes(seconds=100)
    assert codes[1] == -signal.SIGKILL
    assert codes[0] in (1, -signal.SIGABRT), started.said()  # of ours, or of JAX's connection to the first
    older, newest = sorted(committed(folder, "state"))
    path = max((folder / "state" / str(newest)).rglob("ocdbt.process_1/d/*"), key=lambda each: each.stat().st_size)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    assert train_here(folder) == [
        f"{folder}/state/{newest} is damaged and is made again: {path.relative_to(folder / 'state' / str(newest))} has "
        f"{size - 1} bytes instead of {size}",
        f"finetune goes on after update {older} of {UPDATES}",
    ]
    np.testing.assert_allclose(telemetry.read(folder)["loss"], losses, rtol=1e-4)
