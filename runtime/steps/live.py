"""Evaluates while training goes on: between two updates, whatever can be evaluated by then and isn't yet.

The parameters in training are what is evaluated; Adam's moments stay on the devices beside them and what the evaluation
takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from math import inf

import jax

from compiler.keys import points_of
from compiler.program.config import Parameters
from compiler.steps import AnyStep, Calibrate, DataStep, Report, Respond, Score, Train
from compiler.values import ModelPoint
from runtime.disk import write_atomically
from runtime.distributed import current
from runtime.steps.context import Context
from runtime.steps.followed import stop_of, unneeded, words_of
from runtime.steps.kept import points_wanted
from runtime.stopping import Stopped
from runtime.train.committed import weights_at

PAGE_SECONDS = 10.0
"""How often a study's page is written anew while it runs."""
PAGE_SHARE = 20
"""Times as long as a page took to write, the next one waits: training goes on meanwhile."""


class Live:
    """The evaluations of a run that are still to be done.

    Args:
        pending: steps that have to run, in order.
        run: runs one of them, unless it is done.
    """

    def __init__(self, context: Context, pending: Mapping[str, AnyStep], run: Callable[[str, AnyStep], None]) -> None:
        self._context = context
        self._pending = pending
        self._run = run
        self._left = {each: step for each, step in pending.items() if isinstance(step, Respond | Calibrate | Score)}
        self._told: set[str] = set()
        self._page_at = -inf
        self._room = True

    def catch_up(self) -> None:
        """Runs all evaluations whose weights and other inputs are there, and tells the results so far.

        Those of one model come one after the other, earlier points of a run before later ones: a `stop` that holds
        spares what comes after.
        """
        scored = False
        for description, step in sorted(self._left.items(), key=lambda each: self._turn(each[1])):
            if self._context.stop.is_set():
                raise Stopped
            if description in unneeded(self._context) or not self._is_ready(step):
                continue
            self._run(description, step)
            del self._left[description]
            scored |= isinstance(step, Score)
        if scored:
            self._tell()

    def between(self, train: str) -> Callable[[int, Callable[[], Parameters]], bool] | None:
        """What a train step's run calls between updates (see `run_train`); None where several processes train, which
        don't wait for the one that evaluates."""
        if current().count > 1:
            return None
        return lambda update, whole: self._at(train, update, whole)

    def _at(self, train: str, update: int, whole: Callable[[], Parameters]) -> bool:
        """Evaluates a model in training; whether nobody wants more of its run."""
        context = self._context
        if self._room and any(self._is_ready(step) for step in self._left.values()):
            context.loaded = f"{context.key(train)}@{update}", whole()
            try:
                self.catch_up()
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                self._room = False
                context.reporter.say("there is no room to evaluate beside the training: it is done after it")
            finally:
                context.loaded = None  # the next update takes these arrays over
        return max(points_wanted(context, self._pending, train), default=0) <= update

    def _is_ready(self, step: AnyStep) -> bool:
        context, steps = self._context, self._context.keys.plan.steps
        others = (each for each in step.inputs if not isinstance(steps[each], DataStep | Train))
        return all(map(self._is_there, points_of(step))) and all(
            context.store.find(context.key(each)) is not None for each in others
        )

    def _is_there(self, point: ModelPoint) -> bool:
        if not isinstance(self._context.keys.plan.steps[point.step], Train):
            return True
        return self._context.update(point.step, point.at) in weights_at(self._context.folder(point.step))

    def _turn(self, step: AnyStep) -> tuple[int, int]:
        """Of the model that is evaluated: where its step stands in the plan, and the update. Judges are measured first:
        one that isn't believed ends the run."""
        steps = self._context.keys.plan.steps
        asked = steps[step.respond] if isinstance(step, Score) else step
        for point in points_of(asked) if isinstance(asked, Respond) else ():
            trained = isinstance(steps[point.step], Train)
            return list(steps).index(point.step), self._context.update(point.step, point.at) if trained else 0
        return -1, 0

    def _tell(self) -> None:
        """Says which arms stop, and writes the results so far of every study that isn't complete."""
        from runtime.report.results import to_text
        from runtime.steps.reporting import RESULTS, results_of, write_study

        context = self._context
        for told in self._stops():
            if told not in self._told:
                self._told.add(told)
                context.reporter.say(told)
        page = time.monotonic() - self._page_at >= PAGE_SECONDS
        for study in context.keys.plan.studies:
            report = context.keys.plan.steps[study.report]
            assert isinstance(report, Report)
            if study.report not in self._pending:
                continue
            if page:
                begun = time.monotonic()
                write_study(context, study)
                now = time.monotonic()
                self._page_at = now + PAGE_SHARE * (now - begun)  # with many transcripts a page takes seconds
            else:
                results = to_text(results_of(context, report))
                write_atomically(context.store.study(study.name) / RESULTS, results.encode())

    def _stops(self) -> Iterator[str]:
        context = self._context
        for study in context.keys.plan.studies:
            for arm in study.arms:
                stop = stop_of(context, study, arm)
                if stop is not None:
                    yield f"{study.name}/{study.label(arm)} stops {words_of(context, study, arm, stop)}"
