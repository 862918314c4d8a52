"""Figures that tell varied texts from texts that repeat themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from runtime.data import variety as measured
from runtime.data.rows import Record, Rows, canonical_json, make_rows
from runtime.data.variety import variety


def rows_of(records: Sequence[dict[str, Any]]) -> Rows:
    return make_rows(
        Record(text := canonical_json(record), text, "data.jsonl", number) for number, record in enumerate(records, 1)
    )


def documents(texts: Sequence[str]) -> Rows:
    return rows_of([{"text": text} for text in texts])


def test_figures_of_a_few_texts() -> None:
    found = variety(documents(["The cat sat.", "the cat ran", "A dog, a dog!"]), "documents")
    assert found is not None
    assert (found.rows, found.words) == (3, 10)
    assert found.distinct == (6 / 10, 5 / 7, 4 / 4)  # the, cat, sat, ran, a, dog; 'the cat' and 'a dog' twice
    assert found.mean_length == pytest.approx(10 / 3)
    assert found.deviation_of_length == pytest.approx((2 / 9) ** 0.5)
    assert found.opening_share == pytest.approx(1 / 3)


def test_an_opening_that_most_texts_share() -> None:
    texts = [f"Certainly! I'd be happy to help with {thing}." for thing in ("tea", "ferries", "pumps")]
    found = variety(documents([*texts, "Ferries leave at six."]), "documents")
    assert found is not None
    assert (found.opening, found.opening_share) == ("certainly id be happy to", 0.75)


def test_what_a_model_writes_is_measured_in_each_format() -> None:
    user, answer = {"role": "user", "content": "u u u"}, {"role": "assistant", "content": "one two"}
    chat = variety(rows_of([{"messages": [user, answer, user, answer]}, {"messages": [user]}]), "chat")
    assert chat is not None
    assert (chat.rows, chat.opening, chat.mean_length) == (1, "one two one two", 4.0)
    pair = variety(rows_of([{"messages": [user], "chosen": "good", "rejected": "bad bad"}]), "preference")
    assert pair is not None
    assert (pair.opening, pair.distinct) == ("good", (1.0, 1.0, 1.0))
    prompt = variety(rows_of([{"messages": [user]}]), "prompts")
    assert prompt is not None
    assert prompt.distinct == (1 / 3, 1 / 2, 1.0)
    assert variety(rows_of([{"messages": [user]}]), "chat") is None
    assert variety(rows_of([{"tokens": [1], "trained": [1]}]), "chat") is None


def test_more_rows_of_the_same_kind_give_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the sample, figures don't fall with the size of the source."""
    monkeypatch.setattr(measured, "ROWS", 400)
    monkeypatch.setattr(measured, "WORDS", 1500)
    monkeypatch.setattr(measured, "WORDS_OF_ROW", 20)
    texts = [" ".join(f"w{number * step % 997}" for step in range(1, 31)) for number in range(1, 4001)]
    some, all = variety(documents(texts[::4]), "documents"), variety(documents(texts), "documents")
    assert some is not None
    assert all is not None
    assert (some.rows, some.words, all.words) == (400, 1500, 1500)
    assert some.distinct[0] == pytest.approx(all.distinct[0], rel=0.1)
    assert some == variety(documents(texts[::4][::-1]), "documents")
