"""Does the work of data on a Ray cluster, through Ray Data: answers and their order are those of one machine."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from runtime.data.engine import Engine
from runtime.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

_WINDOW = 4096
"""Items that Ray Data is given at once: it has to know all of them before it begins."""
_RETRIES = 3
"""Of an item whose worker or machine was lost. Ray Data's own default is to try for ever."""
_SAME = ("mixc", "jinja2", "numpy", "tokenizers")
"""Packages of which every machine must have the same version, or bytes may differ."""
_SECONDS = 10
"""How long the cluster may take to answer."""


def ray_engine(address: str | None, shared: Path) -> Engine:
    """The Ray cluster at an address. It is joined when the first work comes, and left when this process ends.

    Up to _WINDOW items are taken before they are needed. They lie in Ray's object store until they are done, as do
    answers that nobody took yet; Ray bounds what of it is in memory.

    Args:
        address: `HOST:PORT`; None is what RAY_ADDRESS names, else a cluster of this machine alone, which nobody outside
            of it can reach and which ends with this process.
        shared: the folder that everything worked on lies in. Each machine has to see it at the same path; one that
            doesn't, or that has other versions of what makes bytes, is a UserError.
    """
    return _Ray(address or os.environ.get("RAY_ADDRESS"), shared.absolute())


@dataclass(frozen=True)
class _Ray:
    address: str | None
    shared: Path

    @property
    def workers(self) -> int:
        _connect(self.address)
        import ray

        return int(ray.cluster_resources().get("CPU", 1))

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        _connect(self.address)
        import ray

        left = iter(items)
        with _marker(self.shared) as marker:
            job = ray.put((marker, _versions(), work))
            while window := list(islice(left, _WINDOW)):
                yield from _answers(job, window)


def _answers(job: Any, items: Sequence[Any]) -> Iterator[Any]:
    """What each item gives, in their order. `job` refers to what `_work` reads."""
    import ray.data
    from ray.exceptions import RayError

    # Ray Data has no other way to bound retries (it deprecates this one), and warns of its own settings.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.execution_options.preserve_order = True
        with ray.data.DataContext.current(context):
            pickled = [{"item": pickle.dumps(item)} for item in items]
            dataset = ray.data.from_items(pickled, override_num_blocks=len(pickled))
            answered = dataset.map(partial(_answer, job), max_retries=_RETRIES)
    try:
        for row in answered.iter_rows():
            is_error, answer = pickle.loads(row["answer"])
            if is_error:
                raise answer
            yield answer
    except RayError as error:
        raise _lost(error) from error


def _answer(job: Any, row: dict[str, Any]) -> dict[str, Any]:
    """Works on one item; runs on a worker. An error is an answer, so that Ray neither tries again nor wraps it."""
    try:
        answer = False, _work(job)(pickle.loads(row["item"]))
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)))
        answer = True, error
    return {"answer": pickle.dumps(answer)}


@lru_cache(maxsize=1)
def _work(job: Any) -> Callable[[Any], Any]:
    """What this process, a worker, does; kept from one item to the next. UserError where it can't."""
    import ray

    marker, wanted, work = ray.get(job)
    here = socket.gethostname()
    if not marker.exists():
        raise UserError(
            f"the machine {here} of the Ray cluster doesn't see the folder {marker.parent}",
            "name a folder with `--store` that every machine of the cluster mounts at the same path",
        )
    for package, found in _versions().items():
        if found != wanted[package]:
            raise UserError(
                f"the machine {here} of the Ray cluster has {package} {found}, and this one {wanted[package]}",
                "install the same versions on every machine",
            )
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a worker a core is already all there is
    return work


def _versions() -> dict[str, str]:
    return {package: version(package) for package in _SAME}


@contextmanager
def _marker(shared: Path) -> Iterator[Path]:
    """A file in the shared folder, there for as long as work is done: only who sees the folder sees it."""
    shared.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=".seen-by-workers-", dir=shared) as file:
        yield Path(file.name)


def _connect(address: str | None) -> None:
    """Joins the cluster, or starts one; once for this process."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray listens on loopback alone where it can't be joined
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError(
            "`--data-engine ray` needs the package ray, which isn't installed", "pip install 'mixc[ray]'"
        ) from error
    if ray.is_initialized():
        return
    if address is not None:
        _check_reachable(address)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is raised as well
    before = signal.getsignal(signal.SIGTERM)
    ray.init(address or "local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    # Nothing public keeps Ray from telling of lost workers on standard output, where results go.
    vars(import_module("ray._private.worker"))["_worker_logs_enabled"] = False
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray sets its own


def _check_reachable(address: str) -> None:
    """UserError where nobody listens; Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "://" in address:
        raise UserError(
            f"'{address}' is no address of a Ray cluster", "name HOST:PORT in RAY_ADDRESS, as `ray start --head` says"
        )
    from ray.util import get_node_ip_address

    if host in ("127.0.0.1", "localhost"):
        host = get_node_ip_address()  # as Ray reads it
    try:
        socket.create_connection((host, int(port)), _SECONDS).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers at {host}:{port}: {error}",
            "start one with `ray start --head`, or unset RAY_ADDRESS to work on this machine alone",
        ) from error


def _lost(error: Exception) -> UserError:
    """Why Ray couldn't have an item done."""
    told = str(error)
    if "ModuleNotFoundError" in told:
        return UserError(
            f"a machine of the Ray cluster lacks a package: {told.strip().splitlines()[-1]}",
            "install mixc on every machine, the same version",
        )
    if "OutOfMemory" in type(error).__name__:
        return UserError(
            "a worker of the Ray cluster was killed because memory ran out",
            "let fewer work at once: `ray start --num-cpus`",
        )
    return UserError(
        f"the Ray cluster lost workers {_RETRIES + 1} times at the same piece of work: {told.strip().splitlines()[0]}",
        "look at Ray's logs (/tmp/ray/session_latest/logs); the same command does what is left",
    )
