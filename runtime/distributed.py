"""Several processes that run as one: how they find each other, agree, and end together."""

from __future__ import annotations

import atexit
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar, cast

from runtime.errors import UserError
from runtime.stopping import Stopped

T = TypeVar("T")

PORT = 8476
"""Of the first process, where nothing else is said; JAX's own."""
START_SECONDS = 300
"""How long processes wait for each other at the start."""
SILENCE_SECONDS = 30
"""After so long without a sign of life from one of them, all end."""
_POLL_SECONDS = 0.2
_WAIT_MILLISECONDS = 10_000
_FAREWELL_SECONDS = 5


@dataclass(frozen=True)
class Place:
    """Where a process stands among others."""

    address: str
    """HOST:PORT of the first one."""
    count: int
    index: int
    devices: tuple[int, ...] | None = None
    """Which devices of the machine are its own; None for all."""


def place_from(environment: Mapping[str, str]) -> Place | None:
    """The place that a launcher's environment gives this process; None where it runs alone.

    In this order: JAX's own variables, with which any launcher can say it; SkyPilot's; those of Slurm's steps (`srun`);
    those of a TPU pod slice on Kubernetes. An indexed Job of a JobSet gives the index, and JAX's variables the rest.

    Raises:
        UserError: some of what belongs together is missing.
    """
    get = environment.get
    if (address := get("JAX_COORDINATOR_ADDRESS")) is not None:
        index = get("JAX_PROCESS_ID") or get("JOB_COMPLETION_INDEX")
        return _place("JAX_COORDINATOR_ADDRESS", address, get("JAX_NUM_PROCESSES"), index)
    if (addresses := get("SKYPILOT_NODE_IPS")) is not None:
        first = addresses.split()[0] if addresses.split() else None
        return _place("SKYPILOT_NODE_IPS", first, get("SKYPILOT_NUM_NODES"), get("SKYPILOT_NODE_RANK"))
    if (nodes := get("SLURM_STEP_NODELIST")) is not None:
        port = 61440 + int(get("SLURM_JOB_ID", "0")) % 4096  # two jobs on a node don't meet
        host = f"{_first_host(nodes)}:{port}"
        devices = _share_of_node(environment)
        return _place("SLURM_STEP_NODELIST", host, get("SLURM_STEP_NUM_TASKS"), get("SLURM_PROCID"), devices)
    if (hosts := get("TPU_WORKER_HOSTNAMES")) is not None:
        names = hosts.split(",")
        return _place("TPU_WORKER_HOSTNAMES", names[0], str(len(names)), get("TPU_WORKER_ID"))
    return None


def _place(
    told_by: str, address: str | None, count: str | None, index: str | None, devices: tuple[int, ...] | None = None
) -> Place | None:
    if address is None or count is None or index is None or not count.isdigit() or not index.isdigit():
        raise UserError(
            f"{told_by} is set, but not where this process stands: address {address}, count {count}, index {index}",
            "set JAX_COORDINATOR_ADDRESS (HOST:PORT of the first process), JAX_NUM_PROCESSES and JAX_PROCESS_ID, or "
            f"unset {told_by} to run alone",
        )
    if int(count) == 1:
        return None
    if int(index) >= int(count):
        raise UserError(f"process {index} of {count}: numbers begin at 0", "set JAX_PROCESS_ID to a smaller one")
    return Place(address if re.search(r":\d+$", address) else f"{address}:{PORT}", int(count), int(index), devices)


def _first_host(nodes: str) -> str:
    """The first of Slurm's `node[003-017,20],login`."""
    found = re.match(r"([^,\[]+)(?:\[(\d+))?", nodes)
    return nodes if found is None else f"{found[1]}{found[2] or ''}"


def _share_of_node(environment: Mapping[str, str]) -> tuple[int, ...] | None:
    """Slurm's tasks on one machine take a device each, unless each sees its own alone."""
    tasks, local = environment.get("SLURM_STEP_TASKS_PER_NODE", "1"), environment.get("SLURM_LOCALID")
    seen = environment.get("CUDA_VISIBLE_DEVICES", "")
    if re.match(r"1(\(|,|$)", tasks) or local is None or (seen and "," not in seen):
        return None
    return (int(local),)


class Processes:
    """This process and the others. Alone, everything is said by it and nobody is waited for.

    What is told is told in order: each process must call the same methods in the same order. `branch` gives an order
    of its own, to a thread for instance.
    """

    def __init__(self, count: int = 1, index: int = 0, client: Any = None, name: str = "mixc") -> None:
        self.count = count
        self.index = index
        self._client = client
        self.name = name
        self._branches: dict[str, int] = {}
        self._turn = 0

    @property
    def first(self) -> bool:
        return self.index == 0

    def branch(self, name: str) -> Processes:
        """The same processes, with an order of their own; the same name again is another one."""
        number = self._branches.get(name, 0)
        self._branches[name] = number + 1
        return Processes(self.count, self.index, self._client, f"{self.name}/{name}.{number}")

    def gathered(self, value: T) -> list[T]:
        """What all of them say, by index: something that JSON can hold. Returns when all have said it."""
        if self.count == 1:
            return [value]
        self._turn += 1
        turn = f"{self.name}/{self._turn}"
        self.post(f"{turn}/{self.index}", json.dumps(value))
        return [cast(T, json.loads(self.wait(f"{turn}/{index}"))) for index in range(self.count)]

    def told(self, say: Callable[[], T]) -> T:
        """What the first one says; the others' `say` isn't called."""
        if self.count == 1:
            return say()
        self._turn += 1
        turn = f"{self.name}/{self._turn}"
        if self.first:
            value = say()
            self.post(turn, json.dumps(value))
            return value
        return cast(T, json.loads(self.wait(turn)))

    def together(self) -> None:
        """Returns when all are here."""
        self.gathered(None)

    def post(self, key: str, value: str) -> None:
        """Says something for good, for whoever looks; what was said first stays."""
        try:
            self._client.key_value_set(key, value)
        except Exception as error:  # JaxRuntimeError: its text alone tells what it is
            if "ALREADY_EXISTS" not in str(error):
                raise

    def posted(self, key: str) -> str | None:
        """What was said under a key, if anything."""
        try:
            return cast(str, self._client.key_value_try_get(key))
        except Exception as error:
            if "NOT_FOUND" not in str(error):
                raise
            return None

    def wait(self, key: str) -> str:
        """What is said under a key, once it is. A process that dies meanwhile ends this one too (see `joined`)."""
        while True:
            try:
                return cast(str, self._client.blocking_key_value_get(key, _WAIT_MILLISECONDS))
            except Exception as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise


