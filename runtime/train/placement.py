"""Where the arrays of a training lie: on one device, or spread over the devices of a mesh and their processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, Sharding, SingleDeviceSharding

from compiler.program.config import Parameters
from compiler.program.mesh import make_mesh, padded_rows
from compiler.program.optimizer import Optimizer
from compiler.program.sharding import rows_sharding, sharded, state_sharded
from compiler.program.step import TrainState, initial_state


@dataclass(frozen=True)
class Placement:
    """Where parameters and the rows of batches go. Without a mesh, that is this process's first device."""

    mesh: Mesh | None = None
    micro_batches: int = 1
    """In how many parts a batch is taken: each is spread evenly."""

    def parameters(self, shapes: Parameters) -> Parameters:
        """`shapes`, each with its sharding."""
        if self.mesh is not None:
            return sharded(shapes, self.mesh)
        alone = SingleDeviceSharding(jax.local_devices()[0])
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=alone), shapes)

    def laid_out(self, arrays: Parameters) -> Parameters:
        """Parameters where `parameters` says; those that lie there already aren't copied."""
        return jax.tree.map(lambda x, wanted: put(x, wanted.sharding), arrays, self.parameters(arrays))

    def filled(self, rows: int) -> int:
        """How many rows a batch of `rows` rows has on the devices: what doesn't divide is filled up with padding."""
        if self.mesh is None:
            return -(-rows // self.micro_batches) * self.micro_batches
        return padded_rows(rows, self.mesh, self.micro_batches)

    def rows(self, rows: int) -> slice:
        """Of a batch of `rows` rows, those that this process has to hold: those of its devices."""
        if self.mesh is None:
            return slice(0, rows)
        whole = self.filled(rows)
        places = rows_sharding(self.mesh).addressable_devices_indices_map((whole,))
        spans = [index[0].indices(whole)[:2] for index in places.values() if index is not None]
        return slice(*(min(end, rows) for end in (min(start for start, _ in spans), max(stop for _, stop in spans))))

    def put(self, batch: Any, rows: int) -> Any:
        """A batch of `rows` rows in all, from this process's part of it, where the step wants it; filled up."""
        whole, first = self.filled(rows), self.rows(rows).start

        def placed(part: Any) -> Any:
            local = np.asarray(part)

            def between(start: int, stop: int) -> np.ndarray[Any, Any]:
                own = local[start - first : stop - first]
                return np.pad(own, [(0, stop - start - len(own)), *[(0, 0)] * (local.ndim - 1)])

            if self.mesh is None:
                return local if whole == rows else between(0, whole)
            return jax.make_array_from_callback(
                (whole, *local.shape[1:]),
                rows_sharding(self.mesh),
                lambda index: between(*index[0].indices(whole)[:2]),  # type: ignore[index]
            )

        return jax.tree.map(placed, batch)


def put(x: Any, sharding: Sharding) -> jax.Array:
    """An array that each process has whole, or that is spread over the devices of all, with another place."""
    if sharding.is_fully_addressable or not getattr(x, "is_fully_addressable", True):
        return jax.device_put(x, sharding)
    whole = np.asarray(x)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def placement_of(shard: Mapping[str, int], micro_batches: int = 1) -> Placement:
    """Over all devices of all processes by a target's `shard`.

    Without one, over all of them by `fsdp`; on a CPU and in one process, whose devices are pretended, on the first.
    """
    if not shard and jax.process_count() == 1 and (jax.default_backend() == "cpu" or jax.device_count() == 1):
        return Placement(micro_batches=micro_batches)
    return Placement(make_mesh(shard or {"fsdp": jax.device_count()}), micro_batches)


def state_shapes(optimizer: Optimizer, parameters: Parameters) -> TrainState:
    """The state before the first update as shapes with shardings: moments lie where their parameters do.

    `parameters` are shapes with shardings. What is of no parameter's shape (counts) lies on all devices.
    """
    sharding = jax.tree.leaves(parameters)[0].sharding
    shapes = jax.eval_shape(lambda given: initial_state(optimizer, given), parameters)
    if isinstance(sharding, jax.sharding.NamedSharding):
        assert isinstance(sharding.mesh, Mesh)
        return state_sharded(shapes, sharding.mesh)._replace(parameters=parameters)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)
