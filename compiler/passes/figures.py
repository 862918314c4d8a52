"""The plan in numbers: what every source, mix and train step holds, as the JSON that other tools rely on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from compiler.keys import Keys
from compiler.plan import Plan
from compiler.program.config import DecoderConfig, parameter_count, training_flops
from compiler.steps import Order, Pack, Tokenize, Train, Transform

Figures = dict[str, Any]


def figures(plan: Plan, keys: Keys, step_keys: dict[str, str | None], done: set[str]) -> Figures:
    """`plan --json`: steps with keys, sources, mixes and trains; numbers not known yet are null.

    Args:
        plan: the steps.
        keys: results of the data steps so far.
        step_keys: the key of every step by description key, None where unknown.
        done: description keys of the steps whose results are there.
    """
    return {
        "spec": plan.spec,
        "steps": [
            {
                "key": step_keys[description],
                "description_key": description,
                "kind": step.kind,
                "name": step.name,
                "inputs": list(step.inputs),
                "done": description in done,
            }
            for description, step in plan.steps.items()
        ],
        "sources": [_source(plan, keys, description, step) for description, step in plan.of(Tokenize)],
        "mixes": [_mix(plan, keys, step) for _, step in plan.of(Train)],
        "trains": [_train(plan, keys, step_keys, description, step) for description, step in plan.of(Train)],
    }


def _facts(keys: Keys, description: str) -> Figures:
    result = keys.results.get(description)
    return {} if result is None else result.facts


def _source(plan: Plan, keys: Keys, description: str, step: Tokenize) -> Figures:
    facts = _facts(keys, description)
    dropped: dict[str, int] = {}
    rows = step.rows
    while True:
        before = plan.steps[rows]
        for reason, count in _facts(keys, rows).get("dropped", {}).items():
            dropped[reason] = dropped.get(reason, 0) + count
        if not isinstance(before, Transform):
            break
        rows = before.rows
    return {
        "name": step.name,
        "tokenizer": plan.steps[step.weights].name,
        "loss": step.loss,
        "examples": facts.get("examples"),
        "tokens": facts.get("tokens"),
        "trained_tokens": facts.get("trained_tokens"),
        "dropped": dropped,
    }


def _ordered(plan: Plan, train: Train) -> tuple[str, Order]:
    pack = cast(Pack, plan.steps[train.pack])
    return pack.order, cast(Order, plan.steps[pack.order])


def _mix(plan: Plan, keys: Keys, train: Train) -> Figures:
    description, order = _ordered(plan, train)
    facts = _facts(keys, description)
    packed = _facts(keys, train.pack)
    names = {part.tokens: part.name for part in reversed(order.parts)}
    return {
        "name": order.name,
        "train": train.name,
        "tokenizer": plan.steps[train.weights].name,
        "seed": order.seed,
        "tokens": packed.get("tokens"),
        "trained_tokens": packed.get("trained_tokens"),
        "examples": facts.get("examples"),
        "digest": packed.get("digest"),
        "parts": {names[tokens]: part for tokens, part in zip(order.inputs, facts.get("parts", []), strict=False)},
    }


def _train(plan: Plan, keys: Keys, step_keys: dict[str, str | None], description: str, step: Train) -> Figures:
    _, order = _ordered(plan, step)
    packed = _facts(keys, step.pack)
    weights = _facts(keys, step.weights)
    config = DecoderConfig(**weights["config"]) if weights else None
    return {
        "name": step.name,
        "key": step_keys[description],
        "seed": order.seed,
        "data": order.name,
        "used_by": list(used_by(plan, description)),
        "updates": packed.get("updates"),
        "tokens": packed.get("tokens"),
        "trained_tokens": packed.get("trained_tokens"),
        "padded": packed.get("padded"),
        "truncated": packed.get("truncated"),
        "flops": training_flops(config, packed["tokens"], packed["pairs"]) if config and packed else None,
        "parameters": parameter_count(config) if config else None,
    }


def used_by(plan: Plan, train: str) -> Iterator[str]:
    """Where a train step stands: STUDY/ARM/STAGE (with @seed= where it isn't the first), or MODEL/STAGE."""
    for study in plan.studies:
        for arm in study.arms:
            for stage in arm.stages:
                if stage.train == train:
                    yield f"{study.name}/{study.label(arm)}/{stage.name}"
    for model in plan.models:
        for stage in model.stages:
            if stage.train == train:
                yield f"{model.name}/{stage.name}"
