"""Learning rates by the step, and what weight decay touches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.decoder import create, parameters_of
from compiler.program.optimizer import adamw, decayed, schedule
from tests.compiler.program.small import SMALL


def _rates(shape: str, **settings: float) -> np.ndarray:
    rate = schedule(shape, 2.0, 100, **settings)
    return np.asarray([rate(jnp.int32(step)) for step in range(100)])


def test_warm_up_rises_from_the_first_update_to_the_peak() -> None:
    rates = _rates("constant", warmup=0.04)
    np.testing.assert_allclose(rates[:6], [0.4, 0.8, 1.2, 1.6, 2.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_decay_falls_from_the_peak_to_the_final_fraction(shape: str) -> None:
    rates = _rates(shape, warmup=0.1, final=0.1)
    assert rates.argmax() == 10
    np.testing.assert_allclose(rates[10], 2.0, rtol=1e-6)
    assert (np.diff(rates[10:]) < 0).all()
    assert 0.2 < rates[-1] < 0.23


def test_cosine_and_linear_meet_half_way() -> None:
    np.testing.assert_allclose(_rates("cosine")[50], 1.0, rtol=1e-6)
    np.testing.assert_allclose(_rates("linear")[50], 1.0, rtol=1e-6)


def test_wsd_stays_at_the_peak_until_it_falls_at_the_end() -> None:
    rates = _rates("wsd", warmup=0.1, final=0.1, decay=0.2)
    np.testing.assert_allclose(rates[10:81], 2.0, rtol=1e-6)
    assert rates[9] < 2.0
    np.testing.assert_allclose(rates[80:], np.linspace(2.0, 0.2, 21)[:-1], rtol=1e-5)
    np.testing.assert_allclose(_rates("wsd", warmup=0.1)[10:], 2.0)
    np.testing.assert_allclose(_rates("wsd", warmup=0.5, decay=1.0)[50:], _rates("linear", warmup=0.5)[50:], rtol=1e-6)


def test_the_same_step_has_the_same_rate_under_jit() -> None:
    rate = schedule("cosine", 1e-4, 37, warmup=0.1)
    compiled = jax.jit(rate)
    steps = [jnp.int32(step) for step in range(37)]
    np.testing.assert_allclose([compiled(step) for step in steps], [rate(step) for step in steps], rtol=1e-5)


def test_decay_spares_the_scales_of_norms() -> None:
    flat, _ = jax.tree_util.tree_flatten_with_path(decayed(parameters_of(create(SMALL, 0))))
    spared = {"/".join(key.key for key in path) for path, is_decayed in flat if not is_decayed}
    assert spared == {"layers/attention_norm/scale", "layers/feed_forward_norm/scale", "norm/scale"}


def test_clipping_bounds_what_reaches_the_moments() -> None:
    optimizer = adamw(schedule("constant", 1.0, 10), b1=0.0, clip=0.5)
    parameters = {"matrix": jnp.zeros((2, 2))}
    state = optimizer.transformation.init(parameters)
    _, state = optimizer.transformation.update({"matrix": jnp.full((2, 2), 100.0)}, state, parameters)
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (2, 2)]
    np.testing.assert_allclose(jnp.linalg.norm(moments[0]), 0.5, rtol=1e-6)
