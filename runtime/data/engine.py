"""Where the work of data is done: here, or in processes of this machine. What comes out is the same."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, Protocol, TypeVar

from runtime.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

_SMALL = 32 << 20
"""Bytes of text that are done sooner here than processes start."""
_WAITING = 2
"""Items in flight for each process: one at work, one waiting."""


class Engine(Protocol):
    """Does one thing to many items."""

    @property
    def workers(self) -> int:
        """How many items are worked on at once."""
        ...

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        """What `work` gives for each item, in the order of the items, which are taken as they are needed.

        Whoever doesn't want all of it closes it, and the work ends.

        Args:
            work: a function of a module, or a `functools.partial` of one; what it carries is sent to a worker once. It
                must give the same for the same item, wherever and in whatever order it is called.
            items: what can be pickled, as must be what `work` gives.

        Raises:
            UserError: one that `work` raised, or a worker was killed. Other errors of `work` come through as well.
        """
        ...


@dataclass(frozen=True)
class _Inline:
    workers: int = 1

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        yield from map(work, items)


@dataclass(frozen=True)
class _Processes:
    workers: int

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        pool = ProcessPoolExecutor(self.workers, get_context(_START), _begin, (work,))
        children: Mapping[int, BaseProcess] = pool._processes  # nothing public names them before Python 3.14
        waiting: deque[Future[Any]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(_do, item))
                if len(waiting) >= self.workers * _WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise _killed(children.values()) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if waiting:  # left early: an error, an interrupt, or nobody wants the rest
                for child in children.values():
                    child.terminate()
            for child in children.values():
                child.join()


_START = "forkserver" if sys.platform == "linux" else "spawn"
"""Never a fork of this process, whose threads (of JAX, of Arrow) a child would not have."""


def inline() -> Engine:
    """Everything here, one item after the other."""
    return _Inline()


def processes(count: int) -> Engine:
    """`count` processes of this machine, started for each `map`. They end with it, or with this process."""
    return _Processes(count)


def engine_for(size: int) -> Engine:
    """What does work on `size` bytes of text soonest: every core, where that outweighs the start of processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return processes(cores) if cores > 1 and size > _SMALL else inline()


_work: Callable[[Any], Any]
"""What this process, a worker, does."""


def _begin(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a process a core is already all there is
    Thread(target=_end_with_parent, daemon=True).start()


def _do(item: Any) -> Any:
    return _work(item)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _killed(children: Iterable[BaseProcess]) -> UserError:
    """Why a worker ended without an answer."""
    codes: Sequence[int] = [child.exitcode for child in children if child.exitcode]
    if -signal.SIGKILL in codes:
        return UserError(
            "a worker process was killed, as the system does when memory runs out",
            "free some memory, or let fewer cores work at once: `taskset --cpu-list 0 mixc …`",
        )
    ended = ", ".join(sorted({f"signal {-code}" if code < 0 else f"status {code}" for code in codes}))
    return UserError(f"a worker process ended by itself ({ended or 'no status'})", "run the same command again")
