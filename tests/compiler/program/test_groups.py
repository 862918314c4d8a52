"""Groups of parameters: which is whose, what is trained, and what a group's share and weight decay do."""

from __future__ import annotations

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler import stages
from compiler.program.config import Parameters
from compiler.program.decoder import merged, parameter_shapes
from compiler.program.groups import group_of, idle, leaves, split
from compiler.program.optimizer import Optimizer, build
from compiler.stages import Group
from tests.compiler.program.small import SMALL

ATTENTION = Group(paths="layers.attention.*", lr="0.5", weight_decay=None)
NORMS = Group(paths="*norm*", lr="0", weight_decay=None)
QUERY = Group(paths="layers.attention.query.weight", lr=None, weight_decay="0")
CONSTANT = stages.Schedule(kind="constant", warmup="0", final="1")
ADAMW = stages.AdamW(lr="0.01", b1="0.9", b2="0.99", eps="1e-8", weight_decay="0.1")
CHOSEN = (
    ADAMW,
    stages.Adafactor(lr="0.01", decay="0.8", clip="1", weight_decay="0.1"),
    stages.Muon(lr="0.01", momentum="0.95", weight_decay="0.1", other_lr="0.01"),
    stages.SGD(lr="0.01", momentum="0.9", nesterov=False, weight_decay="0.1"),
)


def built(
    chosen: stages.Optimizer, groups: tuple[Group, ...], shapes: Parameters, clip: str | None = None
) -> Optimizer:
    return build(chosen, CONSTANT, groups, 10, Fraction(0), Fraction(0), clip, shapes)


def small() -> Parameters:
    """One matrix of each kind; layers on axis 0."""
    random = np.random.default_rng(0)
    layers = {
        "attention": {"query": {"weight": random.standard_normal((2, 4, 6)), "bias": np.ones((2, 6))}},
        "feed_forward": {"up": {"weight": random.standard_normal((2, 4, 6))}},
        "norm": {"scale": np.ones((2, 4))},
    }
    tree = {"embedding": random.standard_normal((5, 4)), "layers": layers}
    return jax.tree.map(lambda x: jnp.asarray(x, dtype=jnp.float32), tree)


def changes(optimizer: Optimizer, parameters: Parameters, scale: float = 1.0) -> dict[str, jax.Array]:
    """The first update for a gradient that differs everywhere."""
    gradient = jax.tree.map(
        lambda x: scale * jnp.sin(jnp.arange(x.size, dtype=jnp.float32) ** 2).reshape(x.shape), parameters
    )
    updates, _ = optimizer.transformation.update(gradient, optimizer.transformation.init(parameters), parameters)
    return {".".join(path): x for path, x in leaves(updates)}


def test_the_first_group_whose_pattern_is_the_whole_path_has_a_parameter() -> None:
    path = ("layers", "attention", "query", "weight")
    assert group_of((NORMS, ATTENTION, QUERY), path) == 1
    assert group_of((QUERY, ATTENTION), path) == 0
    assert group_of((Group(paths="layers.attention", lr="0", weight_decay=None),), path) is None
    assert group_of((Group(paths="layers?attention.*", lr="0", weight_decay=None),), path) is None
    assert group_of((Group(paths="*", lr="0", weight_decay=None),), path) == 0


def test_frozen_groups_are_split_off_and_put_back() -> None:
    shapes = parameter_shapes(SMALL)
    trained, frozen = split(shapes, (ATTENTION, NORMS))
    assert {".".join(path) for path, _ in leaves(frozen)} == {
        "layers.attention_norm.scale",
        "layers.feed_forward_norm.scale",
        "norm.scale",
    }
    assert merged(trained, frozen) == shapes
    assert split(shapes, (ATTENTION,)) == (shapes, {})


def test_groups_without_parameters_are_told() -> None:
    lost = Group(paths="layers.*.qeury.*", lr="0", weight_decay=None)
    assert idle(parameter_shapes(SMALL), (ATTENTION, lost, QUERY)) == [lost, QUERY]


