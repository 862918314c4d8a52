"""Sequences score the same however they are packed, and as the model scores them alone."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.program.config import DecoderConfig
from compiler.program.decoder import create, parameters_of
from compiler.program.step import make_log_probabilities
from runtime.evals.sequences import BATCH_TOKENS, TokenSequence, pack, score_sequences

CONFIG = DecoderConfig(
    vocabulary=50,
    layers=1,
    hidden=32,
    intermediate=48,
    heads=4,
    key_value_heads=2,
    head_size=8,
    rope_theta=1e4,
    norm_epsilon=1e-5,
    tied_embeddings=True,
    context=512,
)


@pytest.fixture(scope="module")
def model():
    of_parameters = make_log_probabilities(CONFIG)
    parameters = parameters_of(create(CONFIG, seed=0))
    return lambda *batch: of_parameters(parameters, *map(jax.numpy.asarray, batch))


def sequences(count: int, longest: int) -> list[TokenSequence]:
    generator = np.random.default_rng(0)
    return [
        TokenSequence(generator.integers(0, 50, length).astype(np.int32), generator.random(length) < 0.5)
        for length in generator.integers(2, longest, count)
    ]


def test_scores_do_not_depend_on_packing(model):
    whole = sequences(30, longest=64)
    together = score_sequences(whole, model)
    alone = [score_sequences([one], model) for one in whole]
    np.testing.assert_allclose(together.log_probability, [one.log_probability[0] for one in alone], atol=2e-4)
    order = np.random.default_rng(1).permutation(len(whole))
    shuffled = score_sequences([whole[index] for index in order], model)
    np.testing.assert_allclose(shuffled.log_probability, together.log_probability[order], atol=2e-4)
    assert together.count.tolist() == [int(one.counted[1:].sum()) for one in whole]


def test_one_shape_and_all_tokens_are_told():
    shapes: set[tuple[int, ...]] = set()
    told: list[int] = []

    def uniform(tokens, segments, positions):
        shapes.add(tokens.shape)
        assert tokens.dtype == segments.dtype == positions.dtype == np.int32
        return np.full(tokens.shape, -1.0, np.float32)

    whole = sequences(60, longest=150)
    scores = score_sequences(whole, uniform, told.append)
    ((rows, length),) = shapes
    assert length % 64 == 0
    assert rows == BATCH_TOKENS // length
    assert sum(told) == sum(len(one.tokens) for one in whole)
    np.testing.assert_array_equal(scores.log_probability, -scores.count)


def test_one_longer_than_a_batch_has_a_row_of_its_own():
    one = TokenSequence(np.zeros(3000, np.int32), np.ones(3000, np.bool_))
    scores = score_sequences([one], lambda tokens, *_: np.full(tokens.shape, -0.5, np.float32))
    assert scores.count.tolist() == [2999]
    assert scores.log_probability.tolist() == [-0.5 * 2999]


def test_nothing_to_score():
    scores = score_sequences([], lambda *_: pytest.fail("the model was called"))
    assert len(scores.log_probability) == len(scores.count) == 0


@given(st.lists(st.integers(1, 64), max_size=60))
def test_packing_holds_every_sequence_once_and_no_row_overflows(lengths: list[int]):
    rows = pack(np.array(lengths, np.int64), 64)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= 64 for row in rows)
    full = sum(sum(lengths[index] for index in row) > 32 for row in rows)
    assert full >= len(rows) - 1  # two rows half empty would have been one
