"""Preference losses: by hand, whatever rows the pairs stand in, in parts, and over devices."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from compiler.program.config import Parameters
from compiler.program.decoder import create, parameters_of
from compiler.program.objectives import Given
from compiler.program.optimizer import adamw, schedule
from compiler.program.preferences import PairBatch, preference_loss
from compiler.program.step import initial_state, make_train_step
from tests.compiler.program.small import SMALL

LENGTH = 32
PAIRS = [(2, 5, 3), (1, 4, 8), (4, 1, 2), (3, 6, 6), (2, 2, 7)]
"""Tokens of the prompt, of the chosen answer and of the rejected one."""
REFERENCE = [[-20.0, -13.0], [-14.5, -33.0], [-4.0, -8.5], [-25.0, -24.0], [-8.0, -29.0]]


def _rows(rows: list[list[int]], slots: int = 4) -> PairBatch:
    """The pairs with these numbers in each row; tokens follow from the number of the pair and the side alone."""
    tokens, segments, positions = (np.zeros((len(rows), LENGTH), np.int32) for _ in range(3))
    trained, reference = np.zeros((len(rows), LENGTH), np.bool_), np.zeros((len(rows), slots), np.float32)
    for row, numbers in enumerate(rows):
        start = 0
        for place, number in enumerate(numbers):
            prompt, *answers = PAIRS[number]
            for side, answer in enumerate(answers):
                random = np.random.default_rng((number, side))
                asked = np.random.default_rng(number).integers(0, SMALL.vocabulary, prompt)
                own = slice(start, start := start + prompt + answer)
                tokens[row, own] = [*asked, *random.integers(0, SMALL.vocabulary, answer)]
                segments[row, own] = 2 * place + side + 1
                positions[row, own] = np.arange(prompt + answer)
                trained[row, own] = np.arange(prompt + answer) >= prompt
                reference[row, 2 * place + side] = REFERENCE[number][side]
    return PairBatch(*map(jnp.asarray, (tokens, segments, positions, trained, reference)))


APART = [[0], [1], [2], [3], [4], []]
PACKED = [[4, 0], [1], [3], [2]]


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return parameters_of(create(SMALL, 0))


@cache
def _compiled(kind: Literal["sigmoid", "ipo"], beta: float) -> Any:
    loss = preference_loss(SMALL, "float32", beta, kind)

    def told(parameters: Parameters, batch: PairBatch) -> Any:
        def of(trained: Parameters) -> Any:
            return loss(Given(trained, {}, jax.random.key(0)), batch, jnp.int32(5))

        return jax.value_and_grad(of, has_aux=True)(parameters)

    return jax.jit(told)


def _told(parameters: Parameters, batch: PairBatch, kind: Literal["sigmoid", "ipo"] = "sigmoid") -> Any:
    """Loss and sums, and the gradient, with a beta of 0.5 (of ipo 0.25)."""
    return _compiled(kind, 0.5 if kind == "sigmoid" else 0.25)(parameters, batch)


def _close(got: Any, expected: Any, tolerance: float = 1e-6) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance, rtol=1e-5), got, expected)


def _free(batch: PairBatch) -> PairBatch:
    return batch._replace(reference=jnp.zeros_like(batch.reference))


def _held_at(parameters: Parameters, batch: PairBatch, chosen: float, rejected: float) -> PairBatch:
    """The batch, of one pair in its first row, with a reference that gives these log-ratios."""
    (_, sums), _ = _told(parameters, _free(batch))
    sides = jnp.array([sums["logps/chosen"] - chosen, sums["logps/rejected"] - rejected])
    return batch._replace(reference=batch.reference.at[0].set(sides))


@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
def test_a_packed_batch_is_one_of_a_pair_a_row(parameters: Parameters, kind: Literal["sigmoid", "ipo"]) -> None:
    _close(_told(parameters, _rows(PACKED), kind), _told(parameters, _rows(APART, 2), kind), 2e-6)


def test_the_sums_are_of_all_pairs(parameters: Parameters) -> None:
    (_, sums), _ = _told(parameters, _free(_rows(APART, 2)))
    logps = float(sums["logps/chosen"]), float(sums["logps/rejected"])
    # A model that knows nothing gives each of 61 tokens about 1/61: 18 chosen tokens, 26 rejected ones.
    np.testing.assert_allclose(logps, (-18 * math.log(61), -26 * math.log(61)), rtol=0.02)
    np.testing.assert_allclose(float(sums["rewards/chosen"]), 0.5 * logps[0], rtol=1e-6)
    np.testing.assert_allclose(float(sums["rewards/margins"]), 0.5 * (logps[0] - logps[1]), rtol=1e-5)
    assert float(sums["pairs"]) == 5
    # The shorter answer is the likelier: the chosen one of pairs 1, 2 and 4; both of pair 3 are six tokens long.
    assert 3 <= float(sums["rewards/accuracies"]) <= 4


def test_the_numbers_are_those_of_the_formulas(parameters: Parameters) -> None:
    held = _held_at(parameters, _rows([[2], [], [], [], [], []], 2), -1.0, -2.0)
    (value, sums), _ = _told(parameters, held)
    # h is -1 + 2 = 1: -log sigmoid(0.5 * 1) = log(1 + e^-0.5) = 0.474077, over a denominator of 5.
    np.testing.assert_allclose(value, 0.474077 / 5, rtol=1e-4)
    np.testing.assert_allclose(float(sums["rewards/chosen"]), -0.5, rtol=1e-4)
    np.testing.assert_allclose(float(sums["rewards/margins"]), 0.5, rtol=1e-4)
    assert (float(sums["rewards/accuracies"]), float(sums["pairs"])) == (1, 1)
    (value, _), _ = _told(parameters, held, "ipo")
    # One chosen token and two rejected ones: h is -1/1 + 2/2 = 0; less 1 / (2 * 0.25) = 2, squared.
    np.testing.assert_allclose(value, 4 / 5, rtol=1e-4)


def test_where_policy_and_reference_agree_the_loss_is_log_2_and_its_gradient_helps(parameters: Parameters) -> None:
    held = _held_at(parameters, _rows([[1], [], [], [], [], []], 2), 0.0, 0.0)
    (value, sums), gradient = _told(parameters, held)
    np.testing.assert_allclose(value, math.log(2) / 5, rtol=1e-5)
    assert abs(float(sums["rewards/margins"])) < 1e-4
    moved = jax.tree.map(lambda value, slope: value - 0.1 * slope, parameters, gradient)
    (lower, sums), _ = _told(moved, held)
    assert lower < value
    assert sums["rewards/margins"] > 0


def test_parts_of_a_batch_give_the_update_of_the_whole(parameters: Parameters) -> None:
    optimizer = adamw(schedule("constant", 1e-2, 10), weight_decay=0.1, clip=0.05)
    loss = preference_loss(SMALL, "float32", 0.5)
    whole, parts = (
        make_train_step(loss, optimizer, count)(
            initial_state(optimizer, jax.tree.map(jnp.copy, parameters)), {}, _rows(PACKED), jnp.int32(5)
        )
        for count in (1, 2)
    )
    _close(parts[1], whole[1])
    _close(parts[0].parameters, whole[0].parameters, 1e-4)


def test_rows_may_be_spread_over_devices(parameters: Parameters) -> None:
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    spread = jax.device_put(_rows(PACKED), NamedSharding(mesh, PartitionSpec("data")))
    everywhere = jax.device_put(parameters, NamedSharding(mesh, PartitionSpec()))
    _close(_told(everywhere, spread), _told(parameters, _rows(PACKED)), 2e-6)
