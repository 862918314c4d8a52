"""A matrix product of the decoder, with bias and low-rank adapter where it has them."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from compiler.program.config import LoRA


class Adapted(nnx.Variable[jax.Array]):
    """A parameter of an adapter: trained while the matrix beside it stays as it is."""


class Linear(nnx.Module):
    """`x @ weight`, plus the bias, plus the adapter's `x @ down @ up * alpha / rank` (arXiv:2106.09685)."""

    def __init__(
        self, rngs: nnx.Rngs, inputs: int, outputs: int, *, bias: bool = False, lora: LoRA | None = None
    ) -> None:
        self.weight = nnx.Param(normal(rngs, (inputs, outputs)))
        if bias:
            self.bias = nnx.Param(jnp.zeros((outputs,), dtype=jnp.float32))
        self.biased = bias
        self.lora = lora
        if lora is not None:
            # As peft begins: `down` is He's uniform with a slope of sqrt 5; `up` is zero: nothing changes at first.
            bound = inputs**-0.5
            self.down = Adapted(
                jax.random.uniform(rngs.params(), (inputs, lora.rank), minval=-bound, maxval=bound, dtype=jnp.float32)
            )
            self.up = Adapted(jnp.zeros((lora.rank, outputs), dtype=jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """`[..., inputs]` to `[..., outputs]`, in the dtype of `x`."""
        flat = x.reshape(-1, x.shape[-1])  # XLA's CPU products of two dimensions are faster than those of three
        product = _product(flat, self.weight[...])
        if self.biased:
            product = product + self.bias[...].astype(x.dtype)
        if self.lora is not None:
            scaling = jnp.asarray(self.lora.alpha / self.lora.rank, dtype=x.dtype)
            product = product + _product(_product(flat, self.down[...]), self.up[...]) * scaling
        return product.reshape(*x.shape[:-1], -1)


def normal(rngs: nnx.Rngs, shape: tuple[int, ...]) -> jax.Array:
    """Float32, with deviation 0.02 (GPT-2's)."""
    return 0.02 * jax.random.normal(rngs.params(), shape, dtype=jnp.float32)


def _product(x: jax.Array, matrix: jax.Array) -> jax.Array:
    return jnp.matmul(x, matrix.astype(x.dtype), precision=jax.lax.Precision.HIGHEST)