ALONE = Processes()
"""This process, where it is the only one."""

_current = ALONE


def current() -> Processes:
    """The processes that this one runs with."""
    return _current


@contextmanager
def joined(
    place: Place | None,
    stop: Event,
    on_stop: Callable[[], None] = lambda: None,
    *,
    start_seconds: int = START_SECONDS,
) -> Iterator[Processes]:
    """Joins the others; inside, `current` gives them. Nothing happens where there is no place among others.

    - `stop` set in one process is set in all, within a second; `on_stop` is called in those that others asked.
    - An error that leaves this context in one process ends all of them: the others print what it was and exit with 1.
    - A process that is gone without a word is noticed after `SILENCE_SECONDS` at the latest, and the others are ended;
      one that doesn't come after `start_seconds`.

    No computation of JAX may come before it.
    """
    global _current
    if place is None:
        yield ALONE
        return
    processes = _join(place, start_seconds)
    ended = Event()
    watcher = threading.Thread(target=_watch, args=(processes, stop, on_stop, ended), daemon=True, name="processes")
    watcher.start()
    _current = processes
    try:
        yield processes
    except Stopped:
        if not stop.is_set():  # another one's wish, which came before the watcher saw it
            on_stop()
            stop.set()
        _end(processes)
        raise
    except BaseException as error:
        told = _told(error)
        processes.post(f"failed/{processes.index}", str(told) or repr(told))
        _leave(processes)
        raise told from (None if told is error else error)
    else:
        _end(processes)
    finally:
        ended.set()
        _current = ALONE


def _join(place: Place, start_seconds: int) -> Processes:
    import jax
    from jax._src.distributed import global_state  # the only way to the key-value store, as in multihost_utils

    _keep_output_clean()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
    try:
        jax.distributed.initialize(
            coordinator_address=place.address,
            num_processes=place.count,
            process_id=place.index,
            local_device_ids=None if place.devices is None else list(place.devices),
            cluster_detection_method="deactivate",
            initialization_timeout=start_seconds,
            heartbeat_timeout_seconds=SILENCE_SECONDS,
            shutdown_timeout_seconds=_FAREWELL_SECONDS,
        )
        jax.devices()  # finding them takes all processes, and the first one works alone for a while
    except RuntimeError as error:
        raise UserError(
            f"process {place.index} of {place.count} didn't find the others at {place.address}: {error}",
            "see that all of them run, and that this machine reaches the first one's address",
        ) from error
    return Processes(place.count, place.index, global_state.client)


def _keep_output_clean() -> None:
    """Has what libraries print, as Gloo does, go to standard error: a result may be piped into something."""
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(ours, "w", buffering=1, encoding=sys.stdout.encoding)


def _watch(processes: Processes, stop: Event, on_stop: Callable[[], None], ended: Event) -> None:
    """Hands on the wish to stop, and ends this process when another one failed."""
    said = False
    while not ended.wait(_POLL_SECONDS):
        for index in range(processes.count):
            failed = processes.posted(f"failed/{index}") if index != processes.index else None
            if failed is not None:
                print(f"process {processes.index} ends: process {index} failed: {failed}", file=sys.stderr, flush=True)
                _leave(processes)
                os._exit(1)
        if stop.is_set() and not said:
            processes.post("stop", str(processes.index))
            said = True
        elif not said and processes.posted("stop") is not None:
            said = True
            on_stop()
            stop.set()


def _told(error: BaseException) -> BaseException:
    """The error in words where it is one of the network between processes."""
    text = str(error)
    if type(error).__name__ != "JaxRuntimeError" or not re.search(r"(?i)gloo|nccl|unavailable|connection", text):
        return error
    return UserError(
        f"another process can't be reached any more: {text.splitlines()[0]}",
        "see why it ended; the same command goes on from the last checkpoint",
    )


def _end(processes: Processes) -> None:
    """All has gone well: leaves when all have come this far."""
    import jax

    processes.branch("end").together()
    jax.distributed.shutdown()


def _leave(processes: Processes) -> None:
    """Something went wrong: this process ends with 1, without JAX's farewell, which waits for those that can't come.

    The first process, with which goes the place where things are said, waits until the others have heard.
    """
    processes.post(f"left/{processes.index}", "")
    atexit.register(_exit)  # runs before what was registered earlier
    if not processes.first:
        return
    waiting, until = set(range(1, processes.count)), time.monotonic() + _FAREWELL_SECONDS
    while waiting and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
        waiting = {index for index in waiting if processes.posted(f"left/{index}") is None}
    time.sleep(1)  # until they are gone


def _exit() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
