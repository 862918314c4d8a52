"""Groups of answers: advantages and losses worked out by hand, and what may not change them."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.decoder import create, parameters_of
from compiler.program.objectives import Given, Loss, Sums
from compiler.program.optimizer import adamw, schedule
from compiler.program.policy import (
    PolicyBatch,
    Repeated,
    advantages_of,
    answer_weight,
    denominator_of,
    equal_groups,
    policy_loss,
    token_losses,
)
from compiler.program.step import TrainState, initial_state, make_log_probabilities, make_train_step
from tests.compiler.program.small import SMALL

CONFIG = replace(SMALL, layers=1)
PARAMETERS = parameters_of(create(CONFIG, 0))
OTHER = parameters_of(create(CONFIG, 1))


def test_advantages_by_hand() -> None:
    rewards = np.array([[1.0, 0.0, 0.0, 1.0], [0.1, 0.1, 0.1, 0.1], [3.0, 1.0, 0.0, 0.0]])
    # Means 0.5, 0.1 and 1. The first deviation is sqrt(4 * 0.25 / 3) = 0.57735, the last sqrt((4 + 0 + 1 + 1) / 3).
    np.testing.assert_allclose(
        advantages_of(rewards, "grpo"),
        [
            [0.5 / 0.57745, -0.5 / 0.57745, -0.5 / 0.57745, 0.5 / 0.57745],
            [0, 0, 0, 0],
            [2 / 1.4143136, 0, -1 / 1.4143136, -1 / 1.4143136],
        ],
        rtol=1e-5,
    )
    np.testing.assert_allclose(advantages_of(rewards, "dr_grpo"), [[0.5, -0.5, -0.5, 0.5], [0] * 4, [2, 0, -1, -1]])
    assert equal_groups(rewards).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.5, 1.0, -1.28, "high"),  # clipped at 1 + 0.28
        (1.5, -1.0, 1.5, ""),  # min(-1.5, -1.28): what got likelier and is bad counts whole
        (0.5, 1.0, -0.5, ""),
        (0.5, -1.0, 0.8, "low"),  # min(-0.5, -0.8), clipped at 1 - 0.2
        (1.25, 2.0, -2.5, ""),
    ],
)
def test_the_surrogate_by_hand(ratio: float, advantage: float, loss: float, clipped: str) -> None:
    old, values = jnp.asarray([-2.0]), jnp.asarray([-2.0 + np.log(ratio)], dtype=jnp.float32)
    told = token_losses(values, old, None, jnp.asarray([advantage]), beta=0.0, epsilon_low=0.2, epsilon_high=0.28)
    np.testing.assert_allclose(told.losses, [loss], rtol=1e-6)
    assert (bool(told.clipped_low[0]), bool(told.clipped_high[0])) == (clipped == "low", clipped == "high")


def test_the_divergence_by_hand() -> None:
    values, reference = jnp.asarray([-2.0, -1.0]), jnp.asarray([-2.0 + np.log(2), -1.0], dtype=jnp.float32)
    zeros = jnp.zeros(2)
    told = token_losses(values, values, reference, zeros, beta=0.1, epsilon_low=0.2, epsilon_high=0.2)
    # d = log 2: 2 - 0.693147 - 1; and none where both agree.
    np.testing.assert_allclose(told.divergences, [0.306853, 0.0], rtol=1e-5)
    np.testing.assert_allclose(told.losses, [0.0306853, 0.0], rtol=1e-5)


PROMPTS = [3, 5, 4, 2]
ANSWERS = [2, 4, 6, 1]
ADVANTAGES = [1.0, -1.0, 0.5, -2.0]
LENGTH = 24


def batch_of(rows: list[list[int]], kind: str = "grpo", *, beta: bool = True, old: bool = False) -> PolicyBatch:
    """The four answers in rows as given; tokens and log-probabilities are each answer's own."""
    shape = len(rows), LENGTH
    arrays = {name: np.zeros(shape, np.int32) for name in ("tokens", "segments", "positions")}
    arrays |= {name: np.zeros(shape, np.float32) for name in ("weights", "advantages", "sampled", "old", "reference")}
    for row, answers in enumerate(rows):
        start = 0
        for segment, answer in enumerate(answers, 1):
            random = np.random.default_rng(answer)
            length = PROMPTS[answer] + ANSWERS[answer]
            whole, own = slice(start, start + length), slice(start + PROMPTS[answer], start + length)
            arrays["tokens"][row, whole] = random.integers(0, CONFIG.vocabulary, length)
            arrays["segments"][row, whole] = segment
            arrays["positions"][row, whole] = np.arange(length)
            arrays["weights"][row, own] = answer_weight(kind, ANSWERS[answer])  # type: ignore[arg-type]
            arrays["advantages"][row, own] = ADVANTAGES[answer]
            arrays["old"][row, own] = -4.1 + 0.5 * random.standard_normal(ANSWERS[answer])
            arrays["reference"][row, own] = -4.1 + 0.5 * random.standard_normal(ANSWERS[answer])
            start += length
    made = PolicyBatch(**{name: jnp.asarray(array) for name, array in arrays.items()})
    return made._replace(old=made.old if old else None, reference=made.reference if beta else None)


def loss_of(temperature: float = 1.0, beta: float = 0.1) -> Loss:
    return policy_loss(
        CONFIG, "float32", beta=beta, epsilon_low=0.2, epsilon_high=0.3, temperature=temperature, chunk=16
    )


def taken(loss: Loss, batch: PolicyBatch, denominator: int) -> tuple[tuple[jax.Array, Sums], object]:
    def of(trained: object) -> tuple[jax.Array, Sums]:
        keys = jax.random.split(jax.random.key(0), batch.tokens.shape[0])
        return loss(Given(trained, {}, keys), batch, jnp.asarray(denominator, dtype=jnp.int32))  # type: ignore[arg-type]

    return jax.jit(jax.value_and_grad(of, has_aux=True))(PARAMETERS)


