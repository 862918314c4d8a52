"""The decoder: its parameters, and what a token's hidden state may depend on."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.config import parameter_count, training_flops
from compiler.program.decoder import assemble, create, parameter_shapes, parameters_of
from tests.compiler.program.small import SMALL, packed


@pytest.mark.parametrize("tied", [True, False])
def test_parameter_count_is_what_is_there(tied: bool) -> None:
    config = replace(SMALL, tied_embeddings=tied)
    assert parameter_count(config) == sum(x.size for x in jax.tree.leaves(parameters_of(create(config, 0))))


def test_smollm2_has_135_million_parameters_and_its_flops() -> None:
    config = replace(
        SMALL, vocabulary=49152, layers=30, hidden=576, intermediate=1536, heads=9, key_value_heads=3, head_size=64
    )
    assert parameter_count(config) == 134_515_008
    pairs = 512 * 513 // 2
    assert training_flops(config, 512, pairs) == 6 * (134_515_008 - 61 * 576) * 512 + 12 * 30 * 576 * pairs


def test_parameters_are_float32_and_have_readable_names() -> None:
    shapes = parameter_shapes(SMALL)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype("float32")}
    assert shapes["layers"]["attention"]["query"]["weight"].shape == (3, 24, 24)
    assert shapes["layers"]["feed_forward_norm"]["scale"].shape == (3, 24)


def test_the_seed_decides_and_layers_differ() -> None:
    first, again, other = (parameters_of(create(SMALL, seed)) for seed in (0, 0, 1))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, first, again))
    assert not jnp.array_equal(first["embedding"], other["embedding"])
    query = first["layers"]["attention"]["query"]["weight"]
    assert not jnp.array_equal(query[0], query[1])


def test_a_token_sees_nothing_later() -> None:
    batch = packed([[12]], 12)
    decoder = create(SMALL, 0)
    changed = batch.tokens.at[0, 8].set((batch.tokens[0, 8] + 1) % SMALL.vocabulary)
    one, other = (decoder(tokens, batch.segments, batch.positions) for tokens in (batch.tokens, changed))
    np.testing.assert_array_equal(one[:, :8], other[:, :8])
    assert not jnp.allclose(one[:, 8:], other[:, 8:])


def test_packed_segments_equal_the_same_documents_alone() -> None:
    batch = packed([[5, 9, 4]], 20)
    decoder = create(SMALL, 0)
    together = decoder(batch.tokens, batch.segments, batch.positions)
    for start, end in ((0, 5), (5, 14), (14, 18)):
        tokens = batch.tokens[:, start:end]
        positions = jnp.arange(end - start, dtype=jnp.int32)[None]
        alone = decoder(tokens, jnp.ones_like(tokens), positions)
        np.testing.assert_allclose(together[:, start:end], alone, atol=1e-5)


def test_bfloat16_is_the_dtype_of_activations_only() -> None:
    batch = packed([[9]], 9)
    decoder = assemble(SMALL, parameters_of(create(SMALL, 0)))
    wide = decoder(batch.tokens, batch.segments, batch.positions, "float32")
    narrow = decoder(batch.tokens, batch.segments, batch.positions, "bfloat16")
    assert (wide.dtype, narrow.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_allclose(narrow.astype(jnp.float32), wide, atol=0.1)
