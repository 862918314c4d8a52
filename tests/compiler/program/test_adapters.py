"""Low-rank adapters: first values, dropout, merging, and that nothing else has a gradient."""

from __future__ import annotations

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from compiler.program.adapters import initial_adapter, merge
from compiler.program.config import LoRA, Parameters
from compiler.program.decoder import adapter_shapes, assemble, create, merged, parameters_of
from compiler.program.execution import Execution
from compiler.program.groups import leaves
from compiler.program.linear import dropout_keys, dropped
from compiler.program.mesh import make_mesh
from compiler.program.objectives import Given, log_probabilities, supervised, target_count
from compiler.program.optimizer import adamw, schedule
from compiler.program.sharding import replicated, rows_sharding
from compiler.program.step import TrainState, TrainStep, initial_state, make_train_step
from tests.compiler.program.small import SMALL, packed

LORA = LoRA(rank=4, alpha=6.0, dropout=0.0, on=("attention", "mlp"))
ROWS = [[5, 9, 4], [20], [1, 2, 1], [16, 4]]
BATCH = packed(ROWS, 20)


@functools.cache
def base() -> Parameters:
    return parameters_of(create(SMALL, 0))


def filled(lora: LoRA = LORA) -> Parameters:
    """An adapter that changes something: no array of it is zero."""
    random = np.random.default_rng(1)
    shapes = adapter_shapes(SMALL, lora)
    return jax.tree.map(lambda x: jnp.asarray(0.1 * random.standard_normal(x.shape, dtype=np.float32)), shapes)


@functools.partial(jax.jit, static_argnames="lora")
def values(parameters: Parameters, keys: jax.Array | None = None, lora: LoRA | None = None) -> jax.Array:
    decoder = assemble(SMALL, parameters, lora, keys)
    return log_probabilities(decoder, BATCH.tokens, BATCH.segments, BATCH.positions, chunk=32)


def test_an_adapter_begins_as_peft_begins_and_changes_nothing() -> None:
    adapter = initial_adapter(SMALL, LORA, 3)
    assert jax.tree.map(jnp.shape, adapter) == jax.tree.map(jnp.shape, adapter_shapes(SMALL, LORA))
    for path, x in leaves(adapter):
        if path[-1] == "up":
            assert not x.any()
        else:  # uniform up to one over the root of the inputs
            bound = x.shape[1] ** -0.5
            assert 0.9 * bound < jnp.abs(x).max() <= bound
            assert abs(float(x.std()) * 3**0.5 / bound - 1) < 0.15
            assert not jnp.array_equal(x[0], x[1])  # each layer has its own
    np.testing.assert_array_equal(values(merged(base(), adapter), lora=LORA), values(base()))


def test_first_values_follow_the_seed_and_not_the_other_targets() -> None:
    one, again, other = (initial_adapter(SMALL, LORA, seed) for seed in (1, 1, 2))
    attention = initial_adapter(SMALL, replace(LORA, on=("attention",)), 1)
    query = lambda adapter: adapter["layers"]["attention"]["query"]["down"]  # noqa: E731
    assert jax.tree.all(jax.tree.map(jnp.array_equal, one, again))
    assert not jnp.array_equal(query(one), query(other))
    assert not jnp.array_equal(query(one), one["layers"]["attention"]["key"]["down"])
    assert jnp.array_equal(query(one), query(attention))
    assert attention["layers"].keys() == {"attention"}


def test_a_merged_adapter_computes_the_same() -> None:
    adapter = filled()
    beside = values(merged(base(), adapter), lora=LORA)
    assert jnp.abs(beside - values(base())).max() > 0.05
    whole = merge(base(), adapter, LORA)
    np.testing.assert_allclose(values(whole), beside, atol=2e-5)
    assert whole["embedding"] is base()["embedding"]
    assert {x.dtype for _, x in leaves(whole)} == {jnp.dtype("float32")}
    by_hand = base()["layers"]["feed_forward"]["down"]["weight"][1] + 1.5 * (
        adapter["layers"]["feed_forward"]["down"]["down"][1] @ adapter["layers"]["feed_forward"]["down"]["up"][1]
    )
    np.testing.assert_allclose(whole["layers"]["feed_forward"]["down"]["weight"][1], by_hand, atol=1e-6)


def test_dropout_is_of_the_adapters_input_alone_and_only_with_keys() -> None:
    dropping = replace(LORA, dropout=0.5)
    both = merged(base(), filled())
    keys = jax.random.split(jax.random.key(0), len(ROWS))
    np.testing.assert_array_equal(values(both, None, dropping), values(both, None, LORA))
    drawn = values(both, keys, dropping)
    assert jnp.abs(drawn - values(both, None, LORA)).max() > 0.02
    np.testing.assert_array_equal(values(both, keys, dropping), drawn)
    assert not jnp.array_equal(values(both, keys[::-1], dropping), drawn)
    nothing = initial_adapter(SMALL, LORA, 0)  # up is zero: whatever is dropped, the base stays as it is
    np.testing.assert_array_equal(values(merged(base(), nothing), keys, dropping), values(base()))


