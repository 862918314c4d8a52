"""Predicates over records of all formats, against a plain reading of the predicate, row by row."""

from __future__ import annotations

import operator
import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.record_fields import DERIVED
from dsl.scalars import parse_text
from dsl.values import Compare, Constant, Field, Has, InRange, Logic, Matches, Not, Predicate, Range
from runtime.data.fields import reader
from runtime.data.predicates import evaluate, fields_of
from runtime.data.rows import BATCH, Format, Record, Rows, canonical_json, make_rows
from runtime.errors import UserError


def rows_of(records: Sequence[dict[str, Any]]) -> Rows:
    return make_rows(
        Record(text := canonical_json(record), text, "data.jsonl", number) for number, record in enumerate(records, 1)
    )


def held(format: Format, written: str, records: Sequence[dict[str, Any]]) -> list[Any]:
    """The `id` of every record for which a predicate of the language holds."""
    rows = rows_of(records)
    holds = evaluate(cast(Predicate, parse_text("predicate", written)), format, rows, None)
    return sorted(record["id"] for record, it_holds in zip(rows.records(), holds, strict=True) if it_holds)


def number(value: int | str) -> Constant:
    return Constant(Fraction(value))


THREE_CHATS = rows_of(
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
TWO_DOCUMENTS = rows_of([{"text": "abc", "ok": True}, {"text": "abcdé", "ok": False}])


def chosen_ids(
    predicate: Predicate, tokens: list[int] | None = None, rows: Rows = THREE_CHATS, format: Format = "chat"
) -> list[Any]:
    by_id = None
    if tokens is not None:
        by_id = np.array([tokens[record["id"] - 1] for record in rows.records()], np.int64)
    holds = evaluate(predicate, format, rows, by_id)
    return sorted(
        record.get("id", record["text"] if format == "documents" else None)
        for record, is_held in zip(rows.records(), holds, strict=True)
        if is_held
    )


@pytest.mark.parametrize(
    ("predicate", "ids"),
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
def test_predicates_over_chats(predicate: Predicate, ids: list[int]) -> None:
    assert chosen_ids(predicate, [5, 7, 9]) == ids


def test_predicates_over_documents() -> None:
    longer = Compare(">", Field("characters"), number(4))
    assert chosen_ids(longer, rows=TWO_DOCUMENTS, format="documents") == ["abcdé"]
    assert chosen_ids(Field("ok"), rows=TWO_DOCUMENTS, format="documents") == ["abc"]


def test_a_missing_field_is_an_error_unless_asked_for() -> None:
    with pytest.raises(UserError) as caught:
        chosen_ids(Compare("==", Field("label"), Constant("no")))
    assert caught.value.message == "2 of 3 rows have no field 'label'"
    assert caught.value.place is not None
    assert caught.value.place.startswith("data.jsonl:")
    with pytest.raises(UserError, match=r"have no field 'turn'\nhelp: did you mean 'turns'\?"):
        chosen_ids(Compare("==", Field("turn"), number(1)))
    with pytest.raises(UserError, match="no tokenizer counts `tokens`"):
        chosen_ids(Compare(">", Field("tokens"), number(1)))


def test_types_do_not_mix() -> None:
    with pytest.raises(UserError, match="'id' is a number here, not a text"):
        chosen_ids(Compare("==", Field("id"), Constant("1")))
    with pytest.raises(UserError, match="'user' is a text here, not a number"):
        chosen_ids(Compare("<", Field("user"), number(3)))
    with pytest.raises(UserError, match="'turns' is a number here, not true or false"):
        chosen_ids(Field("turns"))
    with pytest.raises(UserError, match="'messages' is a list or an object here, not a text"):
        chosen_ids(Matches(Field("messages"), "x"))
    with pytest.raises(UserError, match="is not an RE2 pattern"):
        chosen_ids(Matches(Field("user"), r"(a)\1"))


def test_fields_of_a_predicate() -> None:
    predicate = Logic(
        "and", (Not(Field("a")), InRange(Field("tokens"), Range(Fraction(1), Fraction(2))), Has(Field("b")))
    )
    assert fields_of(predicate) == {"a", "tokens", "b"}
    assert fields_of(Logic("or", (Matches(Field("c"), "x"), Compare("<", Field("d"), number(1))))) == {"c", "d"}


SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Where is the ferry?"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "ferries"}}]}
RESULT = {"role": "tool", "content": "at quay 4"}
ANSWER = {"role": "assistant", "content": "At quay 4."}
TOOL = {"type": "function", "function": {"name": "ferries"}}

PREFERENCES = [
    {"id": 1, "messages": [SYSTEM, USER], "chosen": "At quay 4.", "rejected": "No idea."},
    {"id": 2, "messages": [USER], "chosen": "I'd rather not say.", "rejected": "Quay 4!", "tools": [TOOL]},
    {"id": 3, "messages": [USER, ANSWER, USER], "chosen": "", "rejected": "x", "assistant": "a column", "tools": []},
]
PROMPTS = [
    {"id": 1, "messages": [USER], "answer": "quay 4"},
    {"id": 2, "messages": [SYSTEM, USER, CALL, RESULT, USER], "answer": "", "turns": 99},
    {"id": 3, "messages": [USER, ANSWER, USER], "tools": None, "answer": "4"},
]


@pytest.mark.parametrize(
    ("written", "ids"),
    [
        ("has_system", [1]),
        ("has_tools", [2]),
        ('matches(chosen, "^I\'d rather")', [2]),
        ('chosen == ""', [3]),
        ('matches(rejected, "(?i)quay")', [2]),
        ("chosen == rejected", []),
        ('matches(user, "ferry")', [1, 2, 3]),
        ('system == "Be brief."', [1]),
        ('matches(text, "At quay 4")', [3]),
        ("has(assistant)", [3]),
        ('has(assistant) and assistant == "a column"', [3]),
    ],
)
def test_preferences(written: str, ids: list[int]) -> None:
    assert held("preference", written, PREFERENCES) == ids


@pytest.mark.parametrize(
    ("written", "ids"),
    [
        ("turns == 0", [1]),
        ("turns == 1", [2, 3]),
        ("has_tools", [2]),
        ("not has_system", [1, 3]),
        ('matches(answer, "^(quay )?4$")', [1, 3]),
        ('matches(assistant, "quay")', [3]),
        ('matches(user, "(?s)ferry.{3}Where")', [2, 3]),
        ('matches(text, "at quay 4")', [2]),
    ],
)
def test_prompts(written: str, ids: list[int]) -> None:
    assert held("prompts", written, PROMPTS) == ids


def test_a_call_without_definitions_counts_as_tools() -> None:
    chats = [{"id": 1, "messages": [USER, CALL, RESULT, ANSWER]}, {"id": 2, "messages": [USER, ANSWER]}]
    assert held("chat", "has_tools", chats) == [1]


def test_derived_fields_are_of_the_declared_kind_in_every_format() -> None:
    records: dict[Format, dict[str, Any]] = {
        "documents": {"text": "one"},
        "chat": {"messages": [USER, ANSWER]},
        "preference": PREFERENCES[0],
        "prompts": PROMPTS[1],
    }
    kinds = {"a number": int, "a text": str, "true or false": bool}
    for format, record in records.items():
        for name, declared in DERIVED[format].items():
            if name != "tokens":  # which depends on the model
                assert type(reader(format, name)(record)) is kinds[declared.kind], (format, name)


def test_a_row_that_was_tokenized_before_has_no_texts_to_ask_for() -> None:
    rows = rows_of([{"tokens": [1, 2], "trained": [0, 1], "label": "no"}])
    assert evaluate(Compare("==", Field("label"), Constant("no")), "chat", rows, None).tolist() == [True]
    assert evaluate(Has(Field("user")), "chat", rows, None).tolist() == [False]
    with pytest.raises(UserError, match="1 of 1 rows have no field 'turns'"):
        evaluate(Compare("<", Field("turns"), Constant(Fraction(2))), "chat", rows, None)


def test_numbers_are_what_is_written() -> None:
    records = [{"id": 0.1, "text": "a"}, {"id": 9007199254740993, "text": "b"}, {"id": 3.0, "text": "c"}]
    assert held("documents", "id == 0.1", records) == [0.1]
    assert held("documents", "id <= 0.1", records) == [0.1]
    assert held("documents", "id == 10%", records) == [0.1]
    assert held("documents", "id == 9007199254740992", records) == []
    assert held("documents", "id == 3", records) == [3.0]


def test_texts_that_are_hard_on_patterns() -> None:
    records = [{"id": 0, "text": "a\0b"}, {"id": 1, "text": "naïve\n"}, {"id": 2, "text": "a" * 99_999}]
    assert held("documents", 'matches(text, "^a.b$")', records) == [0]
    assert held("documents", 'matches(text, "na.ve")', records) == [1]
    assert held("documents", 'matches(text, "(a*)*$")', records) == [0, 1, 2]
    half = make_rows([Record('{"id":2}', '{"id": 2, "text": "x\\ud800y"}', "data.jsonl", 1)])
    assert evaluate(Matches(Field("text"), "^x"), "documents", half, None).tolist() == [True]
    assert evaluate(Matches(Field("text"), "x.y"), "documents", half, None).tolist() == [True]


def test_a_pattern_that_is_none_is_told_once_and_not_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"'\(a' is not an RE2 pattern: missing \): \(a"):
        evaluate(Matches(Field("text"), "(a"), "documents", rows_of([{"text": "a"}]), None)
    assert capfd.readouterr().err == ""


def test_faults_are_counted_over_all_batches() -> None:
    count = 3 * BATCH
    chats = [{"id": number, **({} if number % 3 else {"label": "no"}), "text": "x"} for number in range(count)]
    rows = rows_of(chats)
    lacking = next(number for number, record in enumerate(rows.records()) if "label" not in record)
    with pytest.raises(UserError) as caught:
        evaluate(Compare("==", Field("label"), Constant("no")), "documents", rows, None)
    assert caught.value.message == f"{2 * BATCH:,} of {count:,} rows have no field 'label'"
    assert caught.value.place == rows.place(lacking)
    even = Compare("<", Field("id"), Constant(Fraction(BATCH)))
    with pytest.raises(UserError, match=rf"^data.jsonl:\d+: {BATCH - len(range(0, BATCH, 3))} of {BATCH:,} rows have"):
        evaluate(Logic("and", (even, Compare("==", Field("label"), Constant("no")))), "documents", rows, None)


def test_the_first_condition_that_fails_is_told_even_where_a_later_one_fails_earlier() -> None:
    """One row lacks `first`, all others lack `second`: batches meet the second fault long before."""
    records = [{"text": str(number), **({"first": True} if number else {"second": True})} for number in range(2000)]
    with pytest.raises(UserError, match="1 of 2,000 rows have no field 'first'"):
        evaluate(Logic("and", (Field("first"), Field("second"))), "documents", rows_of(records), None)


def test_two_fields_are_compared_only_where_they_are_of_one_kind() -> None:
    assert held("documents", "a == b", [{"id": 1, "text": "x", "a": 1, "b": 1.0}]) == [1]
    with pytest.raises(UserError, match="'b' is a number here, not true or false"):
        held("documents", "a == b", [{"id": 1, "text": "x", "a": True, "b": 1}])


def test_tokens_alone_are_asked_of_no_record() -> None:
    broken = make_rows([Record("{}", "this is not JSON", "data.jsonl", 1)])
    longer = Compare(">", Field("tokens"), Constant(Fraction(3)))
    assert evaluate(longer, "chat", broken, np.array([4], np.int64)).tolist() == [True]


def test_memory_does_not_grow_with_the_rows() -> None:
    rows = rows_of([{"text": f"{number} " + "x" * 400} for number in range(16 * BATCH)])
    peaks: list[int] = []
    for count in (4 * BATCH, 16 * BATCH):
        tracemalloc.start()
        evaluate(Matches(Field("text"), "y"), "documents", rows.select(np.arange(count)), None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


# Any predicate over any records, against its plain reading.

NAMES = ("a", "b", "turns", "user", "has_tools", "text")
TEXTS = st.sampled_from(["", "no", "yes", "naïve \0 text", "a\nb"])
NUMBERS = st.sampled_from([0, 1, 2, 0.1, 0.5, -1.5, 10**20])
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.just([1]))
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXTS}), max_size=4
)
CHATS = st.lists(
    st.fixed_dictionaries({"messages": MESSAGES}, optional={"a": VALUES, "b": VALUES, "tools": st.just([TOOL])}),
    min_size=1,
    max_size=6,
)
FIELDS = st.sampled_from(NAMES).map(Field)
CONSTANTS = st.one_of(
    st.sampled_from([Fraction(0), Fraction(1), Fraction(1, 10), Fraction(1, 3), Fraction(10**20)]),
    st.booleans(),
    TEXTS,
).map(Constant)
LEAVES = st.one_of(
    FIELDS,
    st.builds(Has, FIELDS),
    st.builds(Matches, FIELDS, st.sampled_from(["no", "^$", "a.?b", "(?s)a.b", "\\x00"])),
    st.builds(InRange, FIELDS, st.just(Range(Fraction(1, 10), Fraction(2)))),
    st.builds(Compare, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), FIELDS, st.one_of(FIELDS, CONSTANTS)),
)
PREDICATES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(Logic, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


class WrongError(Exception):
    """The plain reading meets a missing field or a wrong kind."""


def value_of(expression: Any, record: dict[str, Any], kind: type | None) -> Any:
    value = expression.value if isinstance(expression, Constant) else plain_field(expression.name, record)
    value = Fraction(str(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    if value is None or (kind is not None and type(value) is not kind):
        raise WrongError
    return value


def plain_field(name: str, record: dict[str, Any]) -> Any:
    messages = record["messages"]
    match name:
        case "turns":
            return len([message for message in messages if message["role"] == "assistant"])
        case "user":
            return "\n\n".join(message["content"] for message in messages if message["role"] == "user")
        case "text":
            return "\n\n".join(message["content"] for message in messages)
        case "has_tools":
            return bool(record.get("tools"))
        case _:
            return record.get(name)


def plain(predicate: Any, record: dict[str, Any]) -> bool:
    match predicate:
        case Logic(operator="and", operands=operands):
            return all(plain(operand, record) for operand in operands)
        case Logic(operands=operands):
            return any(plain(operand, record) for operand in operands)
        case Not(operand=operand):
            return not plain(operand, record)
        case Has(field=field):
            return plain_field(field.name, record) is not None
        case Matches(field=field, pattern=pattern):
            text = value_of(field, record, str)
            found = {"no": "no" in text, "^$": text == "", "a.?b": "ab" in text, "(?s)a.b": "a\nb" in text}
            return found.get(pattern, "\0" in text)
        case InRange(value=value):
            return Fraction(1, 10) <= value_of(value, record, Fraction) <= 2
        case Compare(operator=sign, left=left, right=right):
            kind = None if sign in ("==", "!=") else Fraction
            first = value_of(left, record, kind)
            second = value_of(right, record, type(first) if kind is None else kind)
            signs = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}
            return first != second if sign == "!=" else signs[sign](first, second)
        case field:
            return value_of(field, record, bool)


@given(CHATS, PREDICATES)
@settings(max_examples=250, deadline=None)
def test_a_predicate_holds_where_its_plain_reading_does(records: list[dict[str, Any]], predicate: Any) -> None:
    rows = rows_of(records)
    try:
        expected = [plain(predicate, record) for record in rows.records()]
    except WrongError:
        with pytest.raises(UserError):
            evaluate(predicate, "chat", rows, None)
        return
    assert evaluate(predicate, "chat", rows, None).tolist() == expected
