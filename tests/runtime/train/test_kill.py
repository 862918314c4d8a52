"""`kill -9` at ten random moments: what comes out is bit for bit that of a run never killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from runtime.train import telemetry
from runtime.train.checkpoints import load_weights
from runtime.train.committed import weights_at
from tests.runtime.train.tiny import same, training

ROOT = Path(__file__).parents[3]
UPDATES = 60
KEEP = (10, 30)


def start(folder: Path, save_seconds: float, cache: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    arguments = [str(folder), str(UPDATES), str(save_seconds), *(str(update) for update in KEEP)]
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.train.tiny", *arguments],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out


def kill(process: subprocess.Popen[str], lines: int, seconds: float) -> None:
    """After so many lines of output and so many seconds."""
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    time.sleep(seconds)
    assert process.poll() is None, "ended before it was killed"
    process.kill()
    process.communicate()


def test_killed_ten_times_it_ends_the_same_to_the_bit(tmp_path: Path) -> None:
    cache, whole, killed = tmp_path / "cache", tmp_path / "whole", tmp_path / "killed"
    finish(start(whole, 1e9, cache))
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}")  # pytest shows it where the test fails
    for moment in range(10):
        # Saving takes longer than an update here and goes on all the time: most moments are within a save. Three are
        # soon after the start: while it restores, before the first update, before it has begun.
        soon = moment % 3 == 2
        kill(start(killed, 0.0, cache), lines=1 if soon else 3, seconds=chance.uniform(0, 1.5 if soon else 0.6))
    said = finish(start(killed, 1e9, cache))
    assert "goes on after update" in said
    assert weights_at(killed) == weights_at(whole) == [*KEEP, UPDATES]
    assert list((killed / "state").iterdir()) == []
    for update in weights_at(whole):
        assert same(*(load_weights(each, update, training(UPDATES).parameters) for each in (whole, killed)))
    one, other = telemetry.read(whole), telemetry.read(killed)
    assert all(one[name].tolist() == other[name].tolist() for name in one if name != "seconds")
