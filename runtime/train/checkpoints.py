"""Checkpoints of a train step: weights after updates, and the optimizer's state of the newest two."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import orbax.checkpoint as ocp

from compiler.program.config import Parameters
from compiler.program.optimizer import Optimizer
from compiler.program.step import TrainState, initial_state
from runtime.disk import disk_errors, require_room
from runtime.errors import UserError
from runtime.train.committed import STATES, Part, committed, damage_in, mark, prune, remove_uncommitted, weights_at

_MARGIN = 1 << 20
_TIMEOUT_SECONDS = 6 * 3600


class Checkpoints:
    """Saves into `folder/weights/UPDATE` and `folder/state/UPDATE` while training goes on.

    A state is the optimizer's alone; its parameters are the weights of the same update, and one counts with the other.
    Used as a context manager: leaving it waits until everything is committed.

    Args:
        folder: the train step's.
        wanted: updates whose weights stay; those of others go with their state.
        data: digests of what training reads, noted in each checkpoint.
    """

    def __init__(self, folder: Path, wanted: AbstractSet[int], data: Mapping[str, str]) -> None:
        self.folder = folder
        self._wanted = wanted
        self._data = dict(data)
        self._quiet = _quiet()
        # One for each part: a checkpointer's second save would wait for its first.
        self._checkpointers: dict[Part, ocp.AsyncCheckpointer] = {"weights": _checkpointer(), "state": _checkpointer()}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._under_way: Future[None] | None = None

    def save(self, update: int, state: TrainState, *, resumable: bool) -> None:
        """Begins to save, and returns when `state` may be donated; waits first for a save under way.

        No copy is made on the CPU: the arrays being written are views of the state's buffers, and XLA leaves a buffer
        that is seen from elsewhere out of a donation. Accelerators copy to the host.

        Args:
            update: how many updates were made.
            state: after `update` updates.
            resumable: saves the optimizer's state too.

        Raises:
            UserError: the disk is full or can't be written to, now or in a save before.
        """
        self.wait()
        trees: dict[Part, Any] = {}
        if update not in weights_at(self.folder):
            trees["weights"] = state.parameters
        if resumable and update not in committed(self.folder, "state"):
            trees["state"] = _named(_carried(state))
        need = sum(leaf.nbytes for leaf in jax.tree.leaves(trees)) + _MARGIN
        with disk_errors(self.folder, need):
            require_room(self.folder, need)
            for part, tree in trees.items():
                path = (self.folder / part / str(update)).absolute()
                self._checkpointers[part].save(path, args=ocp.args.PyTreeSave(tree))
        self._under_way = self._thread.submit(self._commit, update, list(trees), need)

    def check(self) -> None:
        """Raises what a save under way has met, if anything; doesn't wait."""
        if self._under_way is not None and self._under_way.done():
            self.wait()

    def wait(self) -> None:
        """Returns when all is committed. Raises UserError if the disk is full or can't be written to."""
        if self._under_way is not None:
            done, self._under_way = self._under_way, None
            done.result()

    def __enter__(self) -> Self:
        self._quiet.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._thread.shutdown()
            for checkpointer in self._checkpointers.values():
                with suppress(Exception):  # a failed save is told by `wait`, and once more here
                    checkpointer.close()
            self._quiet.__exit__(None, None, None)

    def _commit(self, update: int, parts: list[Part], need: int) -> None:
        with disk_errors(self.folder, need):
            failures = [error for part in parts if (error := _failure(self._checkpointers[part])) is not None]
            try:
                if failures:
                    raise failures[0]
                for part in parts:
                    mark(self.folder, part, update, self._data, kept=update in self._wanted)
            except BaseException:
                remove_uncommitted(self.folder)  # gives the room back
                raise
            prune(self.folder, self._wanted, update, STATES)


