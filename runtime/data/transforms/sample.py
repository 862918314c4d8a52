"""Lets a model answer prompts: each answer makes a chat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from compiler.operations import Sample
from runtime.data.rows import Rows, derived
from runtime.data.transforms.asking import shortened
from runtime.data.transforms.outcome import Outcome, Tally
from runtime.errors import UserError
from runtime.model_calls.calls import Caller
from runtime.model_calls.requests import Answer, Exchange, Request


def sample_rows(rows: Rows, operation: Sample, caller: Caller, path: Path) -> Outcome:
    """Chats: the prompt of each row with an answer behind it, `n` of them a row, numbered in the column `sample`.

    The prompt of a chat is what stands before its last answer, which is replaced: an assistant's message at the end,
    tool calls and results that led to it among what stays. All columns of the row are kept. Equal rows get answers of
    their own. Answers that were cut off, refused or are empty are dropped and counted: trained on, they would teach
    to stop in the middle.

    Args:
        rows: of format `prompts` or `chat`.
        path: the Parquet file of the new rows.

    Raises:
        UserError: no answer can be used, and those of `Caller.converse`.
    """
    dropped = Tally()

    def exchanges() -> Iterator[Exchange[tuple[int, int, Answer]]]:
        for number, record in rows.numbered():
            first = int(rows.occurrence[number]) * operation.n
            for place in range(operation.n):
                yield _exchange(number, record, place, first + place)

    def made() -> Iterator[tuple[int, dict[str, Any]]]:
        answered = caller.converse(f"sample with {caller.name}", exchanges, len(rows) * operation.n)
        records = rows.numbered()
        number, record = -1, {}
        for of, place, answer in answered:
            while number < of:
                number, record = next(records)
            if answer.problem:
                dropped.add(answer.problem, rows.place(number), shortened(answer.content))
            else:
                yield number, {**record, "messages": [*prompt_of(record), answer.message], "sample": place}

    result = derived(rows, made(), path)
    if not len(result):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.counts.items())
        raise UserError(f"none of the answers of {caller.name} can be used: {reasons}", "raise `max_tokens:`")
    return Outcome(result, dropped, facts={"answers": len(rows) * operation.n})


def prompt_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The messages that are answered."""
    messages = record["messages"]
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages


def _exchange(number: int, record: Mapping[str, Any], place: int, sample: int) -> Exchange[tuple[int, int, Answer]]:
    answer = yield Request(prompt_of(record), record.get("tools") or (), sample)
    return number, place, answer
