"""Layers taken apart: no copy, and the same logits and tokens as from stacked ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.apart import is_apart, taken_apart
from compiler.program.cache import cache_apart, extend, prefill, rows_of, widened
from compiler.program.decoder import create, parameters_of
from compiler.program.sampler import Prompt, sample_batch
from tests.compiler.program.small import SMALL

VARIED = replace(
    SMALL, window=3, window_pattern=(True, False), window_rope_theta=1e3, attention_softcap=20.0, final_softcap=5.0
)


def test_a_layers_matrices_are_views_of_the_stack() -> None:
    parameters = parameters_of(create(SMALL, 0))
    apart = taken_apart(SMALL, parameters)
    whole = parameters["layers"]["feed_forward"]["up"]["weight"]
    start, size = whole.unsafe_buffer_pointer(), whole[0].nbytes
    assert size % 64 == 0
    assert start % 64 == 0
    for number, layer in enumerate(apart["layers"]):
        assert layer["feed_forward"]["up"]["weight"].unsafe_buffer_pointer() == start + number * size
    assert apart["embedding"] is parameters["embedding"]


@pytest.mark.parametrize("config", [SMALL, VARIED], ids=["plain", "varied"])
def test_logits_and_cache_are_those_of_stacked_layers(config: Any) -> None:
    parameters = parameters_of(create(config, 3))
    tokens = jnp.asarray([[5, 17, 3, 40, 9, 2], [9, 2, 0, 0, 0, 0]], dtype=jnp.int32)
    _, cache = prefill(config, parameters, tokens, jnp.asarray([6, 2], dtype=jnp.int32), capacity=8)
    rows = jnp.asarray([1, 0, 1], dtype=jnp.int32)
    one = rows_of(widened(cache, 12), rows)
    other = rows_of(widened(cache_apart(cache), 12), rows)
    assert one.capacity == other.capacity == 12
    apart = taken_apart(config, parameters)
    for extra in ([7, 8, 9], [60, 1, 7]):
        token = jnp.asarray(extra, dtype=jnp.int32)
        expected, one = extend(config, parameters, one, token)
        logits, other = extend(config, apart, other, token)
        np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose(jnp.stack(other.keys), one.keys, atol=1e-5)
    np.testing.assert_allclose(jnp.stack(other.values), one.values, atol=1e-5)
    assert one.lengths.tolist() == other.lengths.tolist()


def test_what_lies_on_several_devices_stays_and_gives_the_same_tokens() -> None:
    parameters = parameters_of(create(SMALL, 3))
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere = jax.device_put(parameters, jax.NamedSharding(mesh, jax.P()))
    assert taken_apart(SMALL, everywhere) is everywhere
    assert is_apart(taken_apart(SMALL, parameters))
    prompts = [Prompt((5, 17, 3), 6, temperature, seed=4) for temperature in (0.0, 1.0)]
    one, other = (sample_batch(SMALL, each, prompts, ()) for each in (parameters, everywhere))
    assert [made.ids for made in one] == [made.ids for made in other]
