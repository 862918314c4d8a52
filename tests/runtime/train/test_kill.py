"""`kill -9` at random moments, in one and in several processes: what comes out is that of a run never killed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from runtime.train import telemetry
from runtime.train.checkpoints import load_weights
from runtime.train.committed import committed, weights_at
from tests.runtime.train.processes import Started, start
from tests.runtime.train.tiny import same, training

UPDATES = 60
KEEP = (10, 30)


def finish(count: int, folder: Path) -> Started:
    started = start(count, folder, UPDATES, KEEP)
    assert started.codes() == [0] * count, started.said()
    return started


def kill_at_random(counts: Sequence[int], folder: Path) -> None:
    """Kills a run on these counts of processes, one after the other: one of them, and so all end."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}")  # pytest shows it where the test fails
    for moment, count in enumerate(counts):
        # Saving takes longer than an update here and goes on all the time: most moments are within a save. Every third
        # is soon after the start: while it restores, before the first update, before it has begun.
        soon = moment % 3 == 2
        started = start(count, folder, UPDATES, KEEP, save_seconds=0.0)
        goes_on = bool(committed(folder, "state"))
        started.wait_for("begins" if soon else "finetune goes on" if goes_on else "1")
        while not (soon or committed(folder, "state")):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 1.5 if soon else 0.6))
        started.send(chance.randrange(count), signal.SIGKILL)
        assert -signal.SIGKILL in started.codes(), started.said()
        assert not any(code == 0 for code in started.codes()), "ended before it was killed"


def compare(whole: Path, killed: Path, *, bits: bool) -> None:
    assert weights_at(killed) == weights_at(whole) == [*KEEP, UPDATES]
    assert list((killed / "state").iterdir()) == []
    one, other = telemetry.read(whole), telemetry.read(killed)
    assert one["tokens"].tolist() == other["tokens"].tolist()
    if bits:
        for update in weights_at(whole):
            assert same(*(load_weights(each, update, training(UPDATES).parameters) for each in (whole, killed)))
        for name in one:
            if "second" not in name:
                np.testing.assert_array_equal(one[name], other[name])
    np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-4)


@pytest.mark.parametrize(
    ("count", "kills"),
    [
        pytest.param(1, 3, id="1"),
        pytest.param(1, 10, id="1 often", marks=pytest.mark.slow),
        pytest.param(2, 5, id="2", marks=pytest.mark.slow),
        pytest.param(4, 3, id="4", marks=pytest.mark.slow),
    ],
)
def test_killed_on_one_count_it_ends_the_same_to_the_bit(tmp_path: Path, count: int, kills: int) -> None:
    finish(count, tmp_path / "whole")
    kill_at_random([count] * kills, tmp_path / "killed")
    assert "goes on after update" in finish(count, tmp_path / "killed").said()
    compare(tmp_path / "whole", tmp_path / "killed", bits=True)


@pytest.mark.slow
def test_killed_on_changing_counts_it_ends_the_same_to_tolerance(tmp_path: Path) -> None:
    finish(1, tmp_path / "whole")
    kill_at_random([1, 2, 4, 2, 1, 4], tmp_path / "killed")
    assert "goes on after update" in finish(2, tmp_path / "killed").said()
    compare(tmp_path / "whole", tmp_path / "killed", bits=False)
