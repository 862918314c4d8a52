"""Speed of checkpoints of SmolLM2-135M (weights and AdamW's moments, 1.6 GB) against the raw disk, and how long
training is held up.

    python bench/checkpoint.py [--folder DIR]     (DIR is on the disk to measure; default: runs)

`dd` writes as many zeros and syncs them, in turns with a whole save: parameters and optimizer state written, synced,
summed and marked. Then a save begins between two of many short training steps. Held up is the time of the call, in
which no step can begin. On a CPU the save's copies and sums also take cores from the steps beside it: by how much these
are longer is told too.
"""

from __future__ import annotations

import sys
from pathlib import Path

# A script's folder comes first in the search path, and tokenize.py in it would hide the standard library's.
ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)

import argparse
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.record import record
from compiler.program.batch import Batch
from compiler.program.config import DecoderConfig
from compiler.program.decoder import create, parameters_of
from compiler.program.objectives import supervised
from compiler.program.optimizer import adamw, schedule
from compiler.program.step import TrainState, initial_state, make_train_step
from runtime.train.checkpoints import Checkpoints

SMOLLM2 = DecoderConfig(
    vocabulary=49152, layers=30, hidden=576, intermediate=1536, heads=9, key_value_heads=3, head_size=64,
    rope_theta=1e5, norm_epsilon=1e-5, tied_embeddings=True, context=8192,
)  # fmt: skip
TIMES, STEPS = 5, 12
PACKAGES = ("jax", "orbax-checkpoint", "tensorstore")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        compare(Path(folder))
    return 0


def compare(folder: Path) -> None:
    optimizer = adamw(schedule("constant", 1e-5, 100))
    state = initial_state(optimizer, parameters_of(create(SMOLLM2, 0)))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    ours: list[float] = []
    raw: list[float] = []
    for turn in range(TIMES + 1):  # the first warms up
        raw.append(dd(folder / "raw", size))
        ours.append(save(folder / str(turn), state))
        shutil.rmtree(folder / str(turn))
        print(f"{size / 1e9:.2f} GB: dd {raw[-1]:.2f} s, a save {ours[-1]:.2f} s", flush=True)
    saving, writing = median(ours[1:]), median(raw[1:])
    work = f"SmolLM2-135M with AdamW's moments, {size / 1e9:.2f} GB, median of {TIMES}"
    rates = [f"{size / seconds / 1e6:.0f} MB/s" for seconds in (saving, writing)]
    record("checkpoint: write", work, rates[0], f"dd with fsync, {rates[1]}", writing / saving, PACKAGES)

    longer, called, took = held_up(folder, state, optimizer)
    work = f"the same, begun between short training steps; it took {took:.2f} s"
    told = f"training held up for {called:.3f} s; the steps beside it took {longer:.2f} s longer, on the same cores"
    record(
        "checkpoint: held up",
        work,
        told,
        f"asked: a tenth of the save, {took / 10:.2f} s",
        took / 10 / called,
        PACKAGES,
    )


def dd(path: Path, size: int) -> float:
    block = 1 << 24
    began = time.monotonic()
    subprocess.run(
        ["dd", "if=/dev/zero", f"of={path}", f"bs={block}", f"count={-(-size // block)}", "conv=fsync"],
        check=True, capture_output=True,
    )  # fmt: skip
    took = time.monotonic() - began
    path.unlink()
    return took


def save(folder: Path, state: TrainState) -> float:
    folder.mkdir()
    with Checkpoints(folder, frozenset({1}), {}) as checkpoints:
        began = time.monotonic()
        checkpoints.save(1, state, resumable=True)
        checkpoints.wait()
        return time.monotonic() - began


def held_up(folder: Path, state: TrainState, optimizer: Any) -> tuple[float, float, float]:
    """Seconds that steps took longer for a save, that its call took, and from its begin to its end."""
    step = make_train_step(supervised(SMOLLM2, "float32"), optimizer)
    tokens = np.random.default_rng(0).integers(0, SMOLLM2.vocabulary, (1, 64), dtype=np.int32)
    ones = np.ones_like(tokens)
    batch: Any = Batch(*(np.asarray(x) for x in (tokens, ones, np.arange(64, dtype=np.int32)[None], ones == 1)))  # type: ignore[arg-type]

    def one_step() -> float:
        nonlocal state
        began = time.monotonic()
        state, metrics = step(state, {}, batch, jnp.int32(63))
        jax.block_until_ready(metrics)
        return time.monotonic() - began

    one_step()
    usual = [one_step() for _ in range(STEPS)]
    (folder / "held").mkdir()
    with Checkpoints(folder / "held", frozenset({1}), {}) as checkpoints, ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        checkpoints.save(1, state, resumable=True)
        called = time.monotonic() - began
        saved = pool.submit(checkpoints.wait)
        during: list[float] = []
        while not saved.done():
            during.append(one_step())
        took = time.monotonic() - began
    usual += [one_step() for _ in range(STEPS)]
    return called + sum(during) - len(during) * median(usual), called, took


if __name__ == "__main__":
    sys.exit(main())
