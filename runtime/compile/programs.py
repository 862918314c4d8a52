"""From a job to a program that is ready to be lowered: a function and the shapes and places of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from compiler.program.batch import Batch
from compiler.program.cache import Cache, extend, prefill
from compiler.program.config import DecoderConfig, windowed_layers
from compiler.program.decoder import parameter_shapes
from compiler.program.execution import OWN_KERNELS, Execution, Kernel
from compiler.program.kernels import expresses
from compiler.program.mesh import ROWS, idle_share, padded_rows
from compiler.program.policy import PolicyBatch
from compiler.program.preferences import PairBatch
from compiler.program.sharding import replicated, rows_sharding, sharded, undivided
from compiler.program.step import make_log_probabilities
from compiler.stages import DPO, GRPO, Supervised
from runtime.compile.jobs import Job
from runtime.errors import UserError
from runtime.steps.program import Outline, make_program, shapes_of
from runtime.train.placement import state_shapes


@dataclass(frozen=True)
class Program:
    """One program of a job."""

    lower: Callable[[], jax.stages.Lowered]
    arguments: Mapping[str, Any]
    """Trees of `jax.ShapeDtypeStruct` with places, by what they are: `parameters`, `optimizer`, `frozen`, `batch`."""
    kernel: Kernel
    notes: tuple[str, ...]
    rows: int
    idle: float


def program_of(job: Job, mesh: Mesh, platform: str) -> Program:
    """What a job asks for."""
    config = DecoderConfig(**job.config)
    kernel, notes = kernel_for(job, config, platform)
    execution = Execution(mesh, kernel, job.remat)
    rows = padded_rows(job.rows, mesh, job.micro_batches)
    notes = (*notes, *undivided(parameter_shapes(config), mesh))
    if rows > job.rows:
        idle = idle_share(job.rows, mesh, job.micro_batches)
        notes = (*notes, f"{job.rows} rows don't divide over the mesh: {rows - job.rows} empty ones, {idle:.0%} idle")
    make = {"train": _train, "scorer": _scorer, "sampler": _sampler}[job.kind]
    lower, arguments = make(job, config, execution, rows)
    return Program(lower, arguments, kernel, notes, rows, idle_share(job.rows, mesh, job.micro_batches))


def kernel_for(job: Job, config: DecoderConfig, platform: str) -> tuple[Kernel, tuple[str, ...]]:
    """The attention kernel of a program, and what there is to say of it."""
    kernel: Kernel = OWN_KERNELS.get(platform, "xla") if job.attention == "auto" else job.attention
    if kernel != "xla" and kernel not in {"tpu": ("splash",), "gpu": ("pallas", "cudnn")}.get(platform, ()):
        raise UserError(f"the kernel {kernel} doesn't run on a {platform.upper()}", "write `attention: auto`")
    notes: list[str] = []
    if kernel == "cudnn":
        # Its compiler is part of the library, which only comes with a GPU.
        kernel = "pallas"
        notes.append("compiled with the kernel pallas in place of cudnn, which this machine lacks: memory is about so")
    windows = [config.window if windowed else None for windowed in sorted(set(windowed_layers(config)))]
    plain = [window for window in windows if not expresses(kernel, config.attention_softcap, window)]
    if plain:
        which = "all layers" if len(plain) == len(windows) else "windowed layers"
        what = "a window" if config.attention_softcap is None else "a soft cap"
        notes.append(f"attention of {which} is plain XLA: the kernel {kernel} has no {what.split()[-1]}")
        if len(plain) == len(windows):
            kernel = "xla"
    return kernel, tuple(notes)


_Made = tuple[Callable[[], jax.stages.Lowered], Mapping[str, Any]]


def _train(job: Job, config: DecoderConfig, execution: Execution, rows: int) -> _Made:
    assert job.step is not None
    assert execution.mesh is not None
    outline = Outline(
        step=job.step,
        config=config,
        parts=job.parts,
        updates=job.updates,
        warmup=Fraction(job.warmup),
        decay=Fraction(job.decay),
        execution=execution,
        micro_batches=job.micro_batches,
    )
    trained, frozen = (sharded(shapes, execution.mesh) for shapes in shapes_of(outline))
    optimizer, step = make_program(outline, trained)
    state = state_shapes(optimizer, trained)
    batch = _batch(job, rows, execution.mesh)
    count = jax.ShapeDtypeStruct((), jnp.int32, sharding=replicated(execution.mesh))
    arguments = {"parameters": trained, "optimizer": state.optimizer, "frozen": frozen, "batch": batch}
    return lambda: step.lower(state, frozen, batch, count), arguments


def _batch(job: Job, rows: int, mesh: Mesh) -> Any:
    """The shapes of a global batch of a train step."""
    assert job.step is not None
    ids, flags = _of_rows(mesh, (rows, job.length), jnp.int32), _of_rows(mesh, (rows, job.length), jnp.bool_)
    match job.step.objective:
        case Supervised():
            return Batch(ids, ids, ids, flags, ids if job.parts else None)
        case DPO():
            slots = max(job.length // _SHORTEST_PAIR * 2, 2)
            return PairBatch(ids, ids, ids, flags, _of_rows(mesh, (rows, slots), jnp.float32))
        case GRPO(iterations=iterations, beta=beta):
            numbers = _of_rows(mesh, (rows, job.length), jnp.float32)
            old = numbers if iterations > 1 else None
            reference = numbers if Fraction(beta) else None
            return PolicyBatch(ids, ids, ids, numbers, numbers, numbers, old, reference)


_SHORTEST_PAIR = 64  # tokens of its two sides: how many pairs a row may hold, and so a small array's size


def _scorer(job: Job, config: DecoderConfig, execution: Execution, rows: int) -> _Made:
    assert execution.mesh is not None
    parameters = sharded(parameter_shapes(config), execution.mesh)
    ids = _of_rows(execution.mesh, (rows, job.length), jnp.int32)
    score = make_log_probabilities(config, job.precision, execution=execution)
    return lambda: score.lower(parameters, ids, ids, ids), {"parameters": parameters, "batch": {"tokens": ids}}


def _sampler(job: Job, config: DecoderConfig, execution: Execution, rows: int) -> _Made:
    """One more token of every row, with caches of `job.length` tokens."""
    mesh = execution.mesh
    assert mesh is not None
    parameters = sharded(parameter_shapes(config), mesh)
    lengths = _of_rows(mesh, (rows,), jnp.int32)
    tokens = _of_rows(mesh, (rows, job.length), jnp.int32)

    def read(parameters: Any, tokens: jax.Array, lengths: jax.Array) -> Cache:
        return prefill(config, parameters, tokens, lengths, job.length, job.precision)[1]

    heads = execution.axes("heads", config.key_value_heads)
    place = NamedSharding(mesh, PartitionSpec(None, ROWS, heads or None))
    held = cast(Any, jax.eval_shape)(read, parameters, tokens, lengths)
    keys, values = (jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place) for x in held[:2])
    cache: Any = Cache(cast(Any, keys), cast(Any, values), lengths)
    arguments = {"parameters": parameters, "batch": {"tokens": lengths, "keys": keys, "values": values}}
    return lambda: extend.lower(config, parameters, cache, lengths, job.precision, execution), arguments


def _of_rows(mesh: Mesh, shape: tuple[int, ...], dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=rows_sharding(mesh))
