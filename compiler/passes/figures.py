"""The plan in numbers: what every source, mix and train step holds, as the JSON that other tools rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from compiler import operations
from compiler.keys import Keys, until, update_at
from compiler.passes.parameters import stage_flops, trained_parameters
from compiler.passes.power import power
from compiler.plan import Plan, PlannedStage
from compiler.program.config import DecoderConfig, parameter_count
from compiler.stages import GRPO, asked_by
from compiler.steps import Distance, Order, Pack, Survey, Tokenize, Train, Transform
from compiler.values import END

Figures = dict[str, Any]


Held = Sequence[Sequence[int]]
"""Examples, tokens and trained tokens of each source of a `pack` step."""

Prefixes = Callable[[str, int], Held]
"""What the first so many updates of a `pack` step hold."""


def figures(plan: Plan, keys: Keys, step_keys: dict[str, str | None], done: set[str], prefixes: Prefixes) -> Figures:
    """`plan --json`: steps with keys, sources, mixes and trains; numbers not known yet are null.

    Args:
        plan: the steps.
        keys: results of the data steps so far.
        step_keys: the key of every step by description key, None where unknown.
        done: description keys of the steps whose results are there.
        prefixes: looks into packed batches, for arms that leave a run before its end.
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
        "calls": [
            *(_calls(plan, keys, description, step) for description, step in plan.of(Transform) if step.asks),
            *(call for _, step in plan.of(Train) for call in _judge_calls(keys, step)),
        ],
        "mixes": [_mix(plan, keys, step) for _, step in plan.of(Train)],
        "trains": [_train(plan, keys, step_keys, description, step, prefixes) for description, step in plan.of(Train)],
        "claims": power(plan, keys),
        "distances": [_distance(keys, step) for _, step in plan.of(Distance)],
    }


def _distance(keys: Keys, step: Distance) -> Figures:
    """How many rows and items are embedded at most; None where that isn't known yet."""

    def most(steps: Sequence[str]) -> int | None:
        sizes: list[int | None] = [_facts(keys, each).get("examples") for each in steps]
        return None if None in sizes else sum(min(cast(int, size), step.sampled) for size in sizes)

    return {
        "arm": step.name,
        "place": step.place,
        "rows": most([rows for taken in step.trained for rows in taken.rows]),
        "items": most(step.items),
    }


def _facts(keys: Keys, description: str) -> Figures:
    result = keys.results.get(description)
    return {} if result is None else result.facts


def _source(plan: Plan, keys: Keys, description: str, step: Tokenize) -> Figures:
    facts = _facts(keys, description)
    dropped: dict[str, int] = dict(facts.get("dropped", {}))
    shown: dict[str, Any] = dict(facts.get("shown", {}))
    notes = [{"source": step.name, "note": note} for note in facts.get("notes", [])]
    rows = step.rows
    while True:
        before, told = plan.steps[rows], _facts(keys, rows)
        for reason, count in told.get("dropped", {}).items():
            dropped[reason] = dropped.get(reason, 0) + count
        shown |= told.get("shown", {})
        layouts = told.get("layouts", {})
        if len(layouts) > 1:
            mixed = ", ".join(f"{count:,} laid out as {layout}" for layout, count in layouts.items())
            notes.insert(0, {"source": before.name, "note": mixed})
        for oddity, where in told.get("unusual", {}).items():
            notes.insert(0, {"source": before.name, "note": f"{oddity}: {where}"})
        notes[:0] = ({"source": before.name, "note": note} for note in told.get("notes", []))
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
        "shown": shown,
        "notes": notes,
        **_survey(plan, keys, step.rows),
    }


def _survey(plan: Plan, keys: Keys, rows: str) -> Figures:
    """What surveys of these rows found: how varied they are, and what they share with each evaluation."""
    found: Figures = {"variety": None, "spread": None, "near_duplicates": None, "overlap": {}}
    for description, step in plan.of(Survey):
        facts = _facts(keys, description)
        if step.rows == rows and facts:
            found |= {name: facts[name] for name in ("variety", "spread", "near_duplicates")}
            found["overlap"] |= facts["overlap"]
    return found


def _calls(plan: Plan, keys: Keys, description: str, step: Transform) -> Figures:
    """A transform that asks a model: how often at most, null while the rows before it are unknown."""
    asked = step.asks
    assert asked is not None
    rows = _facts(keys, step.rows).get("examples")
    match step.operation:
        case operations.Sample(n=n):
            calls = None if rows is None else rows * n
        case operations.Generate():
            calls = None  # as many as it takes
        case _:
            calls = rows
    return {
        "name": step.name,
        "operation": step.operation.do,
        "model": asked.name,
        "api": asked.api,
        "calls": calls,
        "made": _facts(keys, description).get("examples"),
    }


def _judge_calls(keys: Keys, step: Train) -> Iterator[Figures]:
    """What the judges of a stage's reward are asked: every answer, once if none of them is unreadable."""
    completions = _rollouts(step, _facts(keys, step.pack)).get("completions")
    for asked in () if step.reward is None else asked_by(step.reward):
        yield {
            "name": step.name,
            "operation": "reward",
            "model": asked.name,
            "api": asked.api,
            "calls": completions,
            "made": None,
        }


