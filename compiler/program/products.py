"""Matrix products as every program here takes them."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import jax
import jax.numpy as jnp


def product(indices: str, left: jax.Array, right: jax.Array) -> jax.Array:
    """`jnp.einsum` of two arrays in their own dtype, summed and given in float32."""
    return jnp.einsum(indices, left, right, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32)
