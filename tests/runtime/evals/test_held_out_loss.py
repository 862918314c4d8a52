"""Held-out loss: every token once, and the total over the total."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.evals.loss import SCHEMA, LossItem, respond, token_count
from runtime.evals.score import score


def by_token(tokens, segments, positions):
    """A token's log-probability is less than zero by its own number."""
    return np.where((segments > 0) & (positions > 0), -tokens, 0).astype(np.float32)


def item(name: str, tokens: list[int], trained: list[bool] | None = None) -> LossItem:
    mask = np.ones(len(tokens), np.bool_) if trained is None else np.array(trained)
    return LossItem(name, np.array(tokens, np.int32), mask)


def test_metric_is_total_over_total():
    table = respond([item("a", [9, 1, 1]), item("b", [9, 4, 4, 4, 4])], 64, by_token)
    assert table.schema == SCHEMA
    assert table["nll"].to_pylist() == [2.0, 16.0]
    scored = score(table, "mean(nll)")
    assert scored.value.tolist() == [1.0, 4.0]
    assert scored.weight.tolist() == [2.0, 4.0]
    assert np.average(scored.value, weights=scored.weight) == 3.0


def test_only_trained_tokens_count():
    table = respond([item("chat", [5, 6, 7, 8], [False, False, True, True])], 64, by_token)
    assert (table["nll"][0].as_py(), table["tokens"][0].as_py()) == (15.0, 2)


def test_a_row_of_one_token_counts_as_unreadable():
    scored = score(respond([item("a", [3]), item("b", [3, 4])], 64, by_token), "mean(nll)")
    assert (scored.items, scored.unreadable) == (("b",), 1)


@given(st.integers(1, 70), st.integers(2, 33))
def test_every_token_but_the_first_is_scored_once_whatever_the_context(length: int, context: int):
    tokens = list(range(1, length + 1))
    table = respond([item("long", tokens), item("short", [1, 1])], context, by_token)
    assert table["nll"].to_pylist() == [sum(tokens[1:]), 1.0]
    assert table["tokens"].to_pylist() == [length - 1, 1]


def test_in_windows_of_a_long_row_a_token_has_half_a_context_before_it():
    read: list[list[int]] = []

    def kept(tokens, segments, positions):
        for row, own in zip(tokens, segments, strict=True):
            read.extend(row[own == number].tolist() for number in range(1, int(own.max()) + 1))
        return by_token(tokens, segments, positions)

    told: list[int] = []
    long = item("long", list(range(1, 11)))
    table = respond([long], 4, kept, told.append)
    assert sorted(read) == [[1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 7, 8], [7, 8, 9, 10]]
    assert table["tokens"].to_pylist() == [9]
    assert sum(told) == token_count([long], 4) == 16


def test_no_rows():
    assert len(score(respond([], 64, by_token), "mean(nll)").items) == 0


def test_a_metric_that_is_not_there():
    with pytest.raises(ValueError, match="no metric"):
        score(respond([], 64, by_token), "mean(score)")
