"""Predicates and the transforms that choose rows."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from dsl.values import Compare, Constant, Field, Has, InRange, Logic, Matches, Not, Predicate, Quantity, Range
from runtime.data.predicates import evaluate, fields_of
from runtime.data.rows import Format, Record, Rows, canonical_json, make_rows
from runtime.data.transforms.choose import filter_rows, hold_out_rows, take_rows
from runtime.errors import UserError


def rows_of(records: Sequence[dict[str, Any]]) -> Rows:
    return make_rows(
        Record(text := canonical_json(record), text, "data.jsonl", number) for number, record in enumerate(records, 1)
    )


def number(value: int | str) -> Constant:
    return Constant(Fraction(value))


CHATS = rows_of(
    [
        {"id": 1, "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "Be honest."}]},
        {
            "id": 2,
            "tools": [{"name": "f"}],
            "label": "no",
            "score": 0.5,
            "ok": True,
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "b"},
                {"role": "assistant", "content": None, "tool_calls": []},
                {"role": "assistant", "content": "c"},
            ],
        },
        {"id": 3, "label": None, "tools": [], "messages": [{"role": "user", "content": "HARM"}]},
    ]
)
DOCUMENTS = rows_of([{"text": "abc", "ok": True}, {"text": "abcdé", "ok": False}])


def ids(
    predicate: Predicate, tokens: list[int] | None = None, rows: Rows = CHATS, format: Format = "chat"
) -> list[Any]:
    by_id = None
    if tokens is not None:
        by_id = np.array([tokens[record["id"] - 1] for record in rows.records()], np.int64)
    holds = evaluate(predicate, format, rows, by_id)
    return sorted(
        record.get("id", record["text"] if format == "documents" else None)
        for record, held in zip(rows.records(), holds, strict=True)
        if held
    )


@pytest.mark.parametrize(
    ("predicate", "held"),
    [
        (Compare(">=", Field("turns"), number(1)), [1, 2]),
        (Compare("==", Field("turns"), number(2)), [2]),
        (Field("has_tools"), [2]),
        (Not(Field("has_system")), [1, 3]),
        (Matches(Field("assistant"), "(?i)HONEST|^c"), [1]),
        (Matches(Field("assistant"), "(?m)^c$"), [2]),
        (Compare("==", Field("assistant"), Constant("\n\nc")), [2]),
        (Matches(Field("text"), "HARM"), [3]),
        (Compare("==", Field("user"), Constant("b")), [2]),
        (Compare("==", Field("system"), Constant("")), [1, 3]),
        (InRange(Field("tokens"), Range(Fraction(5), Fraction(7))), [1, 2]),
        (Compare("<", Field("tokens"), number("13/2")), [1]),
        (Compare("<", number("13/2"), Field("tokens")), [2, 3]),
        (Has(Field("label")), [2]),
        (Logic("and", (Has(Field("label")), Compare("==", Field("label"), Constant("no")))), [2]),
        (Logic("or", (Not(Has(Field("label"))), Compare("!=", Field("label"), Constant("no")))), [1, 3]),
        (Not(Logic("and", (Has(Field("ok")), Field("ok")))), [1, 3]),
        (Logic("and", (Has(Field("score")), Compare("==", Field("score"), number("1/2")))), [2]),
        (Compare("!=", Field("id"), number(2)), [1, 3]),
        (Compare("==", Field("has_tools"), Constant(True)), [2]),
    ],
)
def test_predicates_over_chats(predicate: Predicate, held: list[int]) -> None:
    assert ids(predicate, [5, 7, 9]) == held


def test_predicates_over_documents() -> None:
    longer = Compare(">", Field("characters"), number(4))
    assert ids(longer, rows=DOCUMENTS, format="documents") == ["abcdé"]
    assert ids(Field("ok"), rows=DOCUMENTS, format="documents") == ["abc"]


def test_a_missing_field_is_an_error_unless_asked_for() -> None:
    with pytest.raises(UserError) as caught:
        ids(Compare("==", Field("label"), Constant("no")))
    assert caught.value.message == "2 of 3 rows have no field 'label'"
    assert caught.value.place is not None
    assert caught.value.place.startswith("data.jsonl:")
    with pytest.raises(UserError, match=r"have no field 'turn'\nhelp: did you mean 'turns'\?"):
        ids(Compare("==", Field("turn"), number(1)))
    with pytest.raises(UserError, match="no tokenizer counts `tokens`"):
        ids(Compare(">", Field("tokens"), number(1)))


def test_types_do_not_mix() -> None:
    with pytest.raises(UserError, match="'id' is a number here, not a text"):
        ids(Compare("==", Field("id"), Constant("1")))
    with pytest.raises(UserError, match="'user' is a text here, not a number"):
        ids(Compare("<", Field("user"), number(3)))
    with pytest.raises(UserError, match="'turns' is a number here, not true or false"):
        ids(Field("turns"))
    with pytest.raises(UserError, match="'messages' is a list or an object here, not a text"):
        ids(Matches(Field("messages"), "x"))
    with pytest.raises(UserError, match="is not an RE2 pattern"):
        ids(Matches(Field("user"), r"(a)\1"))


def test_fields_of_a_predicate() -> None:
    predicate = Logic(
        "and", (Not(Field("a")), InRange(Field("tokens"), Range(Fraction(1), Fraction(2))), Has(Field("b")))
    )
    assert fields_of(predicate) == {"a", "tokens", "b"}
    assert fields_of(Logic("or", (Matches(Field("c"), "x"), Compare("<", Field("d"), number(1))))) == {"c", "d"}


def test_filter() -> None:
    kept, dropped = filter_rows(CHATS, Compare(">=", Field("turns"), number(1)), "chat", None, "turns >= 1")
    assert (len(kept), dropped) == (2, {"turns >= 1": 1})
    assert kept.identity.tolist() == sorted(kept.identity.tolist())
    everything, dropped = filter_rows(CHATS, Compare(">=", Field("turns"), number(0)), "chat", None, "x")
    assert (len(everything), dropped) == (3, {})
    with pytest.raises(UserError, match=r"none of 3 rows is left by filter\(turns > 9\)"):
        filter_rows(CHATS, Compare(">", Field("turns"), number(9)), "chat", None, "turns > 9")


MANY = rows_of([{"text": f"{n}"} for n in range(500)])
LENGTHS = np.array([int(record["text"]) % 50 + 1 for record in MANY.records()], np.int64)


def quantity(count: int, unit: Any) -> Quantity:
    return Quantity(Fraction(count), unit)


def test_take_comes_nearest_and_a_larger_take_takes_the_same_rows_and_more() -> None:
    ones = np.ones(len(MANY), np.int64)
    before: set[bytes] = set()
    for count in (1, 10, 100, 499, 500):
        kept, dropped = take_rows(MANY, quantity(count, "examples"), ones)
        assert len(kept) == count
        assert dropped == ({"take": 500 - count} if count < 500 else {})
        names = set(kept.table["identity"].to_pylist())
        assert before <= names
        before = names
    by_name = dict(zip(MANY.table["identity"].to_pylist(), LENGTHS.tolist(), strict=True))
    for count in (40, 1000, 7777, int(LENGTHS.sum())):
        kept, _ = take_rows(MANY, quantity(count, "tokens"), LENGTHS)
        assert abs(sum(by_name[name] for name in kept.table["identity"].to_pylist()) - count) <= 25
        assert kept.identity.tolist() == sorted(kept.identity.tolist())


def test_take_does_not_depend_on_other_rows() -> None:
    fewer = MANY.select(np.arange(0, 500, 2))
    taken = set(take_rows(MANY, quantity(100, "examples"), np.ones(500, np.int64))[0].table["identity"].to_pylist())
    there = set(fewer.table["identity"].to_pylist())
    again = set(take_rows(fewer, quantity(40, "examples"), np.ones(250, np.int64))[0].table["identity"].to_pylist())
    assert again <= taken & there or taken & there <= again


def test_take_more_than_there_is() -> None:
    with pytest.raises(UserError, match=r"take\(501 examples\) finds 500 in 500 rows\nhelp: take at most 500 examples"):
        take_rows(MANY, quantity(501, "examples"), np.ones(500, np.int64))
    kept, _ = take_rows(MANY, quantity(int(LENGTHS.sum()) + 49, "tokens"), LENGTHS)
    assert len(kept) == 500


def test_holdout_follows_from_the_record_alone() -> None:
    stays, held = hold_out_rows(MANY, Fraction(1, 10))
    assert len(stays) + len(held) == 500
    assert 25 <= len(held) <= 80
    fewer = hold_out_rows(MANY.select(np.arange(100)), Fraction(1, 10))[1]
    assert set(fewer.table["identity"].to_pylist()) <= set(held.table["identity"].to_pylist())
    twice = rows_of([record for record in MANY.records() for _ in range(2)])
    assert len(hold_out_rows(twice, Fraction(1, 10))[1]) == 2 * len(held)
    with pytest.raises(UserError, match="a holdout of 1% sets no row aside, of 3"):
        hold_out_rows(CHATS, Fraction(1, 100))
