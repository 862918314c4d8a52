"""What the samples of Inspect's tasks ask, as rows: for looking whether a mix holds some of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.evals import InspectTask
from runtime.data.rows import Record, Rows, RowsBuilder, canonical_json
from runtime.errors import UserError

if TYPE_CHECKING:
    from inspect_ai.dataset import Sample


def read_items(tasks: Sequence[InspectTask], path: Path, place: str) -> Rows:
    """Documents, one for each message and choice of a sample's input: what a solver adds later isn't known.

    Args:
        path: the Parquet file that holds the rows.
        place: of the evaluation.

    Raises:
        UserError: Inspect isn't installed, a task can't be made (see `open_task`), or none has samples.
    """
    check_installed(place)
    from runtime.evals.inspect_sampling import quiet
    from runtime.evals.inspect_tasks import open_task
    from runtime.model_calls.stored import nobody

    builder = RowsBuilder(path)
    count = 0
    with quiet():
        for task in tasks:
            for number, sample in enumerate(open_task(task, nobody(), place).dataset, 1):
                for text in _texts(sample):
                    record = {"text": text}
                    builder.add(
                        Record(canonical_json(record), json.dumps(record, ensure_ascii=False), task.name, number)
                    )
                    count += 1
    if not count:
        raise UserError(f"{tasks[0].name} has no samples", "look at its arguments", place)
    return builder.finish()


def check_installed(place: str) -> None:
    """UserError where Inspect isn't there."""
    try:
        import inspect_ai  # noqa: F401  (only whether it is there)
    except ModuleNotFoundError as error:
        raise UserError(
            "tasks of Inspect are run with the package inspect-ai, which isn't installed",
            "install it: `pip install 'mixc[inspect]'`",
            place,
        ) from error


def _texts(sample: Sample) -> Iterator[str]:
    if isinstance(sample.input, str):
        yield sample.input
    else:
        yield from (message.text for message in sample.input if message.text)
    yield from sample.choices or ()
