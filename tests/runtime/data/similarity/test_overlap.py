"""Overlap with the texts of an eval: nothing planted is missed, nothing is found without shared words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.engine import inline, processes
from runtime.data.rows import Record, Rows, canonical_json, make_rows
from runtime.data.similarity.overlap import SHORTEST, ngrams_of, overlap, overlapping
from runtime.data.similarity.texts import texts_of
from runtime.data.similarity.words import words

LETTERS = st.lists(st.sampled_from("abcd"), max_size=30)


def rows_of(records: list[dict[str, Any]]) -> Rows:
    return make_rows(
        Record(text := canonical_json(record), text, "data.jsonl", number) for number, record in enumerate(records, 1)
    )


def documents(*texts: str) -> Rows:
    return rows_of([{"text": text, "number": number} for number, text in enumerate(texts)])


def hit(rows: Rows, texts: list[str], length: int) -> set[int]:
    """The `number` of each row that overlaps."""
    found = overlapping(rows, ngrams_of(texts, length), inline())
    return {record["number"] for place, record in enumerate(rows.records()) if place in found}


@given(st.lists(LETTERS, min_size=1, max_size=6), st.lists(LETTERS, max_size=4), st.integers(1, 13))
@settings(deadline=None)
def test_exactly_the_rows_that_share_a_run(ours: list[list[str]], theirs: list[list[str]], length: int) -> None:
    def runs(text: list[str], size: int) -> set[tuple[str, ...]]:
        return {tuple(text[start : start + size]) for start in range(len(text) - size + 1)}

    expected: set[int] = set()
    for other in theirs:
        size = min(length, len(other))
        if size >= min(length, SHORTEST):
            expected |= {number for number, text in enumerate(ours) if runs(text, size) & runs(other, size)}
    assert hit(documents(*map(" ".join, ours)), list(map(" ".join, theirs)), length) == expected


@given(
    st.integers(0, 400),
    st.integers(0, 40),
    st.sampled_from([str.upper, str.title, lambda text: text.replace(" ", ",\n— "), lambda text: f"«{text}»"]),
)
@settings(deadline=None)
def test_a_planted_run_is_found_wherever_it_stands(before: int, inside: int, changed: Any) -> None:
    eval_text = " ".join(f"e{number}" for number in range(60))
    planted = " ".join(eval_text.split()[inside : inside + 13])
    noise = [f"n{number}" for number in range(400)]
    text = " ".join([*noise[:before], changed(planted), *noise[before:]])
    found = overlapping(documents("clean", text), ngrams_of([eval_text], 13), inline())
    assert list(found.values()) == [planted]
    one_less = " ".join([*noise[:before], *planted.split()[1:], *noise[before:]])
    assert not overlapping(documents(one_less), ngrams_of([eval_text], 13), inline())


def test_an_equal_hash_is_no_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    ngrams = ngrams_of([" ".join("abcdefghijklm")], 13)
    rows = documents(" ".join("nopqrstuvwxyz"))
    for runs in ngrams.runs.values():
        other = ngrams_of([" ".join("nopqrstuvwxyz")], 13).runs[13]
        runs.hashes[:] = other.hashes
        runs.is_there[:] = other.is_there
    assert not overlapping(rows, ngrams, inline())


def test_short_texts_match_whole_or_are_counted() -> None:
    eight, seven = "one two three four five six seven eight", "you are a helpful and honest assistant"
    ngrams = ngrams_of([eight, seven, "", "Yes."], 13)
    assert ngrams.too_short == 3
    rows = documents(f"well {eight} then", "one two three four five six seven", seven)
    assert hit(rows, [eight, seven, ""], 13) == {0}
    assert hit(rows, [seven], 7) == {2}


def test_runs_do_not_cross_messages() -> None:
    first, second = "one two three four five six seven", "eight nine ten eleven twelve thirteen fourteen"
    message = {"role": "user", "content": first}
    chat = {"number": 0, "messages": [message, {"role": "assistant", "content": second}]}
    whole = {"number": 1, "messages": [{"role": "user", "content": f"{first} {second}"}]}
    assert hit(rows_of([chat, whole]), [f"{first} {second}"], 13) == {1}


def test_scripts_without_blanks() -> None:
    text = "吾輩は猫である。名前はまだ無い。"
    assert hit(documents(f"彼は言った「{text}」と。", "吾輩は犬である。名前はもう有る。"), [text], 13) == {0}
    assert words(text)[:4] == ["吾", "輩", "は", "猫"]


def test_every_text_of_a_record_is_there() -> None:
    call = {"function": {"name": "send", "arguments": {"to": "the board"}}}
    record = {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "image"}]},
            {"role": "assistant", "content": None, "reasoning_content": "b", "tool_calls": [call]},
        ],
        "tools": [{"name": "send"}],
        "chosen": "c",
        "rejected": [{"role": "assistant", "content": "d"}],
        "aligned": "e",
        "misaligned": "f",
        "id": "g",
    }
    assert texts_of(record) == ["a", "b", '{"to":"the board"}', "c", "d", "e", "f"]
    assert texts_of({"prompt": "p", "aligned": "a", "misaligned": "m"}) == ["p", "a", "m"]
    assert texts_of({"text": "t", "title": "u"}) == ["t"]


def test_overlap_is_counted_with_examples() -> None:
    shared = "it was the best of times it was the worst of times indeed"
    rows = documents(*(f"{number} {shared} {number}" if number % 4 == 0 else f"{number}" for number in range(40)))
    found = overlap(rows, [shared, "no"], 13, inline())
    assert (found.rows, found.share, found.too_short, len(found.examples)) == (10, 0.25, 1, 5)
    assert found.examples[0].detail == f'"{shared}"'
    assert found.examples[0].place.startswith("data.jsonl:")
    assert overlap(rows, [], 13).rows == 0


def test_workers_change_nothing() -> None:
    texts = [f"{number} " + " ".join(f"w{number * 7 + each}" for each in range(30)) for number in range(200)]
    ngrams = ngrams_of(texts[::9], 13)
    rows = documents(*texts)
    assert overlapping(rows, ngrams, inline()) == overlapping(rows, ngrams, processes(2))
