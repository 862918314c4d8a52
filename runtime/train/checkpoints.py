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
from orbax.checkpoint._src.serialization import tensorstore_utils

from compiler.program.config import Parameters
from compiler.program.optimizer import Optimizer
from compiler.program.step import TrainState, initial_state
from runtime.disk import disk_errors, require_room
from runtime.distributed import ALONE, Processes
from runtime.errors import UserError
from runtime.train.committed import (
    PARTS,
    STATES,
    Part,
    committed,
    damage_in,
    mark,
    prune,
    remove_uncommitted,
    weights_at,
)
from runtime.train.placement import put, state_shapes

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

    def __init__(
        self, folder: Path, wanted: AbstractSet[int], data: Mapping[str, str], processes: Processes = ALONE
    ) -> None:
        self.folder = folder
        self._processes = processes.branch("saves")
        self._committing: dict[Part, Processes] = {part: processes.branch(part) for part in PARTS}
        self._pruning = processes.branch("prunes")
        self._wanted = wanted
        self._data = dict(data)
        self._quiet = _quiet()
        # One for each part: a checkpointer's second save would wait for its first.
        self._checkpointers: dict[Part, ocp.AsyncCheckpointer] = {part: _checkpointer(part) for part in PARTS}
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
        trees: dict[Part, Any] = {"weights": state.parameters, "state": _named(_carried(state))}
        missing = self._processes.told(lambda: self._missing(update, resumable=resumable))
        need = sum(leaf.nbytes for part in missing for leaf in jax.tree.leaves(trees[part])) + _MARGIN
        with disk_errors(self.folder, need):
            if self._processes.first:
                require_room(self.folder, need)
            for part in missing:
                path = (self.folder / part / str(update)).absolute()
                self._checkpointers[part].save(path, args=ocp.args.PyTreeSave(trees[part]))
        self._under_way = self._thread.submit(self._commit, update, missing, need)

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
            self._quiet.__exit__(kind, error, trace)

    def _missing(self, update: int, *, resumable: bool) -> list[Part]:
        """Parts of an update that are wanted and not there yet."""
        there: dict[Part, bool] = {
            "weights": update in weights_at(self.folder),
            "state": not resumable or update in committed(self.folder, "state"),
        }
        return [part for part, is_there in there.items() if not is_there]

    def _commit(self, update: int, parts: list[Part], need: int) -> None:
        with disk_errors(self.folder, need):
            with ThreadPoolExecutor(len(PARTS)) as pool:
                failures = [error for error in pool.map(lambda part: self._commit_part(update, part), parts) if error]
            if failures:
                if self._pruning.count == 1:
                    remove_uncommitted(self.folder)  # gives the room back
                raise failures[0]
            if self._pruning.first:
                prune(self.folder, self._wanted, update, STATES)
            self._pruning.together()  # nobody looks at what is there while it changes

    def _commit_part(self, update: int, part: Part) -> Exception | None:
        """Marks a part once it is written; what went wrong."""
        processes = self._committing[part]
        try:
            self._checkpointers[part].wait_until_finished()
            processes.together()  # the first process gives a checkpoint its name when all have written
            mark(self.folder, part, update, self._data, processes, kept=update in self._wanted)
        except Exception as error:
            return error
        return None


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
    placed = _placed(abstract)
    shapes = state_shapes(optimizer, placed)
    shardings = jax.tree.map(lambda x: x.sharding, shapes)
    begin = jax.jit(lambda given: initial_state(optimizer, given)[1:], out_shardings=tuple(shardings[1:]))
    given = jax.tree.map(put, parameters, shardings.parameters)
    return TrainState(given, *begin(given))


def load_state(folder: Path, update: int, abstract: Parameters, optimizer: Optimizer) -> TrainState:
    """The whole state after `update` updates, which is a `resume_point`; `abstract` as for `load_weights`."""
    shapes = state_shapes(optimizer, _placed(abstract))
    leaves, structure = jax.tree.flatten(_carried(shapes))
    names = list(_named(_carried(shapes)))
    parameters = _restore(folder / "weights" / str(update), shapes.parameters)
    saved = _restore(folder / "state" / str(update), dict(zip(names, leaves, strict=True)))
    moments, step = jax.tree.unflatten(structure, [saved[name] for name in names])
    return TrainState(parameters, moments, step)


def _carried(state: TrainState) -> tuple[Any, jax.Array]:
    return state.optimizer, state.step


def _named(tree: Any) -> dict[str, Any]:
    """Leaves by their path, in the tree's order: files that don't depend on optax's classes."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _without_syncs() -> None:
    """Has TensorStore leave it to `committed.mark` to bring files to the disk: while that sums them.

    Orbax has no option for it.
    """
    context: dict[str, Any] = tensorstore_utils._DEFAULT_OCDBT_TS_CONTEXT  # pyright: ignore[reportPrivateUsage]
    context["file_io_sync"] = False


def _checkpointer(part: Part) -> ocp.AsyncCheckpointer:
    _without_syncs()
    together = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=part)
    waiting = ocp.AsyncOptions(timeout_secs=_TIMEOUT_SECONDS)
    return ocp.AsyncCheckpointer(_handler(together), async_options=waiting, multiprocessing_options=together)


def _handler(processes: ocp.options.MultiprocessingOptions) -> ocp.PyTreeCheckpointHandler:
    # Float32 weights are noise to zstd: 8% smaller, seven times as slow. OCDBT packs the arrays into a few files: each
    # one costs time to sync and to remove, and inodes on a cluster's disk.
    return ocp.PyTreeCheckpointHandler(
        use_ocdbt=True, use_zarr3=True, use_compression=False, multiprocessing_options=processes
    )


def _restore(path: Path, abstract: Any) -> Any:
    placed = _placed(abstract)
    arguments = ocp.args.PyTreeRestore(placed, restore_args=ocp.checkpoint_utils.construct_restore_args(placed))
    processes = ocp.options.MultiprocessingOptions()
    if jax.process_count() > 1 and all(x.sharding.is_fully_addressable for x in jax.tree.leaves(placed)):
        alone = jax.process_index()  # as the first process evaluates, which waits for nobody
        processes = ocp.options.MultiprocessingOptions(alone, {alone}, f"alone{alone}")
    with (
        disk_errors(path),
        ocp.Checkpointer(_handler(processes), multiprocessing_options=processes) as checkpointer,
    ):
        return checkpointer.restore(path.absolute(), args=arguments)


def _placed(abstract: Any) -> Any:
    """Shapes with a sharding each: this process's first device where they have none."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=_sharding(x)), abstract)


def _sharding(x: jax.ShapeDtypeStruct) -> jax.sharding.Sharding:
    return x.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Orbax from printing tracebacks of errors that it raises all the same.

    It logs them in every thread they pass, and where one write of several fails (a full disk), the others end in an
    event loop that is closed by then.
    """
    loggers = {name: logging.getLogger(name) for name in ("absl", "asyncio")}
    levels, hook = {name: logger.level for name, logger in loggers.items()}, sys.unraisablehook

    def without_closed_loops(problem: sys.UnraisableHookArgs, /) -> None:
        if not (isinstance(problem.exc_value, RuntimeError) and str(problem.exc_value) == "Event loop is closed"):
            hook(problem)

    for logger in loggers.values():
        logger.setLevel(logging.CRITICAL)
    sys.unraisablehook = without_closed_loops
    try:
        yield
    except BaseException:
        levels["asyncio"] = logging.CRITICAL  # what nobody has asked for is told when it goes, at the very end
        raise
    finally:
        for name, logger in loggers.items():
            logger.setLevel(levels[name])
        sys.unraisablehook = hook
