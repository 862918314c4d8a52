"""A matrix product of the decoder, with bias and low-rank adapter where it has them."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from compiler.program.config import LoRA, Parameters


class Adapted(nnx.Variable[jax.Array]):
    """A parameter of an adapter: trained while the matrix beside it stays as it is."""


class Drawn(nnx.Variable[jax.Array]):
    """Random keys of an adapter's dropout, one for each row of a batch."""


class Linear(nnx.Module):
    """`x @ weight`, plus the bias, plus the adapter's `x @ down @ up * alpha / rank` (arXiv:2106.09685).

    Where the adapter has dropout, `x` is the batch's rows, and each has its own key: what is dropped in a row doesn't
    depend on the rows beside it.
    """

    def __init__(
        self, rngs: nnx.Rngs, inputs: int, outputs: int, *, bias: bool = False, lora: LoRA | None = None
    ) -> None:
        self.weight = nnx.Param(normal(rngs, (inputs, outputs)))
        if bias:
            self.bias = nnx.Param(jnp.zeros((outputs,), dtype=jnp.float32))
        self.biased = bias
        self.lora = lora
        if lora is not None:
            self.down = Adapted(first_down(rngs.params(), inputs, lora.rank))
            self.up = Adapted(jnp.zeros((lora.rank, outputs), dtype=jnp.float32))
            if lora.dropout > 0:
                self.keys = Drawn(jax.random.key(0)[None])  # a place for what `decoder.assemble` puts there

    def __call__(self, x: jax.Array) -> jax.Array:
        """`[..., inputs]` to `[..., outputs]`, in the dtype of `x`."""
        flat = x.reshape(-1, x.shape[-1])  # XLA's CPU products of two dimensions are faster than those of three
        product = _product(flat, self.weight[...])
        if self.biased:
            product = product + self.bias[...].astype(x.dtype)
        if self.lora is not None:
            kept = flat if self.lora.dropout == 0 else dropped(x, self.keys[...], self.lora.dropout).reshape(flat.shape)
            scaling = jnp.asarray(self.lora.alpha / self.lora.rank, dtype=x.dtype)
            product = product + _product(_product(kept, self.down[...]), self.up[...]) * scaling
        return product.reshape(*x.shape[:-1], -1)


MATRICES = (
    ("attention", "query"),
    ("attention", "key"),
    ("attention", "value"),
    ("attention", "output"),
    ("feed_forward", "gate"),
    ("feed_forward", "up"),
    ("feed_forward", "down"),
)
"""Where a layer's matrices stand. The place in this list is part of what is drawn for each: add at the end."""


def adapted_matrices(lora: LoRA) -> list[tuple[int, str, str]]:
    """Those of `MATRICES` that have an adapter, with their numbers."""
    blocks = {"attention": "attention", "mlp": "feed_forward"}
    chosen = {blocks[each] for each in lora.on}
    return [(number, block, name) for number, (block, name) in enumerate(MATRICES) if block in chosen]


def dropout_keys(layers: int, lora: LoRA, keys: jax.Array) -> Parameters:
    """Of every layer's matrices with an adapter, random keys `[layers, rows]` that follow from those of the rows."""
    first = jnp.arange(layers, dtype=jnp.uint32) * jnp.uint32(len(MATRICES))
    fold = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)), (None, 0))
    tree: Parameters = {}
    for number, block, name in adapted_matrices(lora):
        tree.setdefault(block, {})[name] = {"keys": fold(keys, first + jnp.uint32(number))}
    return {"layers": tree}


def first_down(key: jax.Array, inputs: int, rank: int) -> jax.Array:
    """An adapter's `down` as peft begins: He's uniform (arXiv:1502.01852) with a slope of sqrt 5; `up` is zero."""
    bound = inputs**-0.5
    return jax.random.uniform(key, (inputs, rank), minval=-bound, maxval=bound, dtype=jnp.float32)


def normal(rngs: nnx.Rngs, shape: tuple[int, ...]) -> jax.Array:
    """Float32, with deviation 0.02 (GPT-2's)."""
    return 0.02 * jax.random.normal(rngs.params(), shape, dtype=jnp.float32)


def dropped(x: jax.Array, keys: jax.Array, share: float) -> jax.Array:
    """`x [rows, …]` with `share` of it set to zero and the rest scaled so that the mean stays; `keys [rows]`."""

    def kept(key: jax.Array) -> jax.Array:
        return jax.random.bernoulli(key, 1 - share, x.shape[1:])

    return jnp.where(jax.vmap(kept)(keys), x / jnp.asarray(1 - share, dtype=x.dtype), jnp.zeros((), dtype=x.dtype))


def _product(x: jax.Array, matrix: jax.Array) -> jax.Array:
    return jnp.matmul(x, matrix.astype(x.dtype), precision=jax.lax.Precision.HIGHEST)
