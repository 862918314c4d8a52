"""A training that takes a second: a tiny random decoder over random tokens; as a program, it trains into a folder.

python -m tests.runtime.train.tiny FOLDER UPDATES SAVE_SECONDS KEEP...
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from threading import Event
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from compiler.program.batch import Batch
from compiler.program.config import DecoderConfig, Parameters
from compiler.program.decoder import parameter_shapes
from compiler.program.objectives import supervised
from compiler.program.optimizer import adamw, schedule
from compiler.program.step import make_train_step
from runtime.train.loop import Training, train

CONFIG = DecoderConfig(
    vocabulary=64, layers=2, hidden=16, intermediate=32, heads=2, key_value_heads=1, head_size=8,
    rope_theta=1e4, norm_epsilon=1e-5, tied_embeddings=True, context=16,
)  # fmt: skip


def batch(update: int) -> Batch:
    """Two rows of sixteen tokens, the last two of them padding."""
    random = np.random.default_rng(update)
    segments = np.ones((2, 16), dtype=np.int32)
    segments[:, 14:] = 0
    return Batch(
        tokens=random.integers(0, CONFIG.vocabulary, (2, 16), dtype=np.int32),
        segments=segments,
        positions=np.tile(np.arange(16, dtype=np.int32), (2, 1)),
        trained=random.random((2, 16)) < 0.7,
    )


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
        batch=batch,
        frozen={},
        data={"tokens": "9f86"},
        place="spec.mix:3:1",
    )


def same(one: Any, other: Any) -> bool:
    """Whether two trees of arrays are equal to the bit."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def on_devices(shapes: Parameters, devices: int) -> Parameters:
    """Shapes whose last axis is spread over so many devices."""
    mesh = jax.make_mesh((devices,), ("fsdp",), axis_types=(jax.sharding.AxisType.Auto,))

    def spread(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        spec = jax.sharding.PartitionSpec(*[None] * (len(x.shape) - 1), "fsdp")
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=jax.sharding.NamedSharding(mesh, spec))

    return jax.tree.map(spread, shapes)


def main(folder: str, updates: str, save_seconds: str, *keep: str) -> None:
    print("begins", flush=True)
    train(
        training(int(updates)),
        Path(folder),
        {int(update) for update in keep},
        progress=lambda row, _: print(row.update, flush=True),
        stop=Event(),
        say=lambda text: print(text, flush=True),
        save_seconds=float(save_seconds),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
