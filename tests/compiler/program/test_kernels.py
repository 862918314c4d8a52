"""The accelerators' attention kernels, in Pallas's interpreter, against plain attention."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.attention import attention
from compiler.program.execution import Execution, Kernel
from compiler.program.kernels import expresses
from compiler.program.mesh import make_mesh

LENGTH = 150  # no multiple of what kernels take


def _values_and_gradients(execution: Execution, softcap: float | None, window: int | None) -> list[jax.Array]:
    random = np.random.default_rng(0)
    query, key, value, weight = (
        jnp.asarray(random.standard_normal((2, LENGTH, heads, 64)), dtype=jnp.float32) for heads in (4, 2, 2, 4)
    )
    segments = np.ones((2, LENGTH), np.int32)
    segments[0, 60:] = 2
    segments[1, 130:] = 0

    def total(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        mixed = attention(query, key, value, jnp.asarray(segments), softcap=softcap, window=window, execution=execution)
        return jnp.sum(weight * mixed)

    return jax.tree.leaves(jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(query, key, value))


@pytest.mark.parametrize(
    ("kernel", "softcap", "window"), [("splash", None, None), ("splash", 5.0, 40), ("pallas", None, None)]
)
def test_a_kernel_gives_what_plain_attention_gives(kernel: Kernel, softcap: float | None, window: int | None) -> None:
    expected = _values_and_gradients(Execution(), softcap, window)
    got = _values_and_gradients(Execution(kernel=kernel, interpreted=True), softcap, window)
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-5)
    for one, other in zip(got[1:], expected[1:], strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_heads_over_two_devices_give_the_same() -> None:
    expected = _values_and_gradients(Execution(), None, None)
    got = _values_and_gradients(Execution(make_mesh({"tensor": 2})), None, None)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5, rtol=1e-5)


def test_what_a_kernel_can_express() -> None:
    assert expresses("splash", 50.0, 4096)
    assert expresses("pallas", None, None)
    assert not expresses("pallas", None, 4096)
    assert expresses("cudnn", None, 4096)
    assert not expresses("cudnn", 50.0, None)
