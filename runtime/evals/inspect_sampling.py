"""Samples what a model does in tasks of Inspect: one run for all of them, kept as Inspect's own logs."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.evals import InspectTask
from runtime.errors import UserError
from runtime.evals.inspect_tasks import open_task
from runtime.model_calls.calls import Caller
from runtime.stopping import Stopped

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog
    from inspect_ai.solver import TaskState

LOGS = "logs"
"""The folder with a log for each task, in their order: `inspect view --log-dir` shows it."""
_POLL_SECONDS = 0.1


def sample_tasks(
    tasks: Sequence[InspectTask], caller: Caller, folder: Path, *, samples: int, seed: int | None, what: str, place: str
) -> dict[str, int]:
    """Writes `logs/` into `folder`, without scores, and counts: `items`, `answers`, and those with an `error`.

    What the model says is stored as it comes: a run that goes on after it was killed asks nothing again.

    Args:
        samples: how often each sample of a task is run (its epochs).
        seed: of the study, for weights of ours; None for a served model.
        what: what is being done, for people.
        place: of the evaluation, for errors.

    Raises:
        Stopped: the caller's `stop` was set.
        UserError: a task can't be run, the model can't be asked, or every single sample ended with an error.
    """
    from runtime.model_calls.stored import nobody

    with quiet():
        opened = [open_task(task, nobody(), place) for task in tasks]
        total = samples * sum(len(task.dataset) for task in opened)
        if not total:
            raise UserError(f"{tasks[0].name} has no samples", "look at its arguments", place)
        with caller.reporter.work(what, total, "samples", "samples") as tracker:

            def ended() -> None:
                tracker.to(tracker.work.done + 1, rated=1)

            for task in opened:
                _tell(task, ended)
            logs = asyncio.run(_sampled(opened, caller, folder / LOGS, samples, seed))
    return _kept(logs, folder / LOGS, place)


async def _sampled(tasks: list[Task], caller: Caller, folder: Path, samples: int, seed: int | None) -> list[EvalLog]:
    from inspect_ai import Epochs, eval_async

    from runtime.model_calls.stored import Failed, stored_model

    failed, settings = Failed(), caller.settings
    async with caller.one_by_one() as ask:
        model = stored_model(caller.name, ask, settings, caller.connections, seed=seed, failed=failed)
        running = asyncio.create_task(
            eval_async(
                tasks=tasks,
                model=model,
                epochs=Epochs(samples),
                score=False,
                fail_on_error=False,
                log_dir=str(folder),
                log_format="eval",
                log_level="error",
                log_realtime=False,
                log_images=False,
                score_display=False,
                ctl_server=False,
                acp_server=False,
                max_tasks=len(tasks),
                max_samples=caller.connections,
                **_config(caller),
            )
        )
        await watched(running, caller, failed)
        return running.result()


async def watched(running: asyncio.Task[Any], caller: Caller, failed: Any) -> None:
    """Waits for a run; ends it where it is to stop or has failed as a whole, and raises what that was."""
    while not running.done() and not caller.stop.is_set() and failed.error is None:
        await asyncio.wait((running,), timeout=_POLL_SECONDS)
    if not running.done():
        running.cancel()
        await asyncio.wait((running,))
    if failed.error is not None:
        raise failed.error
    if caller.stop.is_set():
        raise Stopped


def _config(caller: Caller) -> dict[str, Any]:
    """What the spec says of sampling: it comes before what tasks say."""
    settings = caller.settings
    said = {
        "temperature": None if settings.temperature is None else float(settings.temperature),
        "top_p": None if settings.top_p is None else float(settings.top_p),
        "max_tokens": settings.max_tokens,
    }
    return {name: value for name, value in said.items() if value is not None}


def _tell(task: Task, ended: Any) -> None:
    """Calls `ended` when a sample of the task has come to its end."""
    inner = task.cleanup

    async def cleanup(state: TaskState) -> None:
        ended()
        if inner is not None:
            await inner(state)

    task.cleanup = cleanup


def _kept(logs: Sequence[EvalLog], folder: Path, place: str) -> dict[str, int]:
    """Names the logs by the order of their tasks, and counts what they hold."""
    items = answers = 0
    errors: list[str] = []
    for number, log in enumerate(logs):
        if log.status != "success" or log.samples is None:
            reason = " ".join((log.error.message if log.error else log.status).split())[:300]
            raise UserError(f"the task {log.eval.task} ends with an error: {reason}", "mend what it needs", place)
        ended = list(log.samples)  # read from the file, each time
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", log.eval.task)
        Path(log.location.removeprefix("file://")).rename(folder / f"{number:04}-{name}.eval")
        items += len({sample.id for sample in ended})
        answers += len(ended)
        errors += [" ".join(sample.error.message.split())[:300] for sample in ended if sample.error]
    if len(errors) == answers:
        raise UserError(f"every sample ends with an error: {errors[0]}", "mend what the task needs", place)
    return {"items": items, "answers": answers, "errors": len(errors)}


@contextmanager
def quiet() -> Iterator[None]:
    """Inspect draws no bars of its own, and its warnings about other packages are nobody's here."""
    from inspect_ai.util._display import init_display_type

    init_display_type("none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def logs_in(folder: Path) -> list[Path]:
    """The logs of a respond step, in the order of its tasks."""
    return sorted((folder / LOGS).glob("*.eval"))
