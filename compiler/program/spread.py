"""Parts of a program that say themselves what each device computes, because XLA's own choice would cost memory."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownLambdaType=false

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from compiler.program.config import Precision
from compiler.program.execution import Execution
from compiler.program.sharding import spec_of

RowFunction = Callable[[jax.Array, jax.Array, tuple[jax.Array, ...]], Any]


def looked_up(table: jax.Array, tokens: jax.Array, dtype: Precision, execution: Execution) -> jax.Array:
    """Rows of an embedding table: `[rows, length, hidden]` in `dtype`, for int32 `tokens [rows, length]`.

    Where the table is spread over `fsdp` it isn't gathered: each device looks up its channels for the tokens of all,
    and then the devices trade channels of all tokens for all channels of their tokens.
    """
    mesh = execution.mesh
    if mesh is None:
        return table[tokens].astype(dtype)
    vocabulary, hidden = tuple(spec_of(("embedding",), table.shape, mesh))
    rows = execution.axes("rows", tokens.shape[0])

    def local(table: jax.Array, tokens: jax.Array) -> jax.Array:
        trade = hidden is not None and "fsdp" in rows
        if trade:
            tokens = jax.lax.all_gather(tokens, "fsdp", axis=0, tiled=True)
        if vocabulary is not None:
            first = jax.lax.axis_index("tensor") * table.shape[0]
            mine = (tokens >= first) & (tokens < first + table.shape[0])
            found = table[jnp.where(mine, tokens - first, 0)].astype(dtype)
            found = jax.lax.psum(jnp.where(mine[..., None], found, jnp.zeros((), dtype)), "tensor")
        else:
            found = table[tokens].astype(dtype)
        if trade:
            return jax.lax.all_to_all(found, "fsdp", split_axis=0, concat_axis=2, tiled=True)
        if hidden is not None:
            return jax.lax.all_gather(found, "fsdp", axis=2, tiled=True)
        return found

    rows_spec = PartitionSpec(rows or None)
    return jax.shard_map(
        local, mesh=mesh, in_specs=(PartitionSpec(vocabulary, hidden), rows_spec), out_specs=rows_spec, check_vma=False
    )(table, tokens)


def by_rows(
    function: Callable[..., Any], execution: Execution, hidden: jax.Array, output: jax.Array, *others: jax.Array
) -> Any:
    """`function(axis, hidden, output, *others)` on each device's rows, whose results have rows on axis 0.

    Args:
        function: its first argument is the mesh axis that its output matrix is spread over by the vocabulary, None
            where it is whole (see `vocabulary`). The matrix is float32, with values that the dtype of `hidden` has.
        execution: where rows lie.
        hidden: `[rows, …]`.
        output: float32 `[vocabulary, hidden]`. Its gradient is summed on each device over all of its tokens, and only
            then over devices, each of which gets its part.
        others: `[rows, …]`.
    """
    mesh = execution.mesh
    rows = () if mesh is None else execution.axes("rows", hidden.shape[0])
    if mesh is None or not rows:
        return function(None, hidden, output, *others)
    vocabulary, channels = tuple(spec_of(("output",), output.shape, mesh))
    spread = channels is not None and "fsdp" in rows

    def local(hidden: jax.Array, output: jax.Array, *others: jax.Array) -> Any:
        return function(vocabulary, hidden, _whole(output, hidden.dtype, spread), *others)

    of_rows = PartitionSpec(rows)
    matrix = PartitionSpec(vocabulary, channels if spread else None)
    over = {"in_specs": (of_rows, matrix, *(of_rows for _ in others)), "out_specs": of_rows}
    return cast(Any, jax.shard_map)(local, mesh=mesh, check_vma=False, **over)(hidden, output, *others)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _whole(part: jax.Array, dtype: Any, spread: bool) -> jax.Array:
    x = part.astype(dtype)  # what travels; `function` gets float32 again, and with it gives a float32 gradient
    return (jax.lax.all_gather(x, "fsdp", axis=1, tiled=True) if spread else x).astype(part.dtype)


def _whole_forward(part: jax.Array, dtype: Any, spread: bool) -> tuple[jax.Array, None]:
    return _whole(part, dtype, spread), None


def _whole_backward(dtype: Any, spread: bool, residuals: None, gradient: jax.Array) -> Any:
    return (jax.lax.psum_scatter(gradient, "fsdp", scatter_dimension=1, tiled=True) if spread else gradient,)


_whole.defvjp(_whole_forward, _whole_backward)
