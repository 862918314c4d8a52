"""Runs the steps of data: read, transform, weights, tokenize, order and pack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, assert_never, cast

import numpy as np
from numpy.typing import NDArray

from compiler.identity import Json, sha256
from compiler.steps import DataStep, MixOf, Order, Pack, PhaseOf, Read, Result, Survey, Tokenize, Transform, Weights
from compiler.values import Measure, Share
from dsl.values import Amount, Quantity, Unit
from runtime.data.batches import digest
from runtime.data.keys import key as stream_key
from runtime.data.mixed import Mixed, Part, Phase
from runtime.data.order import load_order, make_order, uses
from runtime.data.packed import held, load_packing
from runtime.data.packing import pack
from runtime.data.read import read_files
from runtime.data.rows import Format
from runtime.data.store import TokenStore, open_store, store_digest
from runtime.data.tokenize import tokenize
from runtime.data.transforms.outcome import Tally
from runtime.errors import UserError
from runtime.evals.choice_rows import read_choices
from runtime.steps.context import Context
from runtime.steps.surveys import survey
from runtime.steps.transforms import ROWS, consumer_of, progress, rows_of, shown, transform

ORDER = "order"
PACKING = "packing"


def run_data(context: Context, description: str, step: DataStep, folder: Path) -> Result:
    """Fills `folder` with what a data step gives, and returns what it is in numbers. Raises UserError."""
    match step:
        case Read():
            content, facts = _read(context, step, folder)
        case Transform():
            content, facts = transform(context, step, folder)
        case Weights():
            content, facts = _weights(context, description, step)
        case Tokenize():
            content, facts = _tokenize(context, step, folder)
        case Survey():
            content, facts = survey(context, step, folder)
        case Order():
            content, facts = _order(context, step, folder)
        case Pack():
            content, facts = _pack(context, step, folder)
        case _:
            assert_never(step)
    return Result(key=context.key(description), content=content, facts=facts)


Outcome = tuple[str, dict[str, Any]]
"""The hash of what came out, and facts of it."""


def _read(context: Context, step: Read, folder: Path) -> Outcome:
    if step.tasks:
        return _read_tasks(step, folder)
    paths, names = context.paths(step.files), context.files.names
    if step.format == "choice":
        reading = read_choices(paths, context.root, names)
        reading.rows.save(folder / ROWS)
    else:
        reading = read_files(cast(Format, step.format), paths, step.fields, context.root, folder / ROWS, names)
    set_aside = Tally()
    for each in reading.broken:
        set_aside.add(each.reason, f"{each.file}:{each.line}")
    return reading.rows.digest, {
        "examples": len(reading.rows),
        "layouts": dict(reading.layouts),
        "dropped": set_aside.counts,
        "shown": shown(set_aside),
        "unusual": {name: f"{each.count}, the first at {each.first}" for name, each in reading.unusual.items()},
    }


def _read_tasks(step: Read, folder: Path) -> Outcome:
    """What samples of tasks of Inspect begin with."""
    from runtime.evals.inspect_items import read_items

    rows = read_items(step.tasks, folder / ROWS, step.place)
    return rows.digest, {"examples": len(rows), "layouts": {}, "dropped": {}, "shown": {}, "unusual": {}}


def _weights(context: Context, description: str, step: Weights) -> Outcome:
    model = context.model(description)
    tokenizer = model.tokenizer
    read_as = {
        "tokenizer": tokenizer.tokenizer.to_str(),
        "chat_template": tokenizer.chat_template,
        "special": [tokenizer.bos, tokenizer.eos, tokenizer.pad, tokenizer.unknown],
    }
    reads = sha256(cast(Json, read_as))
    of_weights = [] if step.location is None else list(context.files.digests[step.location])
    return sha256([*of_weights, cast(Json, step.architecture), step.seed, reads]), {
        "tokenizer": reads,
        "context": model.config.context,
        "config": asdict(model.config),
    }


def _tokenize(context: Context, step: Tokenize, folder: Path) -> Outcome:
    rows, format, consumer = rows_of(context, step.rows), cast(Format, step.format), consumer_of(context, step)
    with progress(context, f"tokenize {step.name}", rows) as advance:
        tokenized = tokenize(rows, format, consumer, folder, context.engine, advance)
    store = tokenized.store
    return store_digest(store), {
        "examples": len(store),
        "tokens": int(store.lengths.sum()),
        "trained_tokens": int(store.trained_lengths.sum()),
        "dropped": tokenized.set_aside.counts,
        "shown": shown(tokenized.set_aside),
        "notes": list(tokenized.notes),
    }


def _order(context: Context, step: Order, folder: Path) -> Outcome:
    inputs = sorted_inputs(context, step)
    stores = [open_store(context.folder(description)) for description in inputs]
    names = step.names
    sources = [
        store.source(names[description], context.keys.results[description].content)
        for description, store in zip(inputs, stores, strict=True)
    ]
    mixed = _mixed(step.mix, {description: index for index, description in enumerate(inputs)}, step.name)
    stream = stream_key(step.seed, "order", step.data, step.use)
    order = make_order(sources, mixed, _quantity(_in_rows(step)), stream)
    order.save(folder / ORDER)
    return order.digest, {
        "examples": len(order),
        "available": [
            {"tokens": use.available_tokens, "examples": use.available_examples} for use in uses(order, sources)
        ],
    }


def _mixed(mix: MixOf, index: Mapping[str, int], name: str) -> Mixed:
    """A mix of steps as a mix of sources by their index."""
    return Mixed(
        phases=tuple(
            Phase(None if phase.length is None else _length(phase.length), _parts(phase, index)) for phase in mix.phases
        ),
        budget=_quantity(mix.budget),
        max_epochs=None if mix.max_epochs is None else Fraction(mix.max_epochs),
        underfill=mix.underfill,
        temperature=None if mix.phases[0].temperature is None else Fraction(mix.phases[0].temperature),
        name=name,
    )


def _parts(phase: PhaseOf, index: Mapping[str, int]) -> tuple[Part, ...]:
    rest = Amount("rest", None)
    return tuple(
        Part(
            index[part.of] if isinstance(part.of, str) else _mixed(part.of, index, part.name),
            rest if part.amount is None else _amount(part.amount),
        )
        for part in phase.parts
    )


def sorted_inputs(context: Context, step: Order | Pack) -> list[str]:
    """The `tokenize` steps of an order by what they hold: a mapping of parts has no order of its own."""
    tokens = step.inputs if isinstance(step, Order) else step.tokens
    return sorted(tokens, key=lambda description: context.keys.results[description].content)


def _in_rows(step: Order) -> Measure | None:
    """The stage's length, with updates turned into what their batches hold."""
    if step.length is None or step.length.unit not in ("steps", "prompts"):
        return step.length
    each = step.batch.unit if step.length.unit == "steps" else "examples"
    times = Fraction(step.batch.count) if step.length.unit == "steps" else Fraction(1)
    return Measure(count=str(Fraction(step.length.count) * times), unit="tokens" if each == "tokens" else "examples")