def test_what_a_row_drops_doesnt_depend_on_the_rows_beside_it() -> None:
    dropping, both = replace(LORA, dropout=0.3), merged(base(), filled())
    keys = jax.random.split(jax.random.key(0), len(ROWS))
    alone = assemble(SMALL, both, dropping, keys[2:3])
    got = log_probabilities(alone, *(x[2:3] for x in BATCH[:3]), chunk=32)
    np.testing.assert_allclose(got[0], values(both, keys, dropping)[2], atol=2e-6)


def test_a_share_of_the_input_is_dropped_and_the_rest_scaled() -> None:
    x = jnp.ones((2, 50, 40))
    keys = dropout_keys(3, replace(LORA, dropout=0.25), jax.random.split(jax.random.key(0), 2))
    flat = [each for _, each in leaves(keys)]
    assert len(flat) == 7
    masks = [dropped(x, each[layer], 0.25) for each in flat for layer in range(3)]
    assert len({np.asarray(mask).tobytes() for mask in masks}) == 21  # by layer and by matrix
    assert set(np.unique(masks)) == {0.0, np.float32(1 / 0.75)}
    assert abs(float(jnp.mean(jnp.stack(masks))) - 1) < 0.01


OPTIMIZER = adamw(schedule("constant", 1e-2, 10))


@functools.cache
def adapters_step() -> TrainStep:
    return make_train_step(supervised(SMALL, "float32", chunk=32, lora=LORA), OPTIMIZER)


def start(lora: LoRA = LORA) -> TrainState:
    return initial_state(OPTIMIZER, initial_adapter(SMALL, lora, 0))


def test_two_devices_and_micro_batches_drop_what_the_whole_batch_drops() -> None:
    lora = replace(LORA, dropout=0.3, on=("mlp",))
    ends = []
    for mesh, parts in ((None, 1), (make_mesh({"data": 2}), 2)):
        loss = supervised(SMALL, "float32", chunk=32, lora=lora, execution=Execution(mesh))
        step = make_train_step(loss, OPTIMIZER, parts, 5, mesh)
        batch = BATCH if mesh is None else jax.device_put(BATCH, rows_sharding(mesh))
        state, frozen = (
            (start(lora), base()) if mesh is None else jax.device_put((start(lora), base()), replicated(mesh))
        )
        for _ in range(2):
            state, metrics = step(state, frozen, batch, target_count(BATCH))
        ends.append(metrics.loss)
    np.testing.assert_allclose(*ends, rtol=2e-6)


def test_only_the_adapter_is_trained() -> None:
    """No gradient, no moment and no buffer for anything else; the base's arrays stay as they are, and aren't copied."""
    step = adapters_step()
    before = jax.tree.map(lambda x: (x.unsafe_buffer_pointer(), np.array(x)), base())
    state, count = start(), target_count(BATCH)
    adapter = sum(x.size for x in jax.tree.leaves(state.parameters))
    assert sum(x.size for x in jax.tree.leaves(state.optimizer)) == 2 * adapter + 2
    first = None
    for _ in range(6):
        state, metrics = step(state, base(), BATCH, count)
        first = first or metrics.loss
    assert metrics.loss < 0.98 * first
    after = jax.tree.map(lambda x: (x.unsafe_buffer_pointer(), np.array(x)), base())
    assert jax.tree.all(jax.tree.map(np.array_equal, before, after))


def test_the_compiled_step_holds_no_gradient_of_frozen_matrices() -> None:
    """Looked for by shape: the program makes an array of the embedding's shape where it trains it, and else doesn't."""

    def text(step: TrainStep, state: TrainState, frozen: Parameters) -> str:
        return step.lower(*jax.tree.map(shape, (state, frozen, BATCH, target_count(BATCH)))).compile().as_text()

    def shape(x: jax.Array) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype)

    def made(program: str, shape: str) -> int:
        """Results of this shape that aren't arguments, tuples' parts or other views."""
        views = ("parameter(", "get-tuple-element(", "bitcast(", "tuple(", "while(")
        lines = (line for line in program.splitlines() if f"= {shape}" in line)
        return sum(not any(view in line for view in views) for line in lines)

    embedding = f"f32[{SMALL.vocabulary},{SMALL.hidden}]"
    gate = f"f32[{SMALL.layers},{SMALL.hidden},{SMALL.intermediate}]"
    whole = make_train_step(supervised(SMALL, "float32", chunk=32), OPTIMIZER)
    full = text(whole, initial_state(OPTIMIZER, base()), {})
    adapter = text(adapters_step(), start(), base())
    assert made(full, embedding) > 0
    assert made(full, gate) > 0
    assert made(adapter, embedding) == 0
    assert made(adapter, gate) == 0


def test_loss_is_taken_of_adapter_and_base_together() -> None:
    adapter = filled()
    loss = supervised(SMALL, "float32", chunk=32, lora=LORA)
    keys = jax.random.split(jax.random.key(0), len(ROWS))
    got, _ = loss(Given(adapter, base(), keys), BATCH, target_count(BATCH))
    plain = supervised(SMALL, "float32", chunk=32)
    expected, _ = plain(Given(merge(base(), adapter, LORA), {}, keys), BATCH, target_count(BATCH))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
