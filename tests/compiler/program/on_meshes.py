"""Three updates on one device and on meshes of eight, as a program that prints how far each is from the first.

python -m tests.compiler.program.on_meshes    (with XLA_FLAGS=--xla_force_host_platform_device_count=8)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from compiler.program.batch import Batch
from compiler.program.config import DecoderConfig, LoRA, Parameters
from compiler.program.decoder import adapter_of, create, parameters_of
from compiler.program.execution import ONE_DEVICE, Execution, Remat
from compiler.program.mesh import make_mesh
from compiler.program.objectives import supervised, target_count
from compiler.program.optimizer import adamw, schedule
from compiler.program.sharding import leaves, rows_sharding, sharded, state_sharded
from compiler.program.step import initial_state, make_train_step
from tests.compiler.program.small import packed

CONFIG = DecoderConfig(
    vocabulary=64, layers=3, hidden=32, intermediate=48, heads=4, key_value_heads=2, head_size=8, rope_theta=1e4,
    norm_epsilon=1e-5, tied_embeddings=False, context=64, family="qwen3", query_key_norm="head",
)  # fmt: skip
ROWS = [
    [5, 9, 4],
    [20],
    [1, 2, 1],
    [],
    [3, 3],
    [19],
    [7, 8],
    [20],
    [12, 2],
    [4],
    [20],
    [6, 6, 6],
    [1],
    [18],
    [9, 9],
    [2],
]
ADAPTER = LoRA(2, 4.0, 0.0, ("attention", "mlp"))
OPTIMIZER = adamw(schedule("constant", 1e-2, 10))


def main() -> None:
    whole, adapted = _losses_and_state(None), _losses_and_state(None, lora=ADAPTER)
    found = {
        "data 8": _distance(whole, _losses_and_state({"data": 8})),
        "fsdp 8": _distance(whole, _losses_and_state({"fsdp": 8})),
        "fsdp 4, tensor 2, two micro-batches": _distance(
            whole, _losses_and_state({"fsdp": 4, "tensor": 2}, micro_batches=2, remat="full")
        ),
        "data 2, fsdp 2, tensor 2": _distance(whole, _losses_and_state({"data": 2, "fsdp": 2, "tensor": 2})),
        # More devices than key-value heads, and heads that they divide.
        "data 2, tensor 4": _distance(whole, _losses_and_state({"data": 2, "tensor": 4}, remat="none")),
        "an adapter on data 2, fsdp 2, tensor 2": _distance(
            adapted, _losses_and_state({"data": 2, "fsdp": 2, "tensor": 2}, lora=ADAPTER)
        ),
    }
    print(json.dumps({"distances": found, "gathered": _gathered()}))


def _gathered() -> list[list[int]]:
    """The shapes of what is gathered from all devices in an update on `fsdp: 8`."""
    mesh = make_mesh({"fsdp": 8})
    shapes = state_sharded(jax.eval_shape(lambda: initial_state(OPTIMIZER, parameters_of(create(CONFIG, 0)))), mesh)
    batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=rows_sharding(mesh)), _batch())
    step = make_train_step(supervised(CONFIG, "float32", execution=Execution(mesh)), OPTIMIZER, mesh=mesh)
    program = str(step.lower(shapes, {}, batch, jnp.int32(1)).compile().as_text())
    found = re.findall(r"= \w+\[([\d,]*)\]\S* all-gather\(", program)
    return [[int(size) for size in shape.split(",")] for shape in found]


def _losses_and_state(
    shard: Mapping[str, int] | None, micro_batches: int = 1, remat: Remat = "projections", lora: LoRA | None = None
) -> tuple[list[float], list[float], Parameters]:
    """Losses, gradient norms, and the parameters after three updates."""
    execution = ONE_DEVICE if shard is None else Execution(make_mesh(shard), remat=remat)
    decoder = create(CONFIG, 0, lora)
    trained, frozen = parameters_of(decoder), {}
    if lora is not None:
        # With `up` zero, the gradient of `down` would be zero too.
        trained, frozen = jax.tree.map(lambda x: x + 0.01, adapter_of(decoder)), trained
    state, batch = initial_state(OPTIMIZER, trained), _batch()
    if execution.mesh is not None:
        shapes = state_sharded(jax.eval_shape(lambda: state), execution.mesh)
        state = jax.tree.map(lambda x, shape: jax.device_put(x, shape.sharding), state, shapes)
        frozen = jax.tree.map(lambda x, y: jax.device_put(x, y.sharding), frozen, sharded(frozen, execution.mesh))
        batch = jax.device_put(batch, rows_sharding(execution.mesh))
    loss = supervised(CONFIG, "float32", chunk=32, lora=lora, execution=execution)
    step = make_train_step(loss, OPTIMIZER, micro_batches, mesh=execution.mesh)
    told: list[Any] = []
    for _ in range(3):
        before = jax.tree.map(lambda x: x.sharding, state)
        state, metrics = step(state, frozen, batch, target_count(batch))
        kept = jax.tree.map(lambda x, place: x.sharding.is_equivalent_to(place, x.ndim), state, before)
        assert jax.tree.all(kept), "the next state lies elsewhere"
        told.append(metrics)
    return [float(x.loss) for x in told], [float(x.gradient_norm) for x in told], jax.device_get(state.parameters)


def _batch() -> Batch:
    batch = packed(ROWS, 20)
    return batch._replace(tokens=jnp.minimum(batch.tokens, CONFIG.vocabulary - 1))


def _distance(one: Any, other: Any) -> dict[str, float]:
    """The largest relative differences of losses and gradient norms, and the largest of a parameter with its name."""
    worst, name = max(
        (float(np.max(np.abs(x - y))), ".".join(path))
        for (path, x), (_, y) in zip(leaves(one[2]), leaves(other[2]), strict=True)
    )
    return {
        "losses": float(np.max(np.abs(np.divide(one[0], other[0]) - 1))),
        "gradient_norms": float(np.max(np.abs(np.divide(one[1], other[1]) - 1))),
        f"parameters ({name})": worst,
    }


if __name__ == "__main__":
    main()