def load_weights(folder: Path, update: int, abstract: Parameters) -> Parameters:
    """The parameters after `update` updates.

    Args:
        folder: a train step's.
        update: one of `weights_at(folder)`.
        abstract: a `jax.ShapeDtypeStruct` for each array; its sharding, on any mesh, is that of the result (one device
            where it has none).

    Raises:
        UserError: the files are damaged.
    """
    path = folder / "weights" / str(update)
    wrong = damage_in(folder, "weights", update)
    if wrong is not None:
        raise UserError(
            f"weights are damaged: {wrong}",
            f"rm -r {path}, and run again: training makes them anew, from the last good checkpoint",
            str(path),
        )
    return _restore(path, abstract)


def first_state(parameters: Parameters, abstract: Parameters, optimizer: Optimizer) -> TrainState:
    """The state before the first update, placed as `load_state` places a saved one, so that one program serves both."""
    state = initial_state(optimizer, jax.device_put(parameters, jax.tree.map(_sharding, abstract)))
    beside = jax.tree.leaves(state.parameters)[0].sharding
    if isinstance(beside, jax.sharding.NamedSharding):
        beside = jax.sharding.NamedSharding(beside.mesh, jax.sharding.PartitionSpec())
    # Moments lie where their parameters do; counts, which no parameter has placed yet, on all devices of the mesh.
    return jax.tree.map(lambda x: x if x.committed else jax.device_put(x, beside), state)


def load_state(folder: Path, update: int, abstract: Parameters, optimizer: Optimizer) -> TrainState:
    """The whole state after `update` updates, which is a `resume_point`; `abstract` as for `load_weights`."""
    fresh = first_state(_restore(folder / "weights" / str(update), abstract), abstract, optimizer)
    leaves, structure = jax.tree.flatten(_carried(fresh))
    names = list(_named(_carried(fresh)))
    places = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding) for leaf in leaves]
    parameters = fresh.parameters
    del fresh, leaves  # the moments' memory, before those that were saved are read
    saved = _restore(folder / "state" / str(update), dict(zip(names, places, strict=True)))
    moments, step = jax.tree.unflatten(structure, [saved[name] for name in names])
    return TrainState(parameters, moments, step)


def _carried(state: TrainState) -> tuple[Any, jax.Array]:
    return state.optimizer, state.step


def _named(tree: Any) -> dict[str, Any]:
    """Leaves by their path, in the tree's order: files that don't depend on optax's classes."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _checkpointer() -> ocp.AsyncCheckpointer:
    return ocp.AsyncCheckpointer(_handler(), async_options=ocp.AsyncOptions(timeout_secs=_TIMEOUT_SECONDS))


def _handler() -> ocp.PyTreeCheckpointHandler:
    # Float32 weights are noise to zstd: 8% smaller, seven times as slow. OCDBT packs the arrays into a few files: each
    # one costs time to sync and to remove, and inodes on a cluster's disk.
    return ocp.PyTreeCheckpointHandler(use_ocdbt=True, use_zarr3=True, use_compression=False)


def _restore(path: Path, abstract: Any) -> Any:
    placed = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=_sharding(x)), abstract)
    arguments = ocp.args.PyTreeRestore(placed, restore_args=ocp.checkpoint_utils.construct_restore_args(placed))
    with disk_errors(path), ocp.Checkpointer(_handler()) as checkpointer:
        return checkpointer.restore(path.absolute(), args=arguments)


def _sharding(x: jax.ShapeDtypeStruct) -> jax.sharding.Sharding:
    return x.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def _failure(checkpointer: ocp.AsyncCheckpointer) -> Exception | None:
    try:
        checkpointer.wait_until_finished()
    except Exception as error:
        return error
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Orbax from printing tracebacks of errors that it raises all the same.

    It logs them in every thread they pass, and where one write of several fails (a full disk), the others end in an
    event loop that is closed by then.
    """
    absl, hook = logging.getLogger("absl"), sys.unraisablehook
    level = absl.level

    def without_closed_loops(problem: sys.UnraisableHookArgs, /) -> None:
        if not (isinstance(problem.exc_value, RuntimeError) and str(problem.exc_value) == "Event loop is closed"):
            hook(problem)

    absl.setLevel(logging.CRITICAL)
    sys.unraisablehook = without_closed_loops
    try:
        yield
    finally:
        absl.setLevel(level)
        sys.unraisablehook = hook
