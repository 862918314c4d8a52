"""Runs a distance step: how far what an arm trains on lies in meaning from the items of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from compiler.identity import sha256
from compiler.keys import update_at
from compiler.steps import Distance, Pack, Report, Result, Taken, Tokenize
from runtime.data.keys import key, row_hashes
from runtime.data.packed import load_packing
from runtime.data.rows import Rows
from runtime.data.similarity.embedding import embed_rows
from runtime.data.store import open_store
from runtime.errors import UserError
from runtime.evals.distance import distances
from runtime.evals.score import Scored, from_json, item_name, to_json
from runtime.evals.statistics import Cell, Interval, estimate
from runtime.progress import Tracker
from runtime.steps.context import Context
from runtime.steps.data import PACKING, sorted_inputs
from runtime.steps.transforms import rows_of
from runtime.stopping import Stopped

_SAMPLE = key(0, "distance", "", 0)
"""Rows are chosen by what they are: one that is embedded for an arm is so for another that trains on the same rows."""
_AT_ONCE = 16
"""Rows that are embedded between two looks at whether to stop."""
_FILE = "distances.json"

_Chosen: TypeAlias = tuple[str, Rows, NDArray[np.int64]]
"""The key of the step that gave some rows, these, and the numbers of those that are embedded."""


def run_distance(context: Context, description: str, step: Distance, folder: Path) -> Result:
    """Writes the distance of each item. Raises UserError where there is nothing to measure, or the model is missing."""
    sampled = [each for taken in step.trained for each in _trained_on(context, taken, step.sampled)]
    items = [chosen for chosen in (_items(context, each, step.sampled) for each in step.items) if len(chosen[2])]
    trained = [chosen for chosen, _ in sampled]
    total = sum(len(numbers) for _, _, numbers in (*trained, *items))
    if not trained or not items:
        raise UserError("there is no row to measure a distance of", "leave `distance` out", step.place)
    with context.reporter.work(f"distance of {step.name}", total, "rows", "rows") as tracker:
        of_rows, of_items = (
            np.concatenate([_embedded(context, *one, tracker) for one in each]) for each in (trained, items)
        )
    weights = np.concatenate([weights for _, weights in sampled])
    names = [name for _, rows, numbers in items for name in _names(rows, numbers)]
    values = distances(of_items, of_rows, weights)
    text = to_json(Scored("mean(distance)", tuple(names), values, np.ones(len(values))))
    (folder / _FILE).write_text(text)
    facts = {"rows": len(of_rows), "items": len(of_items)}
    return Result(key=context.key(description), content=sha256(text), facts=facts)


def distances_of(context: Context, step: Report) -> dict[str, Interval]:
    """By arm the mean distance over items with its interval, of all that are measured."""
    done = {arm: each for arm, each in step.distances.items() if context.store.find(context.key(each)) is not None}
    scored = {arm: from_json((context.folder(each) / _FILE).read_text()) for arm, each in done.items()}
    return {arm: estimate(Cell(arm, {None: each})) for arm, each in scored.items()}


def _trained_on(context: Context, taken: Taken, sampled: int) -> Iterator[tuple[_Chosen, NDArray[np.float64]]]:
    """Of each source of a stage the rows that are embedded, and the weight of each: float64 `[rows]`.

    An example counts as often as one begins in the stage's batches, a pair once. The weights of a source's rows add up
    to its examples, however many of its rows are embedded.
    """
    pack = context.keys.plan.steps[taken.pack]
    assert isinstance(pack, Pack)
    packing = load_packing(context.folder(taken.pack) / PACKING)
    stop = int(packing.edges[update_at(taken.end, context.keys.results[taken.pack].facts)])
    begun = packing.begins[:stop] == 0
    sources, numbers = packing.sources[:stop][begun], packing.numbers[:stop][begun]
    for source, description in enumerate(sorted_inputs(context, pack)):
        tokens = context.keys.plan.steps[description]
        assert isinstance(tokens, Tokenize)
        store = open_store(context.folder(description))
        times = np.bincount(numbers[sources == source], minlength=len(store))
        read = np.flatnonzero(times)
        if not len(read):
            continue
        hashes = row_hashes(store.identity[read], store.occurrence[read], _SAMPLE)
        own = np.sort(read[np.argsort(hashes, kind="stable")[:sampled]])
        rows = rows_of(context, tokens.rows)
        found = [rows.find(store.identity[number].tobytes(), int(store.occurrence[number])) for number in own.tolist()]
        yield (
            (context.key(tokens.rows), rows, np.array(found, np.int64)),
            times[own] * (times.sum() / times[own].sum()),
        )


def _items(context: Context, description: str, sampled: int) -> _Chosen:
    rows = rows_of(context, description)
    hashes = row_hashes(rows.identity, rows.occurrence, _SAMPLE)
    return context.key(description), rows, np.sort(np.argsort(hashes, kind="stable")[:sampled])


def _names(rows: Rows, numbers: NDArray[np.int64]) -> Iterator[str]:
    for number in numbers.tolist():
        yield item_name(rows.identity[number].tobytes(), int(rows.occurrence[number]))


def _embedded(
    context: Context, step: str, rows: Rows, numbers: NDArray[np.int64], tracker: Tracker
) -> NDArray[np.float32]:
    """The embeddings of some rows, float32 `[rows, d]`, each made once in a run."""
    known = context.embedded
    missing = np.array([number for number in numbers.tolist() if (step, number) not in known], np.int64)
    tracker.to(tracker.work.done + len(numbers) - len(missing))
    for start in range(0, len(missing), _AT_ONCE):
        if context.stop.is_set():
            raise Stopped
        part = np.unique(missing[start : start + _AT_ONCE])
        known.update(zip(((step, number) for number in part.tolist()), embed_rows(rows.select(part)), strict=True))
        tracker.to(tracker.work.done + len(missing[start : start + _AT_ONCE]))
    return np.stack([known[step, number] for number in numbers.tolist()])
