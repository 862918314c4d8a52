"""How a program is computed: on which mesh, by which attention kernel, and what is kept for the backward pass."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from compiler.program.mesh import ROWS

Kernel: TypeAlias = Literal["xla", "splash", "pallas", "cudnn"]
"""Of attention: plain XLA, or a fused one of TPU (splash) or GPU (the others)."""

OWN_KERNELS: Mapping[str, Kernel] = {"tpu": "splash", "gpu": "pallas"}
"""The kernel that suits a platform; elsewhere it is `xla`."""

Remat: TypeAlias = Literal["none", "projections", "full"]
"""What of a layer is computed again in the backward pass: nothing; all but the results of its matrix products and of
a fused attention; all of it."""

ATTENTION = "attention"
"""The name under which fused attention's results can be kept (see `jax.ad_checkpoint.checkpoint_name`)."""


@dataclass(frozen=True)
class Execution:
    """What changes the speed and memory of a program, and its results to rounding only."""

    mesh: Mesh | None = None
    """None: on one device."""
    kernel: Kernel = "xla"
    remat: Remat = "projections"
    interpreted: bool = False
    """Whether kernels run in Pallas's interpreter, which any platform has: for tests."""

    def axes(self, name: str | None, size: int) -> tuple[str, ...]:
        """The axes of the mesh that a dimension of an activation is spread over; none where they don't divide it.

        `rows` may have a part of their axes, the largest that divides them.
        """
        if self.mesh is None or name is None:
            return ()
        if name == "rows":
            parts = (ROWS, ROWS[1:], ROWS[:1])
            return max((part for part in parts if size % self.count(part) == 0), key=self.count, default=())
        return ("tensor",) if size % self.mesh.shape["tensor"] == 0 else ()

    def count(self, axes: tuple[str, ...]) -> int:
        """Over how many devices some axes spread."""
        assert self.mesh is not None
        product = 1
        for axis in axes:
            product *= self.mesh.shape[axis]
        return product

    def spec(self, shape: tuple[int, ...], *names: str | None) -> PartitionSpec:
        """Where an activation's dimensions lie; `names` as in `axes`, one a dimension."""
        return PartitionSpec(*(self.axes(name, size) or None for name, size in zip(names, shape, strict=True)))

    def placed(self, x: jax.Array, *names: str | None) -> jax.Array:
        """`x`, laid out on the mesh by the names of its dimensions: `rows`, `heads`, `intermediate`, or None."""
        if self.mesh is None:
            return x
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, self.spec(x.shape, *names)))

    def recomputed(self, layer: Callable[..., Any]) -> Callable[..., Any]:
        """The step of a scan over layers, with what its backward pass computes again."""
        if self.remat == "none":
            return layer
        policies = jax.checkpoint_policies
        kept = None
        if self.remat == "projections":
            # Attention's scores, norms and activations take less time to compute again than to write and read.
            kept = policies.save_from_both_policies(
                policies.dots_with_no_batch_dims_saveable, policies.save_only_these_names(ATTENTION)
            )
        return cast(Any, jax.checkpoint)(layer, policy=kept, prevent_cse=False)


ONE_DEVICE = Execution()
"""One device, plain attention, the results of matrix products kept."""
