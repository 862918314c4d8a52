"""From files to a token store with a real tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.data.read import read_files
from runtime.data.rows import Format, Rows
from runtime.data.template_facts import template_facts
from runtime.data.templates import chat_template
from runtime.data.tokenize import Consumer, count_reasons, measure, tokenize
from runtime.errors import UserError
from runtime.weights.tokenizer import ModelTokenizer
from tests.runtime.data import chat_templates


def rows_of(folder: Path, format: Format, records: list[Any]) -> Rows:
    (folder / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return read_files(format, [folder / "a.jsonl"], {}, folder).rows


def chat(number: int, answer: str | None = None, **more: Any) -> dict[str, Any]:
    user = {"role": "user", "content": f"question {number}"}
    return {"messages": [user, {"role": "assistant", "content": answer or f"answer {number}"}], **more}


def test_a_store_holds_what_was_measured(tmp_path: Path, smollm2: ModelTokenizer) -> None:
    rows = rows_of(tmp_path, "chat", [chat(number) for number in range(2500)] + [chat(0, "<|im_end|>"), chat(5)])
    consumer = Consumer(smollm2, "assistant", {})
    measured = measure(rows, "chat", consumer)
    tokenized = tokenize(rows, "chat", consumer, tmp_path / "store")
    store = tokenized.store
    assert len(store) == len(measured.kept) == 2501
    assert store.lengths.tolist() == measured.tokens.tolist()
    assert store.trained_lengths.tolist() == measured.trained.tolist()
    assert count_reasons(tokenized.set_aside) == {"its text holds the control token <|im_end|>": 1}
    assert str(tokenized.set_aside[0]).startswith("a.jsonl:2501: ")
    kept = rows.select(measured.kept)
    assert (store.identity == kept.identity).all()
    assert store.occurrence.tolist() == kept.occurrence.tolist()
    for number in (0, 1200, 2500):
        of = np.array([number]), np.array([0]), store.lengths[[number]]
        tokens, trained = store.read("tokens", *of), store.read("trained", *of)
        record = next(kept.records(number, number + 1))
        assert smollm2.tokenizer.decode(tokens[trained].tolist(), skip_special_tokens=False) == (
            record["messages"][1]["content"] + "<|im_end|>"
        )
        assert trained.sum() == store.trained_lengths[number]
    few = rows.select(np.array([3, 7, 2000]))
    assert (store.identity[store.numbers_of(few)] == few.identity).all()


def test_documents(tmp_path: Path, smollm2: ModelTokenizer) -> None:
    rows = rows_of(tmp_path, "documents", [{"text": f"Story {number}. " * 3} for number in range(10)])
    tokenized = tokenize(rows, "documents", Consumer(smollm2, "all", {}), tmp_path / "store")
    store = tokenized.store
    everything = store.read("tokens", np.arange(10), np.zeros(10, np.int64), store.lengths)
    assert (everything == smollm2.eos).sum() == 10
    assert store.trained_lengths.tolist() == (store.lengths - 1).tolist()
    assert tokenized.notes == ()


def test_too_many_chats_without_anything_to_train_on(tmp_path: Path, smollm2: ModelTokenizer) -> None:
    only_asks = {"messages": [{"role": "user", "content": "x"}]}
    rows = rows_of(tmp_path, "chat", [chat(number) for number in range(9)] + [only_asks])
    with pytest.raises(UserError) as caught:
        measure(rows, "chat", Consumer(smollm2, "assistant", {}))
    assert caught.value.message == (
        "1 of 10 records can't be used; more than 1% stops here:"
        "\n  a.jsonl:10: there is no token to train on with loss: assistant"
    )
    assert "filter(turns >= 1)" in caught.value.help


def test_notes_say_what_the_template_does_to_this_data(tmp_path: Path, smollm2: ModelTokenizer) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    rows = rows_of(tmp_path, "chat", [chat(1, tools=tools), chat(2)])
    notes = tokenize(rows, "chat", Consumer(smollm2, "assistant", {}), tmp_path / "store").notes
    assert notes == (
        "the chat template ignores tools, and the data has them",
        "the chat template ignores tool calls, and the data may have them",
        "the chat template adds a system prompt of its own to chats without one: "
        "'You are a helpful AI assistant named SmolLM, trained by Hugging Face'",
    )


def test_facts_of_templates() -> None:
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    facts = {
        name: template_facts(chat_template(getattr(chat_templates, name), special))
        for name in ("CHATML", "SMOLLM2", "LLAMA3", "LLAMA3_ALWAYS_OPEN", "MISTRAL", "GEMMA", "QWEN3")
    }
    assert {name for name, fact in facts.items() if fact.takes_tools} == {"QWEN3"}
    assert {name for name, fact in facts.items() if fact.takes_tool_calls} == {"QWEN3"}
    assert {name for name, fact in facts.items() if fact.own_system} == {"SMOLLM2"}
    assert {name for name, fact in facts.items() if fact.rewrites_history} == {"QWEN3"}
    assert {name for name, fact in facts.items() if not fact.opens_turn} == {"MISTRAL"}
    assert {name for name, fact in facts.items() if not fact.closes_turn} == set()
    assert {name for name, fact in facts.items() if not fact.takes_system} == {"MISTRAL"}
    dated = template_facts(
        chat_template("{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}{% endfor %}", {})
    )
    assert (dated.uses_date, dated.closes_turn) == (True, False)
    dropped = template_facts(
        chat_template("{% for m in messages if m.role != 'system' %}{{ m.content }};{% endfor %}", {})
    )
    assert dropped.takes_system is False
    assert "ignores system messages" in dropped.notes(False, True, False)[0]
