"""Log-probabilities of tokens that go on from trees of tokens: what several texts begin with is read once."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from compiler.program.blocked import Branches
from compiler.program.compiled import Compiled, compiled
from compiler.program.config import DecoderConfig, Parameters, Precision
from compiler.program.decoder import assemble
from compiler.program.execution import ONE_DEVICE, Execution
from compiler.program.objectives import token_log_probabilities
from compiler.program.spread import by_rows


class Forest(NamedTuple):
    """Rows of trees of tokens, and the tokens that are looked for behind them. A pytree; all int32.

    A token that only is looked for and that nothing goes on from stands in no row: it needn't be read.
    """

    tokens: jax.Array
    """`[rows, length]`: token ids; any valid id where the row is padding."""
    positions: jax.Array
    """`[rows, length]`, see `Branches`."""
    ends: jax.Array
    """`[rows, length]`, see `Branches`."""
    places: jax.Array
    """`[rows, targets]`: the place in the row of the token that a target follows; any where there is no target."""
    targets: jax.Array
    """`[rows, targets]`: token ids."""


BranchLogProbabilities: TypeAlias = Compiled[[Parameters, Forest], jax.Array]


def make_branch_log_probabilities(
    config: DecoderConfig,
    precision: Precision = "float32",
    chunk: int = 512,
    execution: Execution = ONE_DEVICE,
) -> BranchLogProbabilities:
    """The natural log of each target's probability given what it goes on from; compiled on first use for each shape.

    Logits are computed for targets alone, `chunk` at a time on a device.

    Returns:
        A function of parameters (see `decoder.assemble`) and a forest to float32 `[rows, targets]`, with any number
        where there is no target.
    """

    @compiled()
    def of_forest(parameters: Parameters, forest: Forest) -> jax.Array:
        decoder = assemble(config, parameters)
        branches = Branches(forest.positions, forest.ends)
        hidden = decoder(forest.tokens, branches, forest.positions, precision, execution)

        def of_rows(axis: str | None, hidden: jax.Array, output: jax.Array, *others: jax.Array) -> jax.Array:
            places, targets = others
            states = jnp.take_along_axis(hidden, places[:, :, None], axis=1).reshape(-1, hidden.shape[-1])
            values = token_log_probabilities(states, output, targets.reshape(-1), chunk, config.final_softcap, axis)
            return values.reshape(targets.shape)

        return by_rows(of_rows, execution, hidden, decoder.output_matrix(), forest.places, forest.targets)

    return of_forest