def _ordered(plan: Plan, train: Train) -> tuple[str, Order]:
    pack = cast(Pack, plan.steps[train.pack])
    return pack.order, cast(Order, plan.steps[pack.order])


def _mix(plan: Plan, keys: Keys, train: Train) -> Figures:
    _, order = _ordered(plan, train)
    packed = _facts(keys, train.pack)
    parts = _parts(plan, keys, train, packed["held"]) if packed else {}
    return {
        "name": order.name,
        "train": train.name,
        "tokenizer": plan.steps[train.weights].name,
        "seed": order.seed,
        "tokens": packed.get("tokens"),
        "trained_tokens": packed.get("trained_tokens"),
        "examples": sum(part["used_examples"] for part in parts.values()) if parts else None,
        "digest": packed.get("digest"),
        "parts": parts,
    }


def _parts(plan: Plan, keys: Keys, train: Train, held: Held) -> Figures:
    """What the batches of a stage hold of each part. A split example counts where its first piece stands."""
    description, order = _ordered(plan, train)
    available = _facts(keys, description).get("available", [])
    total = sum(tokens for _, tokens, _ in held)
    by_content = sorted(order.inputs, key=lambda tokens: keys.results[tokens].content)  # as the steps list them
    found = {
        tokens: {
            "available_tokens": there["tokens"],
            "used_tokens": used,
            "used_examples": examples,
            "epochs": examples / there["examples"],
            "share": used / total if total else 0.0,
        }
        for tokens, there, (examples, used, _) in zip(by_content, available, held, strict=True)
    }
    return {order.names[tokens]: found[tokens] for tokens in order.inputs}


def _train(
    plan: Plan, keys: Keys, step_keys: dict[str, str | None], description: str, step: Train, prefixes: Prefixes
) -> Figures:
    _, order = _ordered(plan, step)
    packed = _facts(keys, step.pack)
    weights = _facts(keys, step.weights)
    config = DecoderConfig(**weights["config"]) if weights else None
    return {
        "name": step.name,
        "key": step_keys[description],
        "seed": order.seed,
        "data": order.name,
        "objective": step.objective.kind,
        "used_by": list(used_by(plan, description)),
        "updates": packed.get("updates"),
        "tokens": packed.get("tokens"),
        "trained_tokens": packed.get("trained_tokens"),
        "padded": packed.get("padded"),
        "truncated": packed.get("truncated"),
        "cut": packed.get("cut"),
        "flops": _flops(config, step, packed) if config and packed else None,
        "parameters": parameter_count(config) if config else None,
        "trained_parameters": trained_parameters(config, step) if config else None,
        "branches": list(_branches(plan, keys, description, step, prefixes)),
        **_rollouts(step, packed),
    }


def _flops(config: DecoderConfig, step: Train, packed: Figures) -> int | None:
    within: dict[str, int] = packed.get("pairs_within", {})
    windowed = None if config.window is None else within.get(str(config.window))
    return stage_flops(config, step, packed["tokens"], packed["pairs"], windowed)


def _rollouts(step: Train, packed: Figures) -> Figures:
    """Of a stage with rollouts: its prompts and how many answers are sampled."""
    if not isinstance(step.objective, GRPO):
        return {}
    prompts = packed.get("examples")
    return {"prompts": prompts, "completions": None if prompts is None else prompts * step.objective.group}


def _branches(plan: Plan, keys: Keys, train: str, step: Train, prefixes: Prefixes) -> Iterator[Figures]:
    """Where arms leave the run before its end: what they have read until there, of each part."""
    packed = keys.results.get(step.pack)
    for used, stage in _uses(plan, train):
        if stage.end == END:
            continue
        if packed is None:
            yield {"used_by": used, "updates": None, "tokens": None, "trained_tokens": None, "parts": {}}
            continue
        update = update_at(stage.end, packed.facts)
        yield {
            "used_by": used,
            "updates": update,
            "tokens": until(stage.end, "tokens", packed.facts),
            "trained_tokens": until(stage.end, "trained tokens", packed.facts),
            "parts": _parts(plan, keys, step, prefixes(step.pack, update)),
        }


def used_by(plan: Plan, train: str) -> Iterator[str]:
    """Where a train step stands: STUDY/ARM/STAGE (with @seed= where it isn't the first), or MODEL/STAGE."""
    return (used for used, _ in _uses(plan, train))


def _uses(plan: Plan, train: str) -> Iterator[tuple[str, PlannedStage]]:
    for study in plan.studies:
        for arm in study.arms:
            for stage in arm.stages:
                if stage.train == train:
                    yield f"{study.name}/{study.label(arm)}/{stage.name}", stage
    for model in plan.models:
        for stage in model.stages:
            if stage.train == train:
                yield f"{model.name}/{stage.name}", stage
