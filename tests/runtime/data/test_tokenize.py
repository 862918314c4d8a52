"""From files to a token store with a real tokenizer."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.data.engine import Engine, inline, processes
from runtime.data.rows import Format, Record, Rows, canonical_json, make_rows
from runtime.data.store import open_store, pieces_done, store_digest
from runtime.data.template_facts import template_facts
from runtime.data.templates import chat_template
from runtime.data.tokenize import Consumer, measure, tokenize
from runtime.errors import UserError
from runtime.weights.tokenizer import ModelTokenizer
from tests.runtime.data import chat_templates


def rows_of(records: Iterable[Mapping[str, Any]]) -> Rows:
    return make_rows(
        Record(canonical_json(record), json.dumps(record), "a.jsonl", line) for line, record in enumerate(records, 1)
    )


def chat(number: int, answer: str | None = None, **more: Any) -> dict[str, Any]:
    user = {"role": "user", "content": f"question {number}"}
    return {"messages": [user, {"role": "assistant", "content": answer or f"answer {number}"}], **more}


def test_a_store_holds_what_was_measured(tmp_path: Path, smollm2: ModelTokenizer) -> None:
    rows = rows_of([chat(number) for number in range(2500)] + [chat(0, "<|im_end|>"), chat(5)])
    consumer = Consumer(smollm2, "assistant", {})
    measured = measure(rows, "chat", consumer)
    tokenized = tokenize(rows, "chat", consumer, tmp_path / "store")
    store = tokenized.store
    assert len(store) == len(measured.kept) == 2501
    assert store.lengths.tolist() == measured.tokens.tolist()
    assert store.trained_lengths.tolist() == measured.trained.tolist()
    refused = "its text holds the control token <|im_end|>"
    assert tokenized.set_aside.counts == measured.set_aside.counts == {refused: 1}
    assert [each.place for each in tokenized.set_aside.examples[refused]] == ["a.jsonl:2501"]
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
    rows = rows_of([{"text": f"Story {number}. " * 3} for number in range(10)])
    tokenized = tokenize(rows, "documents", Consumer(smollm2, "all", {}), tmp_path / "store")
    store = tokenized.store
    everything = store.read("tokens", np.arange(10), np.zeros(10, np.int64), store.lengths)
    assert (everything == smollm2.eos).sum() == 10
    assert store.trained_lengths.tolist() == (store.lengths - 1).tolist()
    assert tokenized.notes == ()


CHATS = [chat(number, "so " * (number % 97 + 1)) for number in range(600)] + [chat(0, "<|im_end|>"), chat(5)]
DOCUMENTS = [{"text": f"Story {number}. " * (number % 50 + 1)} for number in range(600)]
SMALL_PIECES = 2000


@pytest.mark.parametrize(("format", "records"), [("chat", CHATS), ("documents", DOCUMENTS)])
def test_who_works_changes_nothing(
    tmp_path: Path, smollm2: ModelTokenizer, format: Format, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(records)
    consumer = Consumer(smollm2, "assistant", {})
    whole = tokenize(rows, format, consumer, tmp_path / "whole", inline())
    measured = measure(rows, format, consumer, inline())
    monkeypatch.setattr("runtime.data.tokenize.PIECE", SMALL_PIECES)
    in_file = rows.save(tmp_path / "rows.parquet")
    engines: list[Engine] = [inline(), processes(3)]
    for number, engine in enumerate(engines):
        tokenized = tokenize(in_file, format, consumer, tmp_path / str(number), engine)
        assert store_digest(tokenized.store) == store_digest(whole.store)
        assert content(tmp_path / str(number)) == content(tmp_path / "whole")
        assert (tokenized.set_aside, tokenized.notes) == (whole.set_aside, whole.notes)
        again = measure(in_file, format, consumer, engine)
        assert again.set_aside == measured.set_aside
        for name in ("kept", "tokens", "trained"):
            assert getattr(again, name).tolist() == getattr(measured, name).tolist()


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


KILLED = """
import pickle, sys
from pathlib import Path
from runtime.data import tokenize
from runtime.data.engine import processes
from runtime.data.rows import open_rows

if __name__ == "__main__":
    folder, tokenize.PIECE = Path(sys.argv[1]), int(sys.argv[2])
    consumer = pickle.loads((folder / "consumer").read_bytes())
    tokenize.tokenize(open_rows(folder / "rows.parquet"), "chat", consumer, folder / "store", processes(2))
"""


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_store(tmp_path: Path, smollm2: ModelTokenizer) -> None:
    consumer = Consumer(smollm2, "assistant", {})
    rows = rows_of(CHATS).save(tmp_path / "rows.parquet")
    expected = tokenize(rows, "chat", consumer, tmp_path / "expected", inline())
    (tmp_path / "consumer").write_bytes(pickle.dumps(consumer))
    (tmp_path / "run.py").write_text(KILLED)
    run = [sys.executable, "run.py", str(tmp_path), str(SMALL_PIECES)]
    draw = random.Random(0)
    for last in (False, False, False, True):
        before = len(pieces_done(tmp_path / "store"))
        with subprocess.Popen(run, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as child:
            more = draw.randint(1, 8)
            while not last and child.poll() is None and len(pieces_done(tmp_path / "store")) < before + more:
                time.sleep(0.001)
            if not last:
                time.sleep(draw.uniform(0, 0.01))
                child.kill()
        assert child.returncode == (0 if last else -signal.SIGKILL)
    assert store_digest(open_store(tmp_path / "store")) == store_digest(expected.store)
    assert content(tmp_path / "store") == content(tmp_path / "expected")


def test_too_many_chats_without_anything_to_train_on(tmp_path: Path, smollm2: ModelTokenizer) -> None:
    only_asks = {"messages": [{"role": "user", "content": "x"}]}
    rows = rows_of([chat(number) for number in range(9)] + [only_asks])
    with pytest.raises(UserError) as caught:
        measure(rows, "chat", Consumer(smollm2, "assistant", {}))
    assert caught.value.message == (
        "1 of 10 records can't be used; more than 1% stops here:"
        "\n  a.jsonl:10: there is no token to train on with loss: assistant"
    )
    assert "filter(turns >= 1)" in caught.value.help


def test_notes_say_what_the_template_does_to_this_data(tmp_path: Path, smollm2: ModelTokenizer) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    rows = rows_of([chat(1, tools=tools), chat(2)])
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