def assert_close(one: object, other: object, tolerance: float = 1e-6) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance, rtol=1e-4), one, other)


def test_on_the_policy_itself_the_loss_is_that_of_the_advantages() -> None:
    # All ratios are 1. grpo: the mean over answers of -A: -(1 - 1 + 0.5 - 2) / 4.
    (value, sums), _ = taken(loss_of(), batch_of([[0], [1], [2], [3]], beta=False), denominator_of("grpo", 4, 8))
    assert value == pytest.approx(0.375, abs=1e-6)
    assert sums["tokens"] == 13
    assert sums["clipped/low"] == sums["clipped/high"] == sums["divergence"] == 0
    # dr_grpo: the sum over tokens, 2 * -1 + 4 * 1 + 6 * -0.5 + 1 * 2, over 4 answers of at most 8 tokens.
    batch = batch_of([[0], [1], [2], [3]], "dr_grpo", beta=False)
    (value, _), _ = taken(loss_of(), batch, denominator_of("dr_grpo", 4, 8))
    assert value == pytest.approx(1 / 32, abs=1e-6)


def test_the_gradient_is_that_of_the_weighted_log_probabilities() -> None:
    batch = batch_of([[0], [1], [2], [3]], beta=False)
    program = make_log_probabilities(CONFIG, "float32", chunk=16)

    def plain(trained: object) -> jax.Array:
        values = program(trained, batch.tokens, batch.segments, batch.positions)  # type: ignore[arg-type]
        return -jnp.sum(batch.weights * batch.advantages * values) / 4

    _, gradient = taken(loss_of(), batch, 4)
    assert_close(gradient, jax.grad(plain)(PARAMETERS))


@pytest.mark.parametrize("kind", ["grpo", "dr_grpo"])
def test_neither_packing_nor_parts_of_a_batch_change_anything(kind: str) -> None:
    apart = taken(loss_of(), batch_of([[0], [1], [2], [3]], kind, old=True), 4)
    assert apart[0][1]["clipped/low"] + apart[0][1]["clipped/high"] > 0
    together = taken(loss_of(), batch_of([[3, 1, 0], [2]], kind, old=True), 4)
    assert_close(apart, together)
    optimizer = adamw(schedule("constant", 1e-3, 10))

    def stepped(micro_batches: int) -> object:
        step = make_train_step(loss_of(), optimizer, micro_batches)
        state = initial_state(optimizer, jax.tree.map(jnp.array, PARAMETERS))
        batch = batch_of([[0], [1], [2], [3]], kind, old=True)
        return step(state, {}, batch, jnp.asarray(4, dtype=jnp.int32))[1]

    assert_close(stepped(1), stepped(4), 1e-5)


def test_tokens_without_a_weight_cannot_spoil_anything() -> None:
    batch = batch_of([[0], [1], [2], [3]], old=True)
    one = taken(loss_of(), batch, 4)
    wild = jnp.where(batch.weights > 0, 0.0, 1e30)
    assert batch.old is not None
    assert batch.reference is not None
    other = batch._replace(old=batch.old + wild, reference=batch.reference + wild, sampled=batch.sampled + wild)
    assert_close(one, taken(loss_of(), other, 4), 0)


def test_log_probabilities_are_at_the_temperature() -> None:
    batch = batch_of([[0], [1], [2], [3]])
    arrays = batch.tokens, batch.segments, batch.positions
    values = make_log_probabilities(CONFIG, "float32", chunk=16, temperature=0.5)(PARAMETERS, *arrays)
    decoder = create(CONFIG, 0)
    logits = decoder.logits(decoder(*arrays)) / 0.5
    expected = jnp.take_along_axis(jax.nn.log_softmax(logits[:, :-1]), batch.tokens[:, 1:, None], axis=-1)[..., 0]
    counted = np.asarray(batch.weights > 0)[:, 1:]
    np.testing.assert_allclose(np.asarray(values)[:, 1:][counted], np.asarray(expected)[counted], rtol=1e-4)
    (_, sums), _ = taken(loss_of(temperature=0.5), batch, 4)
    assert sums["surprise"] == pytest.approx(-np.asarray(expected)[counted].sum(), rel=1e-4)


def test_several_updates_on_a_batch_are_measured_from_before_the_first() -> None:
    optimizer = adamw(schedule("linear", 1e-2, 6), weight_decay=0.0)
    batch = batch_of([[0], [1], [2], [3]], beta=False)
    arrays = batch.tokens, batch.segments, batch.positions
    old = make_log_probabilities(CONFIG, "float32", chunk=16)(PARAMETERS, *arrays)
    step = make_train_step(loss_of(beta=0.0), optimizer)

    def fresh() -> TrainState:
        return initial_state(optimizer, jax.tree.map(jnp.array, PARAMETERS))

    four = jnp.asarray(4, dtype=jnp.int32)
    state, metrics = Repeated(step, 3)(fresh(), {}, batch._replace(old=old), four)
    assert state.step == 3
    assert metrics.sums["tokens"] == 3 * 13
    assert metrics.sums["clipped/low"] + metrics.sums["clipped/high"] > 0
    again = fresh()
    losses, rates = [], []
    for _ in range(3):
        again, each = step(again, {}, batch._replace(old=old), four)
        losses.append(float(each.loss))
        rates.append(float(each.learning_rate))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, state, again))
    assert losses[0] == pytest.approx(0.375, abs=1e-5)
    assert losses[2] < losses[1] < losses[0]
    assert metrics.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert metrics.learning_rate == pytest.approx(np.mean(rates), rel=1e-5)
