"""Decoders of every family: their parameters, their arithmetic, packed rows and the cache."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.cache import extend, prefill
from compiler.program.config import (
    DecoderConfig,
    RopeScaling,
    parameter_count,
    rope_amplitude,
    rope_frequencies,
    training_flops,
    windowed_layers,
)
from compiler.program.decoder import assemble, create, parameter_shapes, parameters_of
from compiler.program.objectives import log_probabilities
from runtime.weights.layout import table, tensor_shapes
from tests.compiler.program.small import SMALL, packed

LLAMA3 = RopeScaling("llama3", 8.0, 16)
YARN = RopeScaling("yarn", 4.0, 16, attention_factor=1.2)
GEMMA2 = replace(
    SMALL, family="gemma2", window=3, window_pattern=(True, False), norms="both", activation="gelu_tanh",
    attention_scalar=6.0, attention_softcap=2.0, final_softcap=3.0, scaled_embeddings=True, head_size=6,
)  # fmt: skip
OLMO2 = replace(SMALL, family="olmo2", norms="after", query_key_norm="projection", tied_embeddings=False)

FAMILIES = {
    "llama": replace(SMALL, rope_scaling=LLAMA3, attention_output_bias=True, query_key_value_bias=True),
    "llama_mlp_bias": replace(SMALL, feed_forward_bias=True, tied_embeddings=False),
    "mistral": replace(SMALL, family="mistral", window=3),
    "qwen2": replace(SMALL, family="qwen2", query_key_value_bias=True, window=3, window_pattern=(False, False, True)),
    "qwen3": replace(SMALL, family="qwen3", query_key_norm="head", head_size=8),
    "gemma2": GEMMA2,
    "gemma3": replace(
        GEMMA2, family="gemma3", query_key_norm="head", attention_softcap=None, window_pattern=(True, True, False),
        window_rope_theta=100.0, rope_scaling=RopeScaling("linear", 8.0),
    ),
    "olmo2": OLMO2,
    "olmo3": replace(
        OLMO2, family="olmo3", window=3, window_pattern=(True, False), rope_scaling=YARN, window_rope_theta=10000.0
    ),
}  # fmt: skip
LAYERS_DIFFER = ("qwen2", "gemma2", "gemma3", "olmo3")


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_counted_and_each_has_its_tensor(family: str) -> None:
    config = FAMILIES[family]
    shapes = parameter_shapes(config)
    assert parameter_count(config) == sum(x.size for x in jax.tree.leaves(shapes))
    assert parameter_count(config) == sum(int(np.prod(shape)) for shape in tensor_shapes(config).values())
    found = {tuple(key.key for key in path): leaf.shape for path, leaf in jax.tree.leaves_with_path(shapes)}
    entries = {entry.path: entry for entry in table(config)}
    assert found.keys() == entries.keys()
    for path, entry in entries.items():
        shape = entry.shape[::-1] if entry.transposed else entry.shape
        assert found[path] == ((config.layers, *shape) if entry.stacked else shape)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_survives_json(family: str) -> None:
    config = FAMILIES[family]
    again = DecoderConfig(**json.loads(json.dumps(asdict(config))))
    assert again == config
    assert hash(again) == hash(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_segments_and_decoding_token_by_token_equal_the_documents_alone(family: str) -> None:
    config = FAMILIES[family]
    parameters = jax.tree.map(_shaken, parameters_of(create(config, 0)))
    batch = packed([[7, 9], [7], [9]], 16)
    alone = jnp.stack([batch.tokens[0, :7], batch.tokens[0, 7:14]])  # the second without its last two
    tokens = batch.tokens.at[1, :7].set(batch.tokens[0, :7]).at[2, :9].set(batch.tokens[0, 7:])

    @jax.jit
    def logits(parameters: dict, tokens: jax.Array) -> jax.Array:
        decoder = assemble(config, parameters)
        return decoder.logits(decoder(tokens, batch.segments, batch.positions))

    whole = logits(parameters, tokens)
    np.testing.assert_allclose(whole[0, :7], whole[1, :7], atol=2e-5)
    np.testing.assert_allclose(whole[0, 7:], whole[2, :9], atol=2e-5)

    first = jnp.pad(alone[:, :5], ((0, 0), (0, 1)))
    step, cache = prefill(config, parameters, first, jnp.asarray([4, 5], dtype=jnp.int32), capacity=12)
    np.testing.assert_allclose(step, jnp.stack([whole[1, 3], whole[2, 4]]), atol=2e-5)
    for place in range(3):
        following = jnp.stack([tokens[1, 4 + place], tokens[2, 5 + place]])
        step, cache = extend(config, parameters, cache, following)
        np.testing.assert_allclose(step, jnp.stack([whole[1, 4 + place], whole[2, 5 + place]]), atol=2e-5)


def _shaken(x: jax.Array) -> jax.Array:
    """No bias zero, no scale one, no matrix small, so that each has its part in the result."""
    drawn = np.random.default_rng(x.size).standard_normal(x.shape)
    return x + jnp.asarray(0.2 * drawn, dtype=jnp.float32)


def test_a_token_sees_as_far_as_the_window_and_no_further() -> None:
    config = replace(FAMILIES["mistral"], layers=1)
    decoder, batch = create(config, 0), packed([[8]], 8)
    changed = batch.tokens.at[0, 2].set((batch.tokens[0, 2] + 1) % SMALL.vocabulary)
    one, other = (decoder(tokens, batch.segments, batch.positions) for tokens in (batch.tokens, changed))
    differs = jnp.any(one != other, axis=-1)[0]
    assert differs.tolist() == [False, False, True, True, True, False, False, False]


def test_final_soft_cap_is_in_the_log_probabilities() -> None:
    decoder = assemble(GEMMA2, jax.tree.map(_shaken, parameters_of(create(GEMMA2, 0))))
    batch = packed([[9]], 9)
    logits = decoder.logits(decoder(batch.tokens, batch.segments, batch.positions))
    assert jnp.max(jnp.abs(logits)) < 3
    expected = jnp.take_along_axis(jax.nn.log_softmax(logits[:, :-1]), batch.tokens[:, 1:, None], axis=-1)[..., 0]
    found = log_probabilities(decoder, batch.tokens, batch.segments, batch.positions, chunk=4)
    np.testing.assert_allclose(found[:, 1:], expected, atol=2e-5)


@pytest.mark.parametrize("family", LAYERS_DIFFER)
def test_the_program_is_flat_in_depth(family: str) -> None:
    def lines(layers: int) -> int:
        config = replace(FAMILIES[family], layers=layers)
        batch = packed([[9]], 9)

        def of(parameters: dict) -> jax.Array:
            decoder = assemble(config, parameters)
            return log_probabilities(decoder, batch.tokens, batch.segments, batch.positions).sum()

        return jax.jit(jax.grad(of)).lower(parameter_shapes(config)).as_text().count("\n")

    assert lines(12) == lines(3)


def test_which_layers_are_windowed() -> None:
    assert windowed_layers(SMALL) == (False,) * 3
    assert windowed_layers(FAMILIES["mistral"]) == (True,) * 3
    assert windowed_layers(replace(GEMMA2, layers=5)) == (True, False, True, False, True)


def test_flops_of_windowed_layers_count_what_they_see() -> None:
    plain, config = replace(SMALL, layers=3), replace(SMALL, window=4, window_pattern=(True, True, False))
    pairs, within = 10 * 11 // 2, 1 + 2 + 3 + 7 * 4
    each = 12 * config.heads * config.head_size
    assert training_flops(plain, 10, pairs) - training_flops(config, 10, pairs, within) == 2 * each * (pairs - within)
    assert training_flops(config, 10, pairs) == training_flops(config, 10, pairs, 40)  # four tokens each, at most
    assert training_flops(config, 4, 10) == training_flops(plain, 4, 10)


def test_rope_frequencies() -> None:
    def ratios(scaling: RopeScaling | None, windowed: bool = False) -> np.ndarray:
        config = replace(SMALL, head_size=8, rope_scaling=scaling, window=2, window_rope_theta=10000.0)
        plain = [10000.0 ** (-place / 4) for place in range(4)]
        return np.asarray(plain) / rope_frequencies(config, windowed)

    np.testing.assert_allclose(ratios(None), 1)
    np.testing.assert_allclose(ratios(RopeScaling("linear", 8.0)), 8)
    np.testing.assert_allclose(ratios(RopeScaling("linear", 8.0), windowed=True), 1)
    # Frequencies 1, 0.1, 0.01, 0.001 turn 15.9, 1.59, 0.159, 0.0159 times over 100 tokens: four and more are kept.
    middle = (100 * 0.1 / (2 * np.pi) - 1) / 3
    expected = [1, 1 / (middle + (1 - middle) / 8), 8, 8]
    np.testing.assert_allclose(ratios(RopeScaling("llama3", 8.0, 100)), expected)
    # 32 turns lie before the first channel, one at 8 ln(100 / 2π) / (2 ln 10000) = 1.2, rounded up: a ramp of two.
    np.testing.assert_allclose(ratios(RopeScaling("yarn", 4.0, 100)), [1, 1 / (0.5 + 0.5 / 4), 4, 4])
    assert [rope_amplitude(FAMILIES["olmo3"], windowed) for windowed in (False, True)] == [1.2, 1.0]