@pytest.mark.parametrize("chosen", CHOSEN, ids=lambda chosen: chosen.kind)
def test_a_group_has_its_share_of_the_learning_rate(chosen: stages.Optimizer) -> None:
    parameters = small()
    plain, grouped = (changes(built(chosen, groups, parameters), parameters) for groups in ((), (ATTENTION,)))
    for name in plain:
        share = 0.5 if name.startswith("layers.attention.") else 1.0
        np.testing.assert_allclose(grouped[name], share * plain[name], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("chosen", CHOSEN, ids=lambda chosen: chosen.kind)
def test_a_group_has_its_own_weight_decay_and_scales_and_biases_have_none(chosen: stages.Optimizer) -> None:
    parameters = small()
    without = changes(built(chosen.model_copy(update={"weight_decay": "0"}), (), parameters), parameters)
    query = Group(paths="*.query.*", lr=None, weight_decay="0.7")
    got = changes(built(chosen, (query,), parameters), parameters)
    for (path, value), name in zip(leaves(parameters), without, strict=True):
        decay = 0.0 if path[-1] in ("scale", "bias") else 0.7 if "query" in path else 0.1
        np.testing.assert_allclose(got[name] - without[name], -0.01 * decay * value, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("chosen", CHOSEN, ids=lambda chosen: chosen.kind)
def test_what_is_frozen_has_no_state(chosen: stages.Optimizer) -> None:
    parameters = small()
    trained, frozen = split(parameters, (Group(paths="*norm*", lr="0", weight_decay=None), ATTENTION))
    assert [path[-1] for path, _ in leaves(frozen)] == ["scale"]
    state = jax.eval_shape(built(chosen, (NORMS, ATTENTION), trained).transformation.init, trained)
    assert not [x for x in jax.tree.leaves(state) if x.shape == (2, 4)]


def test_clipping_is_over_all_that_is_trained_whatever_its_group() -> None:
    parameters = small()
    sgd = stages.SGD(lr="1", momentum="0", nesterov=False, weight_decay="0")
    got = changes(built(sgd, (QUERY,), parameters, clip="0.5"), parameters, scale=100.0)
    np.testing.assert_allclose(sum(jnp.sum(x * x) for x in got.values()) ** 0.5, 0.5, rtol=1e-5)


@pytest.mark.parametrize("chosen", CHOSEN, ids=lambda chosen: chosen.kind)
def test_a_moment_lies_at_the_end_of_its_parameters_path(chosen: stages.Optimizer) -> None:
    """Meshes place moments by this."""
    shapes = {".".join(path): x.shape for path, x in leaves(small())}
    state = jax.eval_shape(built(chosen, (QUERY,), small()).transformation.init, small())
    for keys, x in jax.tree_util.tree_flatten_with_path(state)[0]:
        path = jax.tree_util.keystr(keys, simple=True, separator=".")
        owner = next((name for name in shapes if path.endswith(f".{name}")), None)
        assert owner is not None or path.endswith(".count"), path
        assert x.shape in ((shapes[owner] if owner else ()), (), (2,), (2, 1), (1,)), path


def test_muon_orthogonalises_each_layer_for_itself() -> None:
    """All singular values of an update are about the learning rate, times the root of 6 / 4."""
    parameters = small()
    muon = stages.Muon(lr="0.01", momentum="0.95", weight_decay="0", other_lr="0.01")
    got = changes(built(muon, (), parameters), parameters)
    for layer in got["layers.feed_forward.up.weight"]:
        values = np.linalg.svd(layer, compute_uv=False) / (0.01 * 1.5**0.5)
        assert (values > 0.6).all()
        assert (values < 1.3).all()
    np.testing.assert_allclose(jnp.abs(got["embedding"][0, 1:]), 0.01, rtol=1e-3)  # Adam's first step


def test_one_adafactor_update_is_clipped_by_layer() -> None:
    """With so low a clip, each layer's update has the learning rate times the clip as its root mean square."""
    parameters = small()
    adafactor = stages.Adafactor(lr="0.01", decay="0.8", clip="0.1", weight_decay="0")
    for layer in changes(built(adafactor, (), parameters), parameters)["layers.feed_forward.up.weight"]:
        np.testing.assert_allclose(jnp.sqrt(jnp.mean(layer * layer)), 0.001, rtol=1e-4)
