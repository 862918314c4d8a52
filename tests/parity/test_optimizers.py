"""Optimizers against torch's and transformers', by the reference file that `make_optimizer_references.py` wrote."""

from __future__ import annotations

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from compiler import stages
from compiler.program.config import Parameters
from compiler.program.groups import leaves
from compiler.program.optimizer import build
from tests.parity.make_optimizer_references import (
    FACTORED,
    FILE,
    LEARNING_RATE,
    MOMENTUM,
    OTHER_RATE,
    UPDATES,
    WEIGHT_DECAY,
    arrays,
    kept,
    references,
)

NUMBERS = np.load(FILE)
LR, DECAY, SGD_MOMENTUM = str(LEARNING_RATE), str(WEIGHT_DECAY), str(MOMENTUM)

CHOSEN: dict[str, stages.Optimizer] = {
    "adamw": stages.AdamW(lr=LR, b1="0.9", b2="0.95", eps="1e-8", weight_decay=DECAY),
    "sgd": stages.SGD(lr=LR, momentum="0", nesterov=False, weight_decay=DECAY),
    "momentum": stages.SGD(lr=LR, momentum=SGD_MOMENTUM, nesterov=False, weight_decay=DECAY),
    "nesterov": stages.SGD(lr=LR, momentum=SGD_MOMENTUM, nesterov=True, weight_decay=DECAY),
    "adafactor": stages.Adafactor(lr=LR, decay="0.8", clip="1", weight_decay=DECAY),
    "muon": stages.Muon(lr=LR, momentum=SGD_MOMENTUM, weight_decay=DECAY, other_lr=str(OTHER_RATE)),
}


def nested(values: dict[str, np.ndarray]) -> Parameters:
    tree: Parameters = {}
    for name, value in values.items():
        *path, last = name.split(".")
        holder = tree
        for part in path:
            holder = holder.setdefault(part, {})
        holder[last] = jnp.asarray(value)
    return tree


def after(chosen: stages.Optimizer) -> dict[str, np.ndarray]:
    """The parameters after all updates by ours."""
    parameters = nested(arrays(0))
    constant = stages.Schedule(kind="constant", warmup="0", final="1")
    transformation = build(chosen, constant, (), UPDATES, Fraction(0), Fraction(0), None, parameters).transformation
    state, step = transformation.init(parameters), jax.jit(transformation.update)
    for update in range(1, UPDATES + 1):
        changes, state = step(nested(arrays(update)), state, parameters)
        parameters = optax.apply_updates(parameters, changes)
    return kept({".".join(path): np.asarray(value) for path, value in leaves(parameters)})


@pytest.mark.parametrize("name", CHOSEN)
def test_eight_updates_are_those_of_torch_and_transformers(name: str) -> None:
    begun, got = kept(arrays(0)), after(CHOSEN[name])
    for parameter in FACTORED if name == "adafactor" else got:
        change = got[parameter] - begun[parameter]
        expected = NUMBERS[f"{name}/{parameter}"] - begun[parameter]
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(change, expected, atol=2e-4 * np.abs(expected).max(), err_msg=parameter)


def test_torchs_muon_in_bfloat16_is_near() -> None:
    """torch orthogonalises in bfloat16, ours in float32."""
    begun, got = kept(arrays(0)), after(CHOSEN["muon"])
    for parameter in got:
        expected = NUMBERS[f"muon_bfloat16/{parameter}"] - begun[parameter]
        np.testing.assert_allclose(got[parameter] - begun[parameter], expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's and transformers' own
def test_the_reference_file_still_holds() -> None:
    pytest.importorskip("torch", reason="needs torch: pip install torch==2.13.0")
    pytest.importorskip("transformers", reason="needs transformers: pip install 'transformers==5.23.*'")
    for name, value in references().items():
        np.testing.assert_allclose(value, NUMBERS[name], atol=1e-5, rtol=1e-4, err_msg=name)
