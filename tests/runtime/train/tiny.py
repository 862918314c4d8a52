"""A training that takes a second: a tiny random decoder over random tokens; as a program, it trains into a folder.

python -m tests.runtime.train.tiny FOLDER UPDATES SAVE_SECONDS KEEP...

With JAX_NUM_PROCESSES it is one of so many processes, and the mesh has the devices of all.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from compiler.program.batch import Batch
from compiler.program.config import DecoderConfig, Parameters
from compiler.program.decoder import parameter_shapes
from compiler.program.mesh import make_mesh
from compiler.program.objectives import supervised, target_count
from compiler.program.optimizer import adamw, schedule
from compiler.program.sharding import sharded
from compiler.program.step import TrainState, make_train_step
from runtime.distributed import joined, place_from
from runtime.stopping import Stopped
from runtime.train.loop import Training, train
from runtime.train.placement import Placement
from runtime.train.prepared import Prepared

CONFIG = DecoderConfig(
    vocabulary=64, layers=2, hidden=16, intermediate=32, heads=2, key_value_heads=1, head_size=8,
    rope_theta=1e4, norm_epsilon=1e-5, tied_embeddings=True, context=16,
)  # fmt: skip


def batch(update: int, rows: int = 2) -> Batch:
    """Rows of sixteen tokens, the last two of them padding."""
    random = np.random.default_rng(update)
    segments = np.ones((rows, 16), dtype=np.int32)
    segments[:, 14:] = 0
    return Batch(
        tokens=random.integers(0, CONFIG.vocabulary, (rows, 16), dtype=np.int32),
        segments=segments,
        positions=np.tile(np.arange(16, dtype=np.int32), (rows, 1)),
        trained=random.random((rows, 16)) < 0.7,
    )


@dataclass(frozen=True)
class TinyBatches:
    """Batches of a function, whose places are `facts.jsonl:UPDATE` and the line after it."""

    made: Callable[[int], Batch] = batch
    ahead: bool = True
    placement: Placement = field(default_factory=Placement)

    def prepare(self, update: int, state: TrainState) -> Prepared:
        made = self.made(update)
        trained = int(target_count(made))
        tokens = int(np.count_nonzero(made.segments))
        rows, length = made.tokens.shape
        own = self.placement.rows(rows)
        return Prepared(jax.tree.map(lambda x: x[own], made), rows, rows * length, tokens, trained, trained)

    def places(self, update: int) -> str:
        return f"facts.jsonl:{update}, facts.jsonl:{update + 1}"


def parameters() -> Parameters:
    """Normal with deviation 0.02, always the same."""
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: jnp.asarray(0.02 * random.standard_normal(x.shape, dtype=np.float32)), parameter_shapes(CONFIG)
    )


@functools.cache
def training(updates: int) -> Training:
    optimizer = adamw(schedule("cosine", 1e-2, updates, warmup=0.1))
    return Training(
        name="finetune",
        initial=parameters,
        parameters=parameter_shapes(CONFIG),
        optimizer=optimizer,
        step=make_train_step(supervised(CONFIG, "float32"), optimizer),
        updates=updates,
        batches=TinyBatches(),
        data={"tokens": "9f86"},
        place="spec.mix:3:1",
    )


def same(one: Any, other: Any) -> bool:
    """Whether two trees of arrays are equal to the bit."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def on_devices(shapes: Parameters, devices: int) -> Parameters:
    """Shapes spread over so many devices."""
    return sharded(shapes, make_mesh({"fsdp": devices}, jax.devices()[:devices]))


def spread(updates: int) -> Training:
    """The same with eight rows a batch, over all devices of all processes."""
    alone = training(updates)
    placement = Placement(make_mesh({"fsdp": jax.device_count()}))
    return replace(
        alone,
        parameters=placement.parameters(alone.parameters),
        batches=TinyBatches(lambda update: batch(update, 8), placement=placement),
        placement=placement,
    )


def main(folder: str, updates: str, save_seconds: str, *keep: str) -> None:
    """Ends with 143 when it was stopped."""
    print("begins", flush=True)
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    place = place_from(os.environ)
    with joined(place, stop, start_seconds=60):
        train(
            spread(int(updates)) if "JAX_NUM_PROCESSES" in os.environ else training(int(updates)),
            Path(folder),
            {int(update) for update in keep},
            progress=lambda row, _: print(row.update, flush=True),
            stop=stop,
            say=lambda text: print(text, flush=True),
            save_seconds=float(save_seconds),
        )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Stopped:
        sys.exit(143)
