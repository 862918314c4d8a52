"""From a module to a plan with exact numbers: expands it, runs its data steps, measures, checks."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from compiler.keys import Keys
from compiler.passes.expand import expand
from compiler.passes.figures import figures
from compiler.passes.source import PlannedSource
from compiler.passes.verify import Problem, verify
from compiler.plan import Plan
from compiler.steps import AnyStep, DataStep, Distance, Pack, Respond, Tokenize, Train, Transform
from dsl.declarations.base import Place
from dsl.declarations.models import Model
from dsl.declarations.studies import Study
from runtime.data.similarity.embedding import INSTALL, can_embed
from runtime.errors import UserError
from runtime.eval_calls import eval_calls
from runtime.steps.context import Context
from runtime.steps.data import held_until, run_data
from runtime.steps.followed import unneeded
from runtime.steps.kept import train_if_needed
from runtime.stopping import Stopped


@dataclass
class Planned:
    """A plan, what is known of it, and what stands in its way."""

    plan: Plan
    places: dict[str, Place]
    """Places in specs that `errors` name, by their text."""
    context: Context
    errors: list[UserError | Problem]

    @property
    def step_keys(self) -> dict[str, str | None]:
        """The key of every step by description key, None where something that comes in is unknown."""
        return {each: self.context.keys.of(each, self.context.files.digests) for each in self.plan.steps}

    @property
    def waiting(self) -> bool:
        """Whether rows are still to be made by a model."""
        return any(_asks(step) for step in _waiting(self.context).values())

    def figures(self) -> dict[str, Any]:
        """`plan --json`. What comes after an arm was stopped isn't in it, nor are ends that it may have before."""
        keys, idle = self.step_keys, unneeded(self.context)
        wanted = {each: step for each, step in self.plan.steps.items() if each not in idle}
        done = {each for each, key in keys.items() if key is not None and self.context.store.find(key) is not None}
        plan = self.plan.model_copy(update={"steps": wanted})
        told = figures(plan, self.context.keys, keys, done, partial(held_until, self.context))
        return {**told, "calls": [*told["calls"], *eval_calls(self.context, done)]}


def plan_with_data(
    spec: str,
    root: Path,
    studies: Sequence[Study],
    models: Sequence[Model],
    new_context: Callable[[Keys], Context],
    *,
    ask: bool = False,
) -> Planned:
    """Plans studies and models, running the data steps that the store doesn't have yet.

    What goes wrong with a source is gathered in `errors`, and everything that doesn't rest on it is planned all the
    same. Rows that a model has still to make are left open, unless `ask` says to make them now; models that answer are
    trained first where they have to be.

    Raises UnbuiltError where a declaration asks for what this version doesn't run.
    """
    plan, places = expand(spec, root, studies, models, {})
    context = new_context(Keys(plan))
    errors: list[UserError | Problem] = [*context.files.look_up(plan)]
    errors.extend(_run_data_steps(context, places, ask=ask))
    packed = {key: result.facts for key, result in context.keys.results.items() if isinstance(plan.steps[key], Pack)}
    plan, places = expand(spec, root, studies, models, packed)  # now with evaluations `every` so many steps or tokens
    context.keys = context.keys.of_plan(plan)
    errors.extend(verify(plan, context.keys))
    missing = None if can_embed() else next((step for _, step in plan.of(Distance)), None)
    if missing is not None:
        errors.append(UserError("the model that embeds texts isn't installed", INSTALL, missing.place))
    told = {(error.place, str(error)): error for error in errors}  # two seeds or tokenizers meet the same once each
    return Planned(plan, places, context, list(told.values()))


def plan_source(planned: PlannedSource, new_context: Callable[[Keys], Context]) -> tuple[Context, list[UserError]]:
    """Runs the steps of a source that need no model; what goes wrong comes back with the context."""
    context = new_context(Keys(planned.plan))
    errors = context.files.look_up(planned.plan)
    return context, [*errors, *_run_data_steps(context, planned.places, ask=False)]


def _run_data_steps(context: Context, places: Container[str], *, ask: bool) -> list[UserError]:
    """What goes wrong, each where the spec asks for it, which is one of `places`; a place in data goes before."""
    errors: list[UserError] = []
    steps = context.keys.plan.steps
    for description, step in steps.items():
        if context.keys.of(description, context.files.digests) is None:
            continue
        if context.stop.is_set():
            raise Stopped
        try:
            if isinstance(step, Train | Respond) and ask:
                waiting = _waiting(context)
                if description in waiting:
                    _make_model(context, waiting, description, step)
            elif isinstance(step, DataStep):
                if _asks(step) and not ask:
                    result = context.store.find(context.key(description))
                else:
                    result = ensure(context, description, step, run_data)
                if result is not None:
                    context.keys.found(description, result)
        except UserError as error:
            in_data = f"{error.place}: " if error.place and error.place not in places else ""
            place = step.place if in_data else error.place or step.place
            errors.append(UserError(f"{in_data}{error.message}", error.help, place))
    return errors


def _make_model(context: Context, waiting: Mapping[str, AnyStep], description: str, step: Train | Respond) -> None:
    """Trains a model that is asked, or what it is held to while it trains."""
    if isinstance(step, Train):
        train_if_needed(context, waiting, description, step)
    else:
        from runtime.steps.evaluations import run_respond

        ensure(context, description, step, run_respond)


def _asks(step: AnyStep) -> bool:
    """Whether a step asks a model, so that planning leaves it open."""
    return isinstance(step, Transform) and step.asks is not None


def _waiting(context: Context) -> dict[str, AnyStep]:
    """The steps that ask a model and aren't done, the train steps that make those models, and their references."""
    steps, waiting = context.keys.plan.steps, dict[str, AnyStep]()
    wanted: set[str] = set()
    for description, step in reversed(steps.items()):
        if _asks(step):
            key = context.keys.of(description, context.files.digests)
            if key is not None and context.store.find(key) is not None:
                continue
        elif description not in wanted:
            continue
        waiting[description] = step
        wanted.update(each for each in step.inputs if isinstance(steps[each], Train | Respond))
    return waiting


def ensure(context: Context, description: str, step: AnyStep, run: Callable[..., Any]) -> Any:
    """The result of a step: from the store, or made now by `run(context, description, step, folder)`."""
    key = context.key(description)
    result = context.store.find(key)
    if result is not None:
        return result
    with context.store.lock(key, step.name, context.stop):
        result = context.store.find(key)
        if result is None and isinstance(step, Tokenize):  # long, and goes on where a killed run was
            result = run(context, description, step, context.store.open(key))
            context.store.finish(key, result, step.kind, step.name)
        elif result is None:
            with context.store.writing(key) as folder:
                result = run(context, description, step, folder)
                context.store.finish(key, result, step.kind, step.name)
    return result
