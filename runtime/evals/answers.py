"""Sampled answers to prompts: asked of a model, written down, and made into a metric once something judges them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import numpy as np
import pyarrow as pa
import re2

from compiler.evals import Labels
from runtime.data.rows import Rows
from runtime.data.transforms.sample import prompt_of
from runtime.evals.judged import Judged
from runtime.evals.judging import JudgedAnswer, Judgement
from runtime.evals.score import Scored, is_rate, item_name
from runtime.model_calls.calls import Caller
from runtime.model_calls.prompts import transcript
from runtime.model_calls.requests import PROBLEMS, Answer, Exchange, Request

SCHEMA = pa.schema(
    {
        "item": pa.string(),
        "sample": pa.int32(),
        "record": pa.string(),
        "place": pa.string(),
        "answer": pa.string(),
        "reasoning": pa.string(),
        "tool_calls": pa.string(),
        "finish": pa.string(),
    }
)
"""A row an answer, by item and sample. `record` is the prompt's row as JSON, with the messages that were answered."""

AND = " and "
"""Between labels, where the patterns of several are found in an answer."""
NO_LABEL = "no label"
"""Of an answer in which none is found."""


@dataclass(frozen=True)
class Said:
    """An answer of the table, as a judge sees it."""

    item: str
    sample: int
    record: Mapping[str, Any]
    place: str
    text: str
    """With calls of tools behind it, as text."""
    finish: str

    @property
    def unreadable(self) -> str | None:
        """Why there is no answer of the model's: its prompt left no room for one, or a filter wrote it."""
        missing = self.finish == "content_filter" or (self.finish == "model_length" and not self.text)
        return PROBLEMS[self.finish] if missing else None

    @property
    def asked(self) -> JudgedAnswer:
        return JudgedAnswer(record=self.record, text=self.text, place=self.place)


def respond(rows: Sequence[Rows], samples: int, caller: Caller, seed: int | None, what: str) -> pa.Table:
    """Asks each prompt `samples` times; answers are stored as they come, so none is asked for twice.

    What is answered is what stands before a last message of the assistant's. The random stream of an answer follows
    from the seed, the prompt's row and the number of the sample: models that are compared draw alike.

    Args:
        rows: of format `prompts`.
        seed: of the sampling; None for a served model, which has none.
        what: what is being done, for people.

    Returns:
        The table `SCHEMA`.

    Raises:
        UserError: as `Caller.converse` raises it.
        Stopped: as `Caller.converse`.
    """

    def prompts() -> Iterator[tuple[str, int, dict[str, Any], str]]:
        for each in rows:
            for number, record in each.numbered():
                occurrence = int(each.occurrence[number])
                item = item_name(bytes(each.identity[number]), occurrence)
                yield item, occurrence, {**record, "messages": prompt_of(record)}, each.place(number)

    def exchanges() -> Iterator[Exchange[dict[str, Any]]]:
        for item, occurrence, record, place in prompts():
            for sample in range(samples):
                drawn = None if seed is None else _stream(seed, item, sample)
                yield _asked(item, occurrence * samples + sample, sample, record, place, drawn)

    total = sum(map(len, rows)) * samples
    return pa.Table.from_pylist(list(caller.converse(what, exchanges, total)), SCHEMA)


def said(table: pa.Table) -> list[Said]:
    """The answers of a table that `respond` made, in their order."""
    found: list[Said] = []
    records: dict[str, dict[str, Any]] = {}
    for row in table.to_pylist():
        record = records.setdefault(row["record"], json.loads(row["record"]))
        message = {"role": "assistant", "content": row["answer"], "tool_calls": json.loads(row["tool_calls"])}
        text = transcript([message]).removeprefix("Assistant:").strip() if message["tool_calls"] else row["answer"]
        found.append(Said(row["item"], row["sample"], record, row["place"], text, row["finish"]))
    return found


def labelled(answers: Sequence[Said], labels: Labels) -> list[Judgement]:
    """The labels whose patterns are found in each answer, joined by `AND`; `NO_LABEL` where none is.

    The checker has compiled the patterns before.
    """
    patterns = [(label, re2.compile(pattern)) for label, pattern in labels.patterns]

    def of(answer: Said) -> Judgement:
        if answer.unreadable is not None:
            return Judgement(None, None, "", answer.unreadable)
        found = [label for label, pattern in patterns if pattern.search(answer.text) is not None]
        return Judgement(AND.join(found) or NO_LABEL, None, "", None)

    return [of(answer) for answer in answers]


def joined(answers: Sequence[Said], judgements: Sequence[Judgement]) -> list[Judged]:
    """Answers with what is made of them."""
    return [
        Judged(
            item=answer.item,
            sample=answer.sample,
            id=None if answer.record.get("id") is None else str(answer.record["id"]),
            messages=json.dumps(answer.record["messages"], ensure_ascii=False),
            tools=json.dumps(answer.record.get("tools") or [], ensure_ascii=False),
            answer=answer.text,
            finish=answer.finish,
            label=judgement.label,
            value=nan if judgement.value is None else judgement.value,
            detail=judgement.detail,
            unreadable=judgement.unreadable,
        )
        for answer, judgement in zip(answers, judgements, strict=True)
    ]


def metric_of(judged: Sequence[Judged], metric: str) -> Scored:
    """`rate(LABEL)`, the share of readable answers with that label, or `mean(FIELD)`, the mean of their values.

    An answer that can't be read, or has nothing that the metric is of, is counted as unreadable.
    """
    rate, name = is_rate(metric), metric.partition("(")[2].removesuffix(")")
    items: list[str] = []
    values: list[float] = []
    for row in judged:
        value = row.value
        if rate:
            value = nan if row.label is None else float(name == row.label or name in row.label.split(AND))
        if row.unreadable is not None:
            value = nan
        if not isnan(value):
            items.append(row.item)
            values.append(value)
    return Scored(
        metric=metric,
        items=tuple(items),
        value=np.asarray(values, np.float64),
        weight=np.ones(len(values), np.float64),
        unreadable=len(judged) - len(values),
    )


def _asked(
    item: str, of_model: int, sample: int, record: dict[str, Any], place: str, seed: int | None
) -> Exchange[dict[str, Any]]:
    """`of_model` counts answers to the same messages: equal rows get answers of their own."""
    answer = yield Request(record["messages"], record.get("tools") or (), of_model, seed)
    return _row(item, sample, record, place, answer)


def _row(item: str, sample: int, record: Mapping[str, Any], place: str, answer: Answer) -> dict[str, Any]:
    return {
        "item": item,
        "sample": sample,
        "record": json.dumps(record, ensure_ascii=False),
        "place": place,
        "answer": answer.content,
        "reasoning": answer.reasoning,
        "tool_calls": json.dumps([dict(call) for call in answer.tool_calls], ensure_ascii=False),
        "finish": answer.stop,
    }


def _stream(seed: int, item: str, sample: int) -> int:
    """The random stream of an answer, from 0 to 2 ** 63 - 1: Inspect's settings hold no more."""
    told = f"answers/{seed}/{item}/{sample}"
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big") >> 1
