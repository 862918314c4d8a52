"""Callers of the test server, and rows to ask about."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console

from compiler.operations import Asked
from runtime.data.rows import Record, Rows, canonical_json, make_rows
from runtime.model_calls.answers import Answers
from runtime.model_calls.callers import served_caller
from runtime.model_calls.calls import Caller
from runtime.model_calls.failures import Patience
from runtime.model_calls.requests import Answer, Exchange, Request
from runtime.progress import Reporter

API = "openai-api/local/tester"
ASKED = Asked(name="writer", api=API, temperature="0.7", max_tokens=200)
IMPATIENT = Patience(retries=20, first=0.01, longest=0.05, timeout=5.0)


@contextmanager
def calling(store: Path, asked: Asked = ASKED, **options: Any) -> Iterator[Caller]:
    """A caller with a store of its own, that doesn't wait long."""
    with Answers(store, print) as answers:
        reporter = Reporter(Console(file=io.StringIO(), width=200))
        yield served_caller(asked, answers, reporter, Event(), **{"patience": IMPATIENT, **options})


def rows_of(records: Sequence[dict[str, Any]]) -> Rows:
    return make_rows(
        Record(canonical_json(record), json.dumps(record), "rows.jsonl", line) for line, record in enumerate(records, 1)
    )


def prompts(count: int) -> Rows:
    return rows_of([{"messages": [{"role": "user", "content": f"Question {number}?"}]} for number in range(count)])


def asked_text(body: Any) -> str:
    """What the last message of a request says."""
    return body["messages"][-1]["content"]


def question(text: str, sample: int = 0, **more: Any) -> Exchange[Answer]:
    answer = yield Request([{"role": "user", "content": text}], sample=sample, **more)
    return answer


def ask(caller: Caller, *texts: str) -> list[Answer]:
    return list(caller.converse("ask", lambda: (question(text) for text in texts), len(texts)))


def said(caller: Caller) -> list[str]:
    """The lines that a user saw, where the output is no terminal."""
    file = caller.reporter.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()
