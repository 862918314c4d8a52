"""Runs the steps of evaluations: what a model says to every item, and the metric of that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from compiler.identity import sha256
from compiler.program.step import make_log_probabilities
from compiler.steps import Respond, Result, Score, Train
from runtime.data.store import open_store
from runtime.data.tokenize import Consumer, template_of
from runtime.evals import choice, loss
from runtime.evals.choice_rows import choice_items
from runtime.evals.pairs import respond, token_count
from runtime.evals.score import Scored, from_json, score, to_json
from runtime.evals.sequences import LogProbabilities
from runtime.progress import Tracker
from runtime.steps.context import Context
from runtime.steps.data import rows_of
from runtime.steps.models import parameters
from runtime.steps.pairs import ordered_pairs
from runtime.steps.responses import responses_of, write_responses
from runtime.steps.training import users
from runtime.stopping import Stopped

SCORES = "scores.json"


def run_respond(context: Context, description: str, step: Respond, folder: Path) -> Result:
    """Asks a model all items, and writes what it says: scoring reads nothing else."""
    tokenizer = context.model(step.weights).tokenizer
    room = context.model(step.weights).config.context
    model = _log_probabilities(context, step)
    label = f"evaluate {step.name} ({_who(context, step)})"
    if step.method == "choice":
        items = [item for each in step.items for item in choice_items(rows_of(context, each))]
        template = template_of(Consumer(tokenizer, "assistant", step.template_args))
        total = choice.token_count(items, tokenizer.tokenizer, template, room)
        with context.reporter.work(label, total, "tokens") as tracker:
            advance = _advance(context, tracker)
            table = choice.respond(items, tokenizer.tokenizer, template, room, model, advance)
    elif step.method == "pairs":
        stores, asked = ordered_pairs(context, step)
        with context.reporter.work(f"reference of {step.name}", token_count(stores, asked), "tokens") as tracker:
            table = respond(stores, asked, model, _advance(context, tracker))
    else:
        held_out = [item for each in step.items for item in loss.loss_items(open_store(context.folder(each)))]
        with context.reporter.work(label, sum(len(item.tokens) for item in held_out), "tokens") as tracker:
            table = loss.respond(held_out, room, model, _advance(context, tracker))
    write_responses(folder, table)
    key = context.key(description)
    return Result(key=key, content=key, facts={"items": len(table)})


def run_score(context: Context, description: str, step: Score, folder: Path) -> Result:
    """One value an item."""
    text = to_json(score(responses_of(context, step.respond), step.metric, step.normalise))
    (folder / SCORES).write_text(text)
    return Result(key=context.key(description), content=sha256(text), facts={"metric": step.metric})


def scored_of(context: Context, score_step: str) -> Scored:
    return from_json((context.folder(score_step) / SCORES).read_text())


def _log_probabilities(context: Context, step: Respond) -> LogProbabilities:
    """The model of a step as a function of token arrays, its parameters on the device."""
    config = context.model(step.weights).config
    trained = isinstance(context.keys.plan.steps[step.model.step], Train)
    update = context.update(step.model.step, step.model.at) if trained else None
    name = f"{context.key(step.model.step)}@{update}"
    if context.loaded is None or context.loaded[0] != name:
        context.loaded = None  # frees the one before first: two may not fit
        context.loaded = name, jax.device_put(parameters(context, step.model, step.weights))
    loaded = context.loaded[1]
    name_of_program = config, step.precision
    compiled = context.compiled.setdefault(name_of_program, make_log_probabilities(config, step.precision))
    return lambda *arrays: compiled(loaded, *map(jnp.asarray, arrays))


def _who(context: Context, step: Respond) -> str:
    """Whose answers these are: a model's, or those of a stage after an update."""
    asked = context.keys.plan.steps[step.model.step]
    if not isinstance(asked, Train):
        return asked.name
    return f"{users(context, step.model.step)}: {asked.name} @{context.update(step.model.step, step.model.at)}"


def _advance(context: Context, tracker: Tracker) -> Callable[[int], None]:
    def advance(tokens: int) -> None:
        tracker.to(tracker.work.done + tokens, rated=tokens)
        if context.stop.is_set():
            raise Stopped

    return advance
