"""Runs the steps of data: read, transform, weights, tokenize, order and pack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, assert_never, cast

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from compiler.identity import Json, sha256
from compiler.steps import DataStep, Measure, Order, Pack, Read, Result, Share, Tokenize, Transform, Weights
from dsl.scalars import parse_text
from dsl.values import Amount, Predicate, Quantity, Unit
from runtime.data import amounts
from runtime.data.batches import digest
from runtime.data.encode import Loss
from runtime.data.keys import key as stream_key
from runtime.data.order import load_order, make_order, uses
from runtime.data.packing import pack
from runtime.data.read import Broken, read_files
from runtime.data.rows import Format, Rows
from runtime.data.store import TokenStore, open_store, store_digest
from runtime.data.tokenize import Consumer, count_reasons, measure, tokenize
from runtime.data.transforms.choose import filter_rows, hold_out_rows, take_rows
from runtime.errors import UserError
from runtime.evals.choice_rows import read_choices
from runtime.steps.context import Context

ORDER = "order.npz"
PACKING = "packing.npz"
ROWS = "rows.parquet"
EXAMPLES = 5
"""Broken rows that the facts of a step name."""


def run_data(context: Context, description: str, step: DataStep, folder: Path) -> Result:
    """Fills `folder` with what a data step gives, and returns what it is in numbers. Raises UserError."""
    match step:
        case Read():
            content, facts = _read(context, step, folder)
        case Transform():
            content, facts = _transform(context, step, folder)
        case Weights():
            content, facts = _weights(context, description, step)
        case Tokenize():
            content, facts = _tokenize(context, step, folder)
        case Order():
            content, facts = _order(context, step, folder)
        case Pack():
            content, facts = _pack(context, step, folder)
        case _:
            assert_never(step)
    return Result(key=context.key(description), content=content, facts=facts)


def rows_of(context: Context, description: str) -> Rows:
    """The rows that a `read` or `transform` step gave."""
    return Rows(pq.read_table(context.folder(description) / ROWS))


Outcome = tuple[str, dict[str, Any]]
"""The hash of what came out, and facts of it."""


def _read(context: Context, step: Read, folder: Path) -> Outcome:
    paths = context.paths(step)
    if step.format == "choice":
        reading = read_choices(paths, context.root)
    else:
        reading = read_files(cast(Format, step.format), paths, step.fields, context.root)
    pq.write_table(reading.rows.table, folder / ROWS)
    return reading.rows.digest, {
        "examples": len(reading.rows),
        "layouts": dict(reading.layouts),
        "dropped": dict(count_reasons(reading.broken)),
        "broken": _examples(reading.broken),
        "unusual": {name: f"{each.count}, the first at {each.first}" for name, each in reading.unusual.items()},
    }


def _transform(context: Context, step: Transform, folder: Path) -> Outcome:
    rows = rows_of(context, step.rows)
    set_aside: tuple[Broken, ...] = ()
    lengths = trained = None
    if step.weights is not None:
        consumer = Consumer(context.model(step.weights).tokenizer, cast(Loss, step.loss), step.template_args)
        measured = measure(rows, cast(Format, step.format), consumer)
        rows, set_aside = rows.select(measured.kept), measured.set_aside
        lengths, trained = measured.tokens, measured.trained
    match step.operation:
        case "filter":
            predicate = cast(Predicate, parse_text("predicate", step.argument))
            kept, dropped = filter_rows(rows, predicate, cast(Format, step.format), lengths, step.argument)
        case "take":
            quantity = cast(Quantity, parse_text("quantity", step.argument))
            of_unit = {"tokens": lengths, "trained tokens": trained}.get(quantity.unit)
            kept, dropped = take_rows(rows, quantity, np.ones(len(rows), np.int64) if of_unit is None else of_unit)
        case "holdout":
            side, share = step.argument.split()
            kept_in, held_out = hold_out_rows(rows, Fraction(share))
            kept, dropped = (kept_in if side == "kept" else held_out), {}
        case _:
            assert_never(step.operation)
    pq.write_table(kept.table, folder / ROWS)
    reasons = {**count_reasons(set_aside), **dropped}
    return kept.digest, {"examples": len(kept), "dropped": reasons, "broken": _examples(set_aside)}


def _weights(context: Context, description: str, step: Weights) -> Outcome:
    model = context.model(description)
    tokenizer = model.tokenizer
    read_as = {
        "tokenizer": tokenizer.tokenizer.to_str(),
        "chat_template": tokenizer.chat_template,
        "special": [tokenizer.bos, tokenizer.eos, tokenizer.pad, tokenizer.unknown],
    }
    return sha256(list(context.files.digests[step.location])), {
        "tokenizer": sha256(cast(Json, read_as)),
        "context": model.config.context,
        "config": asdict(model.config),
    }


def _tokenize(context: Context, step: Tokenize, folder: Path) -> Outcome:
    consumer = Consumer(context.model(step.weights).tokenizer, cast(Loss, step.loss), step.template_args)
    tokenized = tokenize(rows_of(context, step.rows), cast(Format, step.format), consumer, folder)
    store = tokenized.store
    return store_digest(store), {
        "examples": len(store),
        "tokens": int(store.lengths.sum()),
        "trained_tokens": int(store.trained_lengths.sum()),
        "dropped": dict(count_reasons(tokenized.set_aside)),
        "broken": _examples(tokenized.set_aside),
        "notes": list(tokenized.notes),
    }


def _examples(broken: Sequence[Broken]) -> list[Json]:
    return [{"place": f"{each.file}:{each.line}", "reason": each.reason} for each in broken[:EXAMPLES]]


def _order(context: Context, step: Order, folder: Path) -> Outcome:
    inputs = sorted_inputs(context, step)
    stores = [open_store(context.folder(description)) for description in inputs]
    names = {part.tokens: part.name for part in step.parts}
    sources = [
        store.source(names[description], context.keys.results[description].content)
        for description, store in zip(inputs, stores, strict=True)
    ]
    phases = [
        amounts.Phase(
            None if phase.length is None else _length(phase.length),
            tuple(amounts.Part(inputs.index(part.tokens), _amount(part.amount)) for part in phase.parts),
        )
        for phase in step.phases
    ]
    order = make_order(
        sources,
        phases,
        _quantity(step.budget),
        _quantity(_in_rows(step)),
        None if step.max_epochs is None else Fraction(step.max_epochs),
        step.underfill,
        stream_key(step.seed, "order", step.data, step.use),
    )
    order.save(folder / ORDER)
    used = dict(zip(inputs, uses(order, sources), strict=True))
    parts = [used[description] for description in step.inputs]
    return order.digest, {
        "examples": len(order),
        "tokens": sum(use.used_tokens for use in parts),
        "trained_tokens": sum(use.used_trained_tokens for use in parts),
        "parts": [
            {
                "available_tokens": use.available_tokens,
                "used_tokens": use.used_tokens,
                "used_examples": use.used_examples,
                "epochs": float(use.epochs),
                "share": float(use.share),
            }
            for use in parts
        ],
    }


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
    packing = pack(
        load_order(context.folder(step.order) / ORDER),
        stores,
        step.packing,
        step.sequence,
        rows_of_batch(step),
        lambda source, number: place_of_row(context, inputs[source], stores[source], number),
        step.updates,
    )
    packing.save(folder / PACKING)
    stream = digest(packing, stores)
    return stream, {
        "updates": packing.updates,
        "tokens": packing.tokens,
        "trained_tokens": packing.trained_tokens,
        "padded": packing.padded,
        "truncated": int(packing.split),
        "pairs": int(_pairs(packing.lengths.astype(np.int64)).sum()),
        "digest": stream,
        "cumulative_tokens": np.cumsum(packing.tokens_by_update).tolist(),
        "cumulative_trained_tokens": np.cumsum(packing.trained_by_update).tolist(),
    }


def _pairs(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many (token, earlier token or itself) pairs attention sees in pieces of these lengths."""
    return lengths * (lengths + 1) // 2


