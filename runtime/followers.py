"""Several processes run a plan: the first one walks it and does all but training, in which the others join it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console

from compiler.steps import Train
from runtime.distributed import Processes, current
from runtime.progress import Reporter
from runtime.saved import load_plan, save_plan
from runtime.steps.context import Context
from runtime.stopping import Stopped
from runtime.store import Store

_PLAN = "together"
"""Of the store: the plan that the processes run. They all see the store's folder."""
_STOPPED = "stopped"


def lead(processes: Processes, work: Callable[[], int]) -> int:
    """Does `work` in the first process, and lets the others go when it is done. An error ends them (see `joined`)."""
    try:
        code = work()
    except Stopped:
        _tell(processes, {"end": _STOPPED})
        raise
    _tell(processes, {"end": code})
    return code


def call_in(context: Context, description: str, keep: Iterable[int]) -> None:
    """Has the other processes join in a training, which begins now. Does nothing where there are none."""
    processes = current()
    if processes.count > 1:
        folder = context.store.root / _PLAN
        save_plan(context, folder)
        _tell(processes, {"train": description, "keep": sorted(keep), "running": vars(context.running)})


def follow(processes: Processes, root: Path, stop: Event) -> int:
    """Joins in every training that the first process begins, until that lets go; returns its exit code.

    Raises:
        Stopped: the first process was stopped.
    """
    from runtime.steps.context import Running
    from runtime.steps.training import run_train

    with Path(os.devnull).open("w") as nowhere:
        reporter = Reporter(Console(file=nowhere))
        store = Store(root, reporter.say)
        programs: dict[Any, Any] = {}
        while True:
            told = _tell(processes, None)
            if told.get("end") == _STOPPED:
                raise Stopped
            if "end" in told:
                return told["end"]
            context = load_plan(store.root / _PLAN, store, reporter)
            context.stop, context.running, context.programs = stop, Running(**told["running"]), programs
            step = context.keys.plan.steps[told["train"]]
            assert isinstance(step, Train)
            run_train(context, told["train"], step, set(told["keep"]))


def _tell(processes: Processes, message: dict[str, Any] | None) -> dict[str, Any]:
    """What the first process says next; the others give None."""
    if processes.count == 1:
        return {}
    said = processes.told(lambda: message)
    assert said is not None
    return said
