"""Asks a model of a plan for log-probabilities: of continuations, of held-out text, of both answers of pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import pyarrow as pa

from compiler.program.branches import make_branch_log_probabilities
from compiler.program.config import DecoderConfig, Parameters
from compiler.program.execution import Execution
from compiler.program.mesh import row_devices
from compiler.program.sampler import on_host
from compiler.program.step import make_log_probabilities
from compiler.steps import Respond, Train
from compiler.values import ModelPoint
from runtime.data.store import open_store
from runtime.data.tokenize import Consumer, template_of
from runtime.evals import choice, loss, pairs
from runtime.evals.choice_rows import choice_items
from runtime.progress import Tracker
from runtime.steps.context import Context
from runtime.steps.data import rows_of
from runtime.steps.models import parameters
from runtime.steps.pairs import ordered_pairs
from runtime.steps.training import who
from runtime.stopping import Stopped
from runtime.train.placement import Placement, placement_of


def log_probabilities(context: Context, step: Respond) -> pa.Table:
    """What a model gives the items of a step: a table as `choice`, `loss` or `pairs` makes it."""
    assert step.weights is not None
    tokenizer = context.model(step.weights).tokenizer
    room = context.model(step.weights).config.context
    model = _loaded(context, step)
    label = f"evaluate {step.name} ({who(context, step)})"
    if step.method == "choice":
        items = [item for each in step.items for item in choice_items(rows_of(context, each))]
        template = template_of(Consumer(tokenizer, "assistant", step.template_args))
        total = choice.token_count(items, tokenizer.tokenizer, template, room)
        with context.reporter.work(label, total, "tokens") as tracker:
            advance = _advance(context, tracker)
            return choice.respond(
                items, tokenizer.tokenizer, template, room, model.of_branches, advance, devices=model.devices
            )
    if step.method == "pairs":
        stores, asked = ordered_pairs(context, step)
        total = pairs.token_count(stores, asked)
        with context.reporter.work(f"reference of {step.name}", total, "tokens") as tracker:
            return pairs.respond(stores, asked, model.of_tokens, _advance(context, tracker), model.devices)
    assert step.method == "loss", "answers are sampled elsewhere"
    held_out = [item for each in step.items for item in loss.loss_items(open_store(context.folder(each)))]
    with context.reporter.work(label, loss.token_count(held_out, room), "tokens") as tracker:
        return loss.respond(held_out, room, model.of_tokens, _advance(context, tracker), model.devices)


@dataclass(frozen=True)
class _Model:
    """A model on its devices, as functions of token arrays."""

    context: Context
    step: Respond
    config: DecoderConfig
    placement: Placement
    arrays: Parameters

    @property
    def devices(self) -> int:
        """Over how many the rows of a batch are spread."""
        return 1 if self.placement.mesh is None else row_devices(self.placement.mesh)

    def of_tokens(self, *batch: Any) -> Any:
        """See `sequences.LogProbabilities`."""
        return self._asked("tokens", make_log_probabilities, batch)

    def of_branches(self, forest: Any) -> Any:
        """See `branches.BranchModel`."""
        return self._asked("branches", make_branch_log_probabilities, (forest,))

    def _asked(self, kind: str, make: Callable[..., Any], batch: tuple[Any, ...]) -> Any:
        name = kind, self.config, self.step.precision
        compiled = self.context.compiled
        if name not in compiled:
            compiled[name] = make(self.config, self.step.precision, execution=Execution(self.placement.mesh))
        rows = jax.tree.leaves(batch)[0].shape[0]
        return on_host(compiled[name](self.arrays, *self.placement.put(batch, rows)))[:rows]


def _loaded(context: Context, step: Respond) -> _Model:
    """The model of a step, its parameters on the devices of this process."""
    assert step.model is not None
    assert step.weights is not None
    placement, arrays = loaded(context, step.model, step.weights)
    return _Model(context, step, context.model(step.weights).config, placement, arrays)


def loaded(context: Context, model: ModelPoint, weights: str) -> tuple[Placement, Parameters]:
    """The parameters of a model on the devices of this process: those read last, where they are its.

    Several processes have one mesh for training; only the first of them evaluates, on a device of its own.
    """
    placement = placement_of(context.running.shard) if jax.process_count() == 1 else Placement()
    trained = isinstance(context.keys.plan.steps[model.step], Train)
    update = context.update(model.step, model.at) if trained else None
    name = f"{context.key(model.step)}@{update}"
    if context.loaded is None or context.loaded[0] != name:
        context.loaded = None  # frees the one before first: two may not fit
        spread = None if placement.mesh is None else placement
        context.loaded = name, placement.laid_out(parameters(context, model, weights, spread))
    return placement, context.loaded[1]


def _advance(context: Context, tracker: Tracker) -> Callable[[int], None]:
    def advance(tokens: int) -> None:
        tracker.to(tracker.work.done + tokens, rated=tokens)
        if context.stop.is_set():
            raise Stopped

    return advance
