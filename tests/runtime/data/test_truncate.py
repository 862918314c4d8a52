"""Rows cut to a number of tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runtime.data.encode import encode
from runtime.data.rows import Record, Rows, canonical_json, make_rows
from runtime.data.tokenize import Consumer, template_of
from runtime.data.transforms.truncate import fit_document, truncate_rows
from runtime.weights.tokenizer import ModelTokenizer


def rows_of(records: Iterable[Mapping[str, Any]]) -> Rows:
    return make_rows(
        Record(canonical_json(record), json.dumps(record), "a.jsonl", line) for line, record in enumerate(records, 1)
    )


def test_documents_are_cut_where_a_token_ends(tmp_path: Path, smollm2: ModelTokenizer) -> None:
    texts = ["short", "One sentence after another. " * 40, "漢字 😀 é " * 60]
    outcome = truncate_rows(
        rows_of([{"text": text} for text in texts]),
        "documents",
        50,
        Consumer(smollm2, "all", {}),
        tmp_path / "cut.parquet",
    )
    left = {record["text"] for record in outcome.rows.records()}
    assert "short" in left
    assert all(any(text.startswith(part) for text in texts) for part in left)
    encoded = encode("documents", smollm2.tokenizer, None, [{"text": text} for text in left], "all", end=2)
    assert sorted(encoded.lengths.tolist())[1:] >= [49, 49]
    assert encoded.lengths.max() <= 50
    assert outcome.notes == ("2 of 3 rows were cut at 50 tokens",)
    assert fit_document(smollm2.tokenizer, texts[2], 1) == ""


def test_chats_keep_whole_exchanges(tmp_path: Path, smollm2: ModelTokenizer) -> None:
    turns = [("user", "question"), ("assistant", "answer " * 20)]
    long = [{"role": role, "content": f"{text} {number}"} for number in range(10) for role, text in turns]
    chats = [{"messages": long}, {"messages": long[:2]}, {"messages": [long[0], {**long[1], "content": "a " * 200}]}]
    consumer = Consumer(smollm2, "assistant", {})
    outcome = truncate_rows(rows_of(chats), "chat", 120, consumer, tmp_path / "cut.parquet")
    records = list(outcome.rows.records())
    left = sorted(len(record["messages"]) for record in records)
    assert left == [2, 4]
    one_more = {"messages": long[:6]}
    lengths = encode("chat", smollm2.tokenizer, template_of(consumer), [*records, one_more], "assistant").lengths
    assert lengths[:-1].max() <= 120 < lengths[-1]
    assert outcome.dropped.counts == {"longer than 120 tokens": 1}
    assert outcome.notes == ("1 of 3 rows were cut at 120 tokens",)


def test_prompts_and_pairs_are_dropped(tmp_path: Path, smollm2: ModelTokenizer) -> None:
    prompts = [{"messages": [{"role": "user", "content": "word " * count}]} for count in (1, 200)]
    consumer = Consumer(smollm2, "assistant", {})
    outcome = truncate_rows(rows_of(prompts), "prompts", 60, consumer, tmp_path / "cut.parquet")
    assert (len(outcome.rows), outcome.dropped.counts) == (1, {"longer than 60 tokens": 1})
