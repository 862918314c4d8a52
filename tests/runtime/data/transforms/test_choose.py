"""The transforms that choose rows: the same rows, whatever stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.values import Compare, Constant, Field, Quantity
from runtime.data.rows import Record, Rows, canonical_json, make_rows
from runtime.data.transforms.choose import filter_rows, hold_out_rows, split_rows, take_rows
from runtime.errors import UserError


def rows_of(records: Sequence[dict[str, Any]]) -> Rows:
    return make_rows(
        Record(text := canonical_json(record), text, "data.jsonl", number) for number, record in enumerate(records, 1)
    )


def quantity(count: int, unit: Any) -> Quantity:
    return Quantity(Fraction(count), unit)


def names(rows: Rows) -> set[bytes]:
    return set(map(bytes, rows.identity))


MANY = rows_of([{"text": f"{n}"} for n in range(500)])
LENGTHS = np.array([int(record["text"]) % 50 + 1 for record in MANY.records()], np.int64)


def longer(count: int) -> Compare:
    return Compare(">", Field("characters"), Constant(Fraction(count)))


def test_filter_counts_what_it_drops_and_shows_some() -> None:
    outcome = filter_rows(MANY, longer(2), "documents", None, "characters > 2")
    assert len(outcome.rows) == 400
    assert outcome.dropped.counts == {"characters > 2": 100}
    assert {int(each.place.rpartition(":")[2]) <= 100 for each in outcome.dropped.examples["characters > 2"]} == {True}
    assert outcome.rows.identity.tolist() == sorted(outcome.rows.identity.tolist())
    everything = filter_rows(MANY, longer(0), "documents", None, "x")
    assert (len(everything.rows), everything.dropped.counts) == (500, {})
    with pytest.raises(UserError, match=r"none of 500 rows is left by filter\(characters > 9\)"):
        filter_rows(MANY, longer(9), "documents", None, "characters > 9")


def test_take_comes_nearest_and_a_larger_take_takes_the_same_rows_and_more() -> None:
    ones = np.ones(len(MANY), np.int64)
    before: set[bytes] = set()
    for count in (1, 10, 100, 499, 500):
        outcome = take_rows(MANY, quantity(count, "examples"), ones)
        assert len(outcome.rows) == count
        assert outcome.dropped.counts == ({"take": 500 - count} if count < 500 else {})
        assert before <= names(outcome.rows)
        before = names(outcome.rows)
    by_name = dict(zip(map(bytes, MANY.identity), LENGTHS.tolist(), strict=True))
    for count in (40, 1000, 7777, int(LENGTHS.sum())):
        kept = take_rows(MANY, quantity(count, "tokens"), LENGTHS).rows
        assert abs(sum(by_name[name] for name in names(kept)) - count) <= 25
        assert kept.identity.tolist() == sorted(kept.identity.tolist())


def test_take_does_not_depend_on_other_rows() -> None:
    fewer = MANY.select(np.arange(0, 500, 2))
    taken = names(take_rows(MANY, quantity(100, "examples"), np.ones(500, np.int64)).rows)
    again = names(take_rows(fewer, quantity(40, "examples"), np.ones(250, np.int64)).rows)
    there = names(fewer)
    assert again <= taken & there or taken & there <= again


def test_take_more_than_there_is() -> None:
    with pytest.raises(UserError, match=r"take\(501 examples\) finds 500 in 500 rows\nhelp: take at most 500 examples"):
        take_rows(MANY, quantity(501, "examples"), np.ones(500, np.int64))
    assert len(take_rows(MANY, quantity(int(LENGTHS.sum()) + 49, "tokens"), LENGTHS).rows) == 500


@given(st.lists(st.fractions(0, 1, max_denominator=1000), max_size=4), st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_splits_share_no_row_and_leave_none_out_whatever_is_added(cuts: list[Fraction], fewer: int) -> None:
    edges = sorted({Fraction(0), *cuts, Fraction(1)})
    parts: list[set[bytes]] = []
    few = MANY.select(np.arange(fewer))
    for low, high in pairwise(edges):
        try:
            outcome = split_rows(MANY, low, high)
        except UserError as error:
            assert error.message.startswith("none of 500 rows is in split(")  # noqa: PT017  (one of the two outcomes)
            continue
        assert sum(outcome.dropped.counts.values()) == 500 - len(outcome.rows)
        parts.append(names(outcome.rows))
        if names(few) & parts[-1]:
            assert names(split_rows(few, low, high).rows) == names(few) & parts[-1]
    assert sum(map(len, parts)) == 500
    assert set().union(*parts) == names(MANY)


def test_a_split_is_as_large_as_asked_and_equal_rows_lie_together() -> None:
    train, test = (split_rows(MANY, *map(Fraction, edges)).rows for edges in (("0", "0.8"), ("0.8", "1")))
    assert 370 <= len(train) <= 430
    assert len(test) == 500 - len(train)
    assert test.identity.tolist() == sorted(test.identity.tolist())
    twice = rows_of([record for record in MANY.records() for _ in range(2)])
    assert len(split_rows(twice, Fraction(0), Fraction(4, 5)).rows) == 2 * len(train)
    with pytest.raises(UserError, match=r"none of 3 rows is in split\(0..0.001\)"):
        split_rows(MANY.select(np.arange(3)), Fraction(0), Fraction(1, 1000))


def test_holdout_follows_from_the_record_alone() -> None:
    stays, held = (hold_out_rows(MANY, Fraction(1, 10), side).rows for side in ("kept", "held_out"))
    assert len(stays) + len(held) == 500
    assert not names(stays) & names(held)
    assert 25 <= len(held) <= 80
    fewer = hold_out_rows(MANY.select(np.arange(100)), Fraction(1, 10), "held_out").rows
    assert names(fewer) <= names(held)
    twice = rows_of([record for record in MANY.records() for _ in range(2)])
    assert len(hold_out_rows(twice, Fraction(1, 10), "held_out").rows) == 2 * len(held)
    with pytest.raises(UserError, match="a holdout of 1% sets no row aside, of 3"):
        hold_out_rows(MANY.select(np.arange(3)), Fraction(1, 100), "kept")
