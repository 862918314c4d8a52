"""Sampling with a cache, against decoding without one."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.cache import extend, prefill
from compiler.program.decoder import create, parameters_of
from compiler.program.sampler import bucket, sample
from tests.compiler.program.small import SMALL

DECODER = create(SMALL, 3)
PARAMETERS = parameters_of(DECODER)
PROMPT = [5, 17, 3, 40, 22]


def _logits(tokens: list[int]) -> np.ndarray:
    ids = jnp.asarray([tokens], dtype=jnp.int32)
    positions = jnp.arange(len(tokens), dtype=jnp.int32)[None]
    return np.asarray(DECODER(ids, jnp.ones_like(ids), positions)[0, -1] @ DECODER.output_matrix().T)


def _sample(**settings: object) -> list[int]:
    defaults = {"tokens": 12, "temperature": 1.0, "seed": 0, "stops": ()}
    return list(sample(SMALL, PARAMETERS, PROMPT, **defaults | settings))


def test_the_cache_gives_the_logits_of_the_whole_sequence() -> None:
    rows = [[5, 17, 3, 40], [9, 2]]
    tokens = jnp.asarray([[*row, *[0] * (6 - len(row))] for row in rows], dtype=jnp.int32)
    logits, cache = prefill(SMALL, PARAMETERS, tokens, jnp.asarray([4, 2], dtype=jnp.int32), capacity=8)
    for extra in ([7, 8], [60, 1]):
        for row, got in zip(rows, logits, strict=True):
            np.testing.assert_allclose(got, _logits(row), atol=1e-5)
        logits, cache = extend(SMALL, PARAMETERS, cache, jnp.asarray(extra, dtype=jnp.int32))
        rows = [[*row, token] for row, token in zip(rows, extra, strict=True)]
    assert cache.lengths.tolist() == [6, 4]


def test_temperature_zero_takes_the_most_likely_token() -> None:
    expected = list(PROMPT)
    for _ in range(12):
        expected.append(int(_logits(expected).argmax()))
    assert _sample(temperature=0.0) == expected[len(PROMPT) :]


def test_the_seed_decides() -> None:
    assert _sample(seed=1) == _sample(seed=1)
    assert _sample(seed=1) != _sample(seed=2)


def test_it_ends_before_a_stop_token() -> None:
    tokens = _sample()
    assert _sample(stops={tokens[4]}) == tokens[: tokens.index(tokens[4])]


def test_it_ends_with_the_context() -> None:
    prompt = [1] * (SMALL.context - 3)
    assert len(list(sample(SMALL, PARAMETERS, prompt, tokens=10, temperature=1.0, seed=0, stops=()))) == 3
    with pytest.raises(ValueError, match="257 tokens in a context of 256"):
        next(sample(SMALL, PARAMETERS, [1] * 257, tokens=1, temperature=1.0, seed=0, stops=()))


@pytest.mark.parametrize(
    ("length", "most", "expected"), [(1, 256, 64), (65, 256, 128), (128, 256, 128), (200, 250, 250)]
)
def test_buckets(length: int, most: int, expected: int) -> None:
    assert bucket(length, most) == expected
