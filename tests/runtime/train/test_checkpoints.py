"""Checkpoints: on any mesh, and on a disk that fills up."""

from __future__ import annotations

import contextlib
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from threading import Event

import jax
import numpy as np
import pytest

from compiler.program.batch import Batch
from compiler.program.step import TrainState, initial_state
from runtime.disk import MARK
from runtime.errors import UserError
from runtime.stopping import Stopped
from runtime.train import checkpoints, telemetry
from runtime.train.checkpoints import Checkpoints, load_state, load_weights
from runtime.train.committed import drop_weights, resume_point, weights_at
from runtime.train.loop import Training, train
from tests.runtime.train.tiny import TinyBatches, on_devices, parameters, same, training
from tests.runtime.train.tiny import batch as tiny_batch

UPDATES = 6


def fresh() -> TrainState:
    return initial_state(training(UPDATES).optimizer, parameters())


def save(folder: Path, update: int, wanted: frozenset[int] = frozenset()) -> None:
    with Checkpoints(folder, wanted, {"tokens": "9f86"}) as saved:
        saved.save(update, fresh(), resumable=True)


@pytest.mark.skipif(jax.device_count() < 2, reason="a mesh takes two devices: XLA_FLAGS was set otherwise")
def test_restores_onto_another_mesh(tmp_path: Path) -> None:
    save(tmp_path, 3)
    chosen = training(UPDATES)
    state = load_state(tmp_path, 3, on_devices(chosen.parameters, 2), chosen.optimizer)
    for leaf in jax.tree.leaves(state.parameters):
        assert len(leaf.sharding.device_set) == 2
    moments = [leaf for leaf in jax.tree.leaves(state.optimizer) if leaf.ndim > 0]
    assert all(len(leaf.sharding.device_set) == 2 for leaf in moments)
    assert same(state, fresh())


@pytest.mark.skipif(jax.device_count() < 2, reason="a mesh takes two devices: XLA_FLAGS was set otherwise")
def test_saves_from_a_mesh(tmp_path: Path) -> None:
    shapes = on_devices(training(UPDATES).parameters, 2)
    spread = jax.device_put(parameters(), jax.tree.map(lambda x: x.sharding, shapes))
    with Checkpoints(tmp_path, frozenset(), {}) as saved:
        saved.save(3, initial_state(training(UPDATES).optimizer, spread), resumable=True)
    assert same(load_weights(tmp_path, 3, training(UPDATES).parameters), parameters())


@pytest.mark.skipif(jax.device_count() < 2, reason="a mesh takes two devices: XLA_FLAGS was set otherwise")
def test_training_goes_on_on_another_mesh(tmp_path: Path) -> None:
    chosen = training(UPDATES)
    for name in ("one", "moved"):
        stop, folder = Event(), tmp_path / name
        folder.mkdir()
        with pytest.raises(Stopped):
            train(stopping(chosen, stop, after=3), folder, set(), lambda row, _: None, stop, print)
    moved = replace(chosen, parameters=on_devices(chosen.parameters, 2))
    for name, on in (("one", chosen), ("moved", moved)):
        train(on, tmp_path / name, set(), lambda row, _: None, Event(), print)
    losses = [telemetry.read(tmp_path / name)["loss"] for name in ("one", "moved")]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def stopping(chosen: Training, stop: Event, after: int) -> Training:
    """Asks for a stop during an update."""

    def batch(update: int) -> Batch:
        if update == after + 1:
            stop.set()
        return tiny_batch(update)

    return replace(chosen, batches=TinyBatches(batch))


def test_half_written_checkpoint_does_not_count(tmp_path: Path) -> None:
    save(tmp_path, 3)
    save(tmp_path, 4)
    (tmp_path / "state" / "4" / MARK).unlink()
    (tmp_path / "weights" / "5.orbax-checkpoint-tmp").mkdir()
    assert weights_at(tmp_path) == [3, 4]
    assert resume_point(tmp_path, frozenset(), print) == 3
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["3"]
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == ["3", "4"]


def test_weights_are_dropped(tmp_path: Path) -> None:
    for update in (1, 2, 3):
        save(tmp_path, update, frozenset({1, 2, 3}))
    drop_weights(tmp_path, {2})
    assert weights_at(tmp_path) == [2]


def fill(disk: Path, but: int = 0) -> None:
    """Takes all the room that is left, but so many bytes."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(file.tell() - but)


def filled(disk: Path, chosen: Training, update: int) -> Training:
    """Fills the disk while `update` is prepared, once the state of two updates earlier is committed."""

    def batch(wanted: int) -> Batch:
        if wanted == update:
            while not list(disk.glob(f"*/state/{update - 2}/{MARK}")):
                time.sleep(0.01)
            fill(disk)
        return tiny_batch(wanted)

    return replace(chosen, batches=TinyBatches(batch))


@pytest.mark.parametrize("seen_before", [True, False], ids=["before", "within Orbax"])
def test_full_disk_is_said_and_nothing_is_lost(
    small_disk: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    seen_before: bool,
) -> None:
    if not seen_before:  # as with a quota, or another process that takes the room in between
        monkeypatch.setattr(checkpoints, "require_room", lambda path, need: None)
    folder, chosen = small_disk / "step", training(UPDATES)
    folder.mkdir()
    with pytest.raises(UserError) as caught:
        train(filled(small_disk, chosen, 4), folder, {2, 4}, lambda row, _: None, Event(), print)
    assert caught.value.message.startswith("the disk is full: ")
    assert "free " in caught.value.message
    assert "--store" in caught.value.help
    assert str(folder) in caught.value.help
    (small_disk / "ballast").unlink()
    said: list[str] = []
    train(chosen, folder, {2, 4}, lambda row, _: None, Event(), said.append)
    assert said == ["finetune goes on after update 2 of 6"]
    whole = tmp_path / "whole"
    whole.mkdir()
    train(chosen, whole, {2, 4}, lambda row, _: None, Event(), print)
    for update in (2, 4, 6):
        assert same(*(load_weights(each, update, chosen.parameters) for each in (folder, whole)))
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err + captured.out


def test_orbax_on_a_full_disk(
    small_disk: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "require_room", lambda path, need: None)
    folder = small_disk / "step"
    save(folder, 1)
    fill(small_disk, but=40 << 10)
    with pytest.raises(UserError, match=r"the disk is full: needed about 1.* MB, free"):
        save(folder, 2)
    assert sorted(path.name for path in (folder / "weights").iterdir()) == ["1"]
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err + captured.out


def test_read_only_disk_is_said(small_disk: Path) -> None:
    folder = small_disk / "step"
    folder.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(UserError, match="can't read or write here: read-only file system"):
        train(training(UPDATES), folder, frozenset(), lambda row, _: None, Event(), print)