def rows_of_batch(step: Pack) -> int:
    """Token rows of a batch: its examples, or its tokens over the sequence."""
    count = int(Fraction(step.batch.count))
    if step.batch.unit != "tokens":
        return count
    if count % step.sequence:
        nearest = max(round(count / step.sequence), 1) * step.sequence
        raise UserError(
            f"a batch of {count} tokens is no whole number of sequences of {step.sequence}",
            f"write `batch: {nearest} tokens`, or `batch: {nearest // step.sequence} examples`",
        )
    return count // step.sequence


def place_of_row(context: Context, tokens: str, store: TokenStore, number: int) -> str:
    """FILE:LINE of a row of a `tokenize` step."""
    tokenize_step = context.keys.plan.steps[tokens]
    assert isinstance(tokenize_step, Tokenize)
    rows = rows_of(context, tokenize_step.rows)
    places = store.numbers_of(rows)
    return rows.place(int(np.flatnonzero(places == number)[0]))


def _quantity(measure: Measure | None) -> Quantity | None:
    return None if measure is None else Quantity(Fraction(measure.count), cast(Unit, measure.unit))


def _amount(share: Share) -> Amount:
    value = share.value
    return Amount(
        share.kind, _quantity(value) if isinstance(value, Measure) else None if value is None else Fraction(value)
    )


def _length(share: Share) -> Fraction | Quantity | None:
    return _quantity(share.value) if isinstance(share.value, Measure) else Fraction(share.value or 1)