def _pack(context: Context, step: Pack, folder: Path) -> Outcome:
    inputs = sorted_inputs(context, step)
    stores = [open_store(context.folder(description)) for description in inputs]
    places = [places_of(context, description, store) for description, store in zip(inputs, stores, strict=True)]
    packing = pack(
        load_order(context.folder(step.order) / ORDER),
        stores,
        step.packing,
        step.longest,
        rows_of_batch(step),
        lambda source, number: places[source](number),
        step.updates,
        step.overlong,
        whole=[number for number, each in enumerate(inputs) if _format(context, each) != "documents"],
        reserved=step.reserved,
    )
    packing.save(folder / PACKING)
    stream = digest(packing, stores)
    return stream, {
        "updates": packing.updates,
        "tokens": packing.tokens,
        "trained_tokens": packing.trained_tokens,
        "padded": packing.padded,
        "truncated": int(packing.split),
        "cut": int(packing.cut),
        "pairs": _pairs(packing.lengths.astype(np.int64)),
        "pairs_within": _pairs_within(packing.lengths.astype(np.int64)),
        "digest": stream,
        "held": held(packing, len(stores), packing.updates).tolist(),
        "examples": int(packing.examples_by_update.sum()),
        "cumulative_examples": np.cumsum(packing.examples_by_update).tolist(),
        "cumulative_tokens": np.cumsum(packing.tokens_by_update).tolist(),
        "cumulative_trained_tokens": np.cumsum(packing.trained_by_update).tolist(),
    }


def held_until(context: Context, pack: str, update: int) -> list[list[int]]:
    """Examples, tokens and trained tokens of each source of a done `pack` step, up to an update."""
    step = context.keys.plan.steps[pack]
    assert isinstance(step, Pack)
    return held(load_packing(context.folder(pack) / PACKING), len(step.tokens), update).tolist()


def _format(context: Context, tokens: str) -> str:
    step = context.keys.plan.steps[tokens]
    assert isinstance(step, Tokenize)
    return step.format


def _pairs(lengths: NDArray[np.int64], window: int | None = None) -> int:
    """How many (token, earlier token or itself) pairs attention sees in pieces of these lengths, within a window."""
    reach = lengths if window is None else np.minimum(lengths, window)
    return int((reach * (reach + 1) // 2 + (lengths - reach) * reach).sum())


def _pairs_within(lengths: NDArray[np.int64]) -> dict[str, int]:
    """The pairs by window, of all powers of two (as published models have them) that are shorter than some piece."""
    longest = int(lengths.max(initial=0))
    return {str(window): _pairs(lengths, window) for window in (1 << n for n in range(64)) if window < longest}


def rows_of_batch(step: Pack) -> int:
    """Token rows of a batch: its examples, or its tokens over the room of a row, two sequences for a pair."""
    count = int(Fraction(step.batch.count))
    if step.batch.unit != "tokens":
        return count
    if count % step.width:
        nearest = max(round(count / step.width), 1) * step.width
        rows = "pairs of sequences" if step.pairs else "sequences"
        raise UserError(
            f"a batch of {count} tokens is no whole number of {rows} of {step.sequence}",
            f"write `batch: {nearest} tokens`, or `batch: {nearest // step.width} examples`",
        )
    return count // step.width


def places_of(context: Context, tokens: str, store: TokenStore) -> Callable[[int], str]:
    """What gives FILE:LINE of a row of a `tokenize` step by its number; nothing is read before it is asked."""
    tokenize_step = context.keys.plan.steps[tokens]
    assert isinstance(tokenize_step, Tokenize)
    rows = rows_of(context, tokenize_step.rows)
    return lambda number: rows.place(rows.find(store.identity[number].tobytes(), int(store.occurrence[number])))


def _quantity(measure: Measure | None) -> Quantity | None:
    return None if measure is None else Quantity(Fraction(measure.count), cast(Unit, measure.unit))


def _amount(share: Share) -> Amount:
    value = share.value
    return Amount(
        share.kind, _quantity(value) if isinstance(value, Measure) else None if value is None else Fraction(value)
    )


def _length(share: Share) -> Fraction | Quantity | None:
    return _quantity(share.value) if isinstance(share.value, Measure) else Fraction(share.value or 1)
