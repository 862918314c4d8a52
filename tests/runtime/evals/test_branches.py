"""Sequences score the same on trees, where what they begin with is read once, as each alone."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.program.branches import Forest, make_branch_log_probabilities
from compiler.program.config import DecoderConfig
from compiler.program.decoder import create, parameters_of
from compiler.program.execution import Execution
from compiler.program.mesh import make_mesh
from compiler.program.sharding import sharded
from compiler.program.step import make_log_probabilities
from runtime.evals import branches
from runtime.evals.branches import planted, room_for, score_branches
from runtime.evals.sequences import BATCH_TOKENS, ROW_TOKENS, TokenSequence, score_sequences

CONFIG = DecoderConfig(
    vocabulary=50,
    layers=2,
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
PARAMETERS = parameters_of(create(CONFIG, seed=0))
WINDOWED = replace(CONFIG, window=5, window_pattern=(True, False))


def sequence(tokens: list[int], first: int = 1) -> TokenSequence:
    """Tokens of which those from `first` on count."""
    return TokenSequence(np.array(tokens, np.int32), np.arange(len(tokens)) >= first)


def questions() -> list[TokenSequence]:
    """Prompts that begin alike, each with two answers; one sequence within another; one twice; one that counts none."""
    generator = np.random.default_rng(0)
    system = generator.integers(0, 50, 20).tolist()
    made: list[TokenSequence] = []
    for _ in range(12):
        prompt = system + generator.integers(0, 50, int(generator.integers(3, 30))).tolist()
        made += [
            sequence(prompt + generator.integers(0, 50, int(generator.integers(1, 9))).tolist(), len(prompt))
            for _ in range(2)
        ]
    made.append(TokenSequence(made[0].tokens[:10], made[0].tokens[:10] >= 0))
    made.append(made[3])
    made.append(sequence(system, len(system)))
    return made


def model_of(config: DecoderConfig):
    program = make_branch_log_probabilities(config, chunk=64)
    return lambda forest: program(PARAMETERS, forest)


@pytest.fixture
def short_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 128 tokens: few enough that the questions need several batches."""
    monkeypatch.setattr(branches, "ROW_TOKENS", 128)
    monkeypatch.setattr(branches, "BATCH_TOKENS", 256)


@pytest.mark.usefixtures("short_rows")
@pytest.mark.parametrize("config", [CONFIG, WINDOWED], ids=["full", "windowed"])
def test_scores_are_those_of_each_sequence_alone(config: DecoderConfig):
    asked = questions()
    plain = make_log_probabilities(config, chunk=64)
    alone = score_sequences(asked, lambda *batch: plain(PARAMETERS, *map(jax.numpy.asarray, batch)), length=64)
    told: list[int] = []
    got = score_branches(asked, model_of(config), told.append)
    np.testing.assert_allclose(got.log_probability, alone.log_probability, atol=2e-4)
    assert got.count.tolist() == alone.count.tolist()
    assert sum(told) == sum(len(each.tokens) for each in asked)


@pytest.mark.usefixtures("short_rows")
def test_spread_over_devices_scores_are_the_same():
    mesh = make_mesh({"fsdp": 2})
    program = make_branch_log_probabilities(CONFIG, chunk=64, execution=Execution(mesh))
    spread = jax.tree.map(lambda x, shape: jax.device_put(x, shape.sharding), PARAMETERS, sharded(PARAMETERS, mesh))
    asked = questions()
    got = score_branches(asked, lambda forest: program(spread, forest), devices=2)
    np.testing.assert_allclose(got.log_probability, score_branches(asked, model_of(CONFIG)).log_probability, atol=2e-4)


def test_what_is_shared_is_read_once_and_the_last_token_not_at_all():
    prompt = [7] * 30
    (tree,) = planted([sequence([*prompt, 1, 2], 30), sequence([*prompt, 3], 30), sequence([*prompt, 1, 4, 5], 30)])
    assert tree.tokens == [*prompt, 1, 4]  # `1` is read once for both that go on from it
    assert tree.positions == list(range(32))
    assert tree.targets == [3, 1, 2, 1, 4, 5]
    assert tree.places == [29, 29, 30, 29, 30, 31]


def test_every_batch_has_one_shape_and_few_shapes_are_compiled():
    shapes: set[tuple[int, ...]] = set()

    def uniform(forest: Forest) -> np.ndarray:
        assert all(array.dtype == np.int32 for array in forest)
        shapes.add((*forest.tokens.shape, forest.targets.shape[1]))
        return np.full(forest.targets.shape, -1.0, np.float32)

    generator = np.random.default_rng(0)
    asked = [sequence(generator.integers(0, 50, 150).tolist(), 100) for _ in range(40)]
    scores = score_branches(asked, uniform)
    assert shapes == {(BATCH_TOKENS // ROW_TOKENS, ROW_TOKENS, 256)}
    np.testing.assert_array_equal(scores.log_probability, -scores.count)
    shapes.clear()
    score_branches(asked[:2], uniform)
    assert shapes == {(1, ROW_TOKENS, 128)}


def test_a_thousand_answers_to_one_question_go_to_several_rows():
    asked = [sequence([1, 2, 3, answer], 3) for answer in range(1000)]
    trees = planted(asked)
    assert [len(tree.tokens) for tree in trees] == [3, 3]
    assert max(len(tree.targets) for tree in trees) <= ROW_TOKENS


def test_a_sequence_longer_than_a_row_has_room():
    long = sequence([1] * 1500)
    assert room_for([long]) == 2048
    assert len(planted([long])[0].tokens) == 1499


def test_nothing_to_score():
    scores = score_branches([], lambda forest: pytest.fail("the model was called"))
    assert len(scores.log_probability) == len(scores.count) == 0


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), max_size=30))
def test_a_token_sees_exactly_what_its_text_has_before_it(texts: list[list[int]]):
    asked = [sequence(text) for text in texts]
    found: dict[int, list[tuple[list[int], int]]] = {}
    for tree in planted(asked):
        for place, target, owner in zip(tree.places, tree.targets, tree.owners, strict=True):
            seen = [other for other in range(place + 1) if place < tree.ends[other]]
            assert [tree.positions[other] for other in seen] == list(range(len(seen)))
            found.setdefault(owner, []).append(([tree.tokens[other] for other in seen], target))
    for index, text in enumerate(texts):
        assert found.get(index, []) == [(text[:place], text[place]) for place in range(1, len(text))]
