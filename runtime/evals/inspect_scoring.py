"""Scores the logs of tasks of Inspect with the tasks' own scorers, graded by a judge; nothing is sampled again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.evals import InspectTask
from compiler.identity import sha256
from runtime.errors import UserError
from runtime.evals.inspect_sampling import LOGS, quiet, watched
from runtime.evals.inspect_tasks import open_task
from runtime.evals.inspect_values import GRADES, NoKeyError, Value, value_of
from runtime.evals.judged import Judged
from runtime.model_calls.calls import Caller
from runtime.progress import Reporter, Tracker

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.model import Model
    from inspect_ai.model._model import ModelRoles
    from inspect_ai.scorer import Score, Scorer, Target
    from inspect_ai.solver import TaskState

ROLES: tuple[str, ...] = ("grader", "judge")
"""What scorers of Inspect call the model that grades; one that asks for no role is given the judge as well."""


def score_tasks(
    tasks: Sequence[InspectTask],
    logs: Sequence[Path],
    judge: Caller | None,
    metric: str,
    folder: Path,
    *,
    reporter: Reporter,
    what: str,
    place: str,
) -> list[Judged]:
    """What the tasks' scorers say of every answer; the logs with their scores lie in `folder/logs`.

    An answer counts as unreadable where its run ended with an error, a scorer fails on it, gives no number, or says
    that its grader failed.

    Args:
        logs: those that `sample_tasks` kept, in the order of `tasks`.
        judge: who asks the model that grades; without one, a scorer that asks a model is an error.
        metric: `rate(KEY)` or `mean(KEY)`: see `value_of`.

    Raises:
        Stopped: the judge's `stop` was set.
        UserError: a task can't be made or has no scorer; nothing was scored because a scorer always fails, asks a model
            and the evaluation has no `judge`; or the scores have nothing of the metric's key.
    """
    from inspect_ai.log import read_eval_log

    with quiet():
        read = [read_eval_log(str(path), resolve_attachments=True) for path in logs]
        total = sum(len(log.samples or ()) for log in read)
        with reporter.work(what, total, "samples", "samples") as tracker:
            scoring = _Scoring(tasks, judge, place, tracker)
            asyncio.run(scoring.all(read))
    scoring.check(total)
    _write(read, logs, folder / LOGS)
    key, rate = metric[metric.index("(") + 1 : -1], metric.startswith("rate(")
    rows = [
        _judged(task, sample, _value(scoring, sample, key, rate=rate, place=place), several=len(tasks) > 1)
        for task, log in zip(tasks, read, strict=True)
        for sample in sorted(log.samples or (), key=lambda sample: (str(sample.id), sample.epoch))
    ]
    known = {key, f"not {key}", *(label for label, _ in GRADES.values())}
    if rate and (others := {row.label for row in rows if row.label}) and not others & known:
        reporter.say(f"{what}: no score is '{key}'; they are {', '.join(sorted(others))}")
    return rows


class _Scoring:
    """Scorers at work, and where they failed."""

    def __init__(self, tasks: Sequence[InspectTask], judge: Caller | None, place: str, tracker: Tracker) -> None:
        self._tasks = tasks
        self._judge = judge
        self._place = place
        self._tracker = tracker
        self.failures: dict[str, str] = {}
        """By sample."""
        self._asked_nobody = False

    async def all(self, logs: Sequence[EvalLog]) -> None:
        from runtime.model_calls.stored import Failed, nobody, stored_model

        judge = self._judge
        if judge is None:
            await self._scored(logs, nobody())
            return
        async with judge.one_by_one() as ask:
            failed = Failed()
            model = stored_model(judge.name, ask, judge.settings, judge.connections, failed=failed)
            running = asyncio.create_task(self._scored(logs, model))
            await watched(running, judge, failed)
            running.result()

    async def _scored(self, logs: Sequence[EvalLog], judge: Model) -> None:
        from inspect_ai._eval.score import score_async  # `inspect_ai.score` waits for a loop of its own

        for task, log in zip(self._tasks, logs, strict=True):
            opened = open_task(task, judge, self._place)
            if not opened.scorer:
                raise UserError(
                    f"the task {task.name} has no scorer",
                    "take one that has, or ask `prompts` with a `judge`",
                    self._place,
                )
            errors = {sample.uuid for sample in log.samples or () if sample.error}
            scorers = [self._guarded(scorer, errors) for scorer in opened.scorer]
            roles: ModelRoles = dict.fromkeys(ROLES, judge)
            await score_async(log, scorers, model=judge, model_roles=roles, action="overwrite", copy=False)

    def _guarded(self, scorer: Scorer, errors: set[str | None]) -> Scorer:
        """The scorer, where a failure is one of the sample."""
        from runtime.model_calls.stored import NobodyError

        async def scored(state: TaskState, target: Target) -> Score | None:
            try:
                return None if state.uuid in errors else await scorer(state, target)
            except NobodyError:
                self._asked_nobody = True
                self.failures[state.uuid] = "the scorer asks a model, and there is no judge"
            except Exception as error:  # whatever the scorer's author, or what it reads, raises
                self.failures[state.uuid] = " ".join(str(error).split())[:300] or type(error).__name__
            finally:
                self._tracker.to(min(self._tracker.work.done + 1, self._tracker.work.total), rated=1)
            return None

        return update_wrapper(scored, scorer)

    def check(self, total: int) -> None:
        """UserError where scoring itself is at fault, rather than what was said."""
        if self._asked_nobody:
            raise UserError(
                f"the scorer of {self._tasks[0].name} asks a model",
                "say which with `judge:`",
                self._place,
            )
        if total and len(self.failures) == total:
            reason = next(iter(self.failures.values()))
            raise UserError(
                f"the scorer of {self._tasks[0].name} fails on every sample: {reason}",
                "mend what it needs: it is run on Inspect's logs, after the samples' sandboxes are gone",
                self._place,
            )


def _value(scoring: _Scoring, sample: EvalSample, key: str, *, rate: bool, place: str) -> Value:
    if sample.error is not None:
        return Value(unreadable=f"the sample ended with an error: {' '.join(sample.error.message.split())[:300]}")
    if (failure := scoring.failures.get(sample.uuid or "")) is not None:
        return Value(unreadable=f"the scorer failed: {failure}")
    if sample.output.stop_reason == "model_length" and not sample.output.completion:
        return Value(unreadable="longer than the model reads")
    if not sample.scores:
        return Value(unreadable="the scorer gives no score")
    try:
        return value_of(sample.scores, key, rate=rate)
    except NoKeyError as error:
        kind = "rate" if rate else "mean"
        raise UserError(
            f"the scores have no '{key}'", f"write `metric: {kind}(KEY)` with one of {', '.join(error.keys)}", place
        ) from error


def _judged(task: InspectTask, sample: EvalSample, value: Value, *, several: bool) -> Judged:
    from inspect_ai.model import ChatMessageUser

    from runtime.model_calls.messages import to_records

    given = [ChatMessageUser(content=sample.input)] if isinstance(sample.input, str) else list(sample.input)
    made = (i for i, message in enumerate(sample.messages) if message.source == "generate")
    spoken = next(made, len(sample.messages))
    shown = sample.messages[:spoken] or given
    arguments = "".join(f" {name}={text}" for name, text in task.args.items()) if several else ""
    return Judged(
        item=sha256([task.name, dict(task.args), str(sample.id)]),
        sample=sample.epoch - 1,
        id=f"{sample.id}{arguments}",
        messages=json.dumps(to_records(shown), ensure_ascii=False),
        tools="[]",
        answer=_told(to_records(sample.messages[spoken:])),
        finish="error" if sample.error else sample.output.stop_reason,
        label=value.label,
        value=value.number,
        detail=value.detail,
        unreadable=value.unreadable,
    )


def _told(messages: Sequence[Mapping[str, Any]]) -> str:
    """A conversation from the first answer on, as text: a lone answer as it is."""
    if len(messages) == 1 and not messages[0].get("tool_calls"):
        return messages[0]["content"]
    return "\n\n".join(_lines(messages))


def _lines(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for message in messages:
        yield f"[{message['role']}]\n{message['content']}".rstrip()
        for call in message.get("tool_calls") or ():
            yield f"[calls {call['function']['name']}]\n{call['function']['arguments']}"


def _write(logs: Sequence[EvalLog], paths: Sequence[Path], folder: Path) -> None:
    from inspect_ai.log import write_eval_log

    folder.mkdir()
    for log, path in zip(logs, paths, strict=True):
        write_eval_log(log, str(folder / path.name))
