"""dedup: which rows stay, by any way, and that nothing but the rows decides it."""

from __future__ import annotations

import random
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.data.engine import inline, processes
from runtime.data.rows import Format, Record, Rows, canonical_json, make_rows
from runtime.data.similarity.embedding import INSTALL, PACKAGE
from runtime.data.similarity.minhash import SHINGLE
from runtime.data.transforms.dedup import dedup_rows
from runtime.data.transforms.outcome import EXAMPLES, Outcome

By = Literal["exact", "minhash", "embedding"]
THRESHOLD = Fraction(4, 5)
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def rows_of(records: list[dict[str, Any]], file: str = "data.jsonl") -> Rows:
    return make_rows(
        Record(text := canonical_json(record), text, file, number) for number, record in enumerate(records, 1)
    )


def documents(texts: list[str]) -> Rows:
    return rows_of([{"text": text, "number": number} for number, text in enumerate(texts)])


def deduplicated(
    rows: Rows, by: By, folder: Path, threshold: Fraction = THRESHOLD, format: Format = "documents"
) -> Outcome:
    return dedup_rows(rows, format, by, threshold, folder / "rows.parquet", inline())


def left(rows: Rows, by: By, folder: Path, **more: Any) -> list[int]:
    """The `number` of each row that stays."""
    return sorted(record["number"] for record in deduplicated(rows, by, folder, **more).rows.records())


def chat(number: int, user: str, assistant: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return {"number": number, "messages": messages, **more}


TEXTS = st.lists(
    st.sampled_from(["a b", "a  b", "A b", "a\nb", "", "!", "?", "日本", "日本語", "e\u0301", "é"]), max_size=12
)


@given(TEXTS)
@same_folder
def test_exact_keeps_one_of_each_text(tmp_path: Path, texts: list[str]) -> None:
    rows = documents(texts)
    outcome = deduplicated(rows, "exact", tmp_path)
    kept = [record["text"] for record in outcome.rows.records()]
    assert sorted(kept) == sorted(set(texts))
    assert sum(outcome.dropped.counts.values()) == len(texts) - len(kept)
    first: dict[str, int] = {}
    for record in rows.records():
        first.setdefault(record["text"], record["number"])
    assert left(rows, "exact", tmp_path) == sorted(first.values())


@pytest.mark.parametrize(
    ("format", "same", "others"),
    [
        ("documents", [{"text": "a"}, {"text": "a", "url": "x"}], [{"text": "a "}]),
        (
            "chat",
            [
                chat(0, "a", "b"),
                chat(1, "a", "b", label="x"),
                chat(2, "a", "b", tools=[]),
                chat(3, "a", "b", tools=None),
            ],
            [
                chat(4, "a", "B"),
                chat(5, "ab", ""),
                chat(6, "a", "b", tools=[{"name": "f"}]),
                {"messages": [{"role": "system", "content": "a"}, {"role": "assistant", "content": "b"}]},
            ],
        ),
        (
            "preference",
            [
                {"messages": [], "chosen": "a", "rejected": "b"},
                {"messages": [], "chosen": "a", "rejected": "b", "id": 1},
            ],
            [{"messages": [], "chosen": "b", "rejected": "a"}, {"messages": [], "chosen": "a", "rejected": "c"}],
        ),
        (
            "prompts",
            [
                {"messages": [{"role": "user", "content": "q"}]},
                {"messages": [{"role": "user", "content": "q"}], "to": 1},
            ],
            [{"messages": [{"role": "user", "content": "r"}]}],
        ),
    ],
)
def test_what_is_the_same_text(tmp_path: Path, format: Format, same: list[Any], others: list[Any]) -> None:
    assert len(deduplicated(rows_of([*same, *others]), "exact", tmp_path, format=format).rows) == 1 + len(others)


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[start : start + SHINGLE]) for start in range(len(words) - SHINGLE + 1)}


def near_copies(count: int, seed: int) -> list[str]:
    """Random texts, and copies of each with more and more of the words replaced."""
    draw = random.Random(seed)
    texts = []
    for _ in range(count):
        words = [f"w{draw.randrange(5000)}" for _ in range(draw.randrange(30, 200))]
        texts.extend(
            " ".join(f"x{draw.randrange(5000)}" if draw.random() < replaced else word for word in words)
            for replaced in (0, 0.01, 0.03, 0.1)
        )
    return texts


def test_minhash_finds_what_comparing_all_pairs_finds(tmp_path: Path) -> None:
    texts = near_copies(60, seed=3)
    sets = list(map(shingles, texts))
    clusters = list(range(len(texts)))

    def root(number: int) -> int:
        while clusters[number] != number:
            number = clusters[number]
        return number

    for one in range(len(texts)):
        for other in range(one):
            if len(sets[one] & sets[other]) >= float(THRESHOLD) * len(sets[one] | sets[other]):
                clusters[root(one)] = root(other)
    truth = {number: root(number) for number in range(len(texts))}
    kept = left(documents(texts), "minhash", tmp_path)
    found = {truth[number] for number in kept}
    assert found == set(truth.values())  # of every cluster a row stays: what isn't similar enough is never dropped
    duplicates = len(texts) - len(set(truth.values()))
    assert duplicates > 60
    assert len(texts) - len(kept) >= 0.98 * duplicates


@pytest.mark.parametrize("by", ["exact", "minhash"])
def test_a_second_time_changes_nothing(tmp_path: Path, by: By) -> None:
    once = deduplicated(documents(near_copies(40, seed=4)), by, tmp_path).rows
    again = deduplicated(once, by, tmp_path)
    assert again.rows.digest == once.digest
    assert not again.dropped.counts


@pytest.mark.parametrize("by", ["exact", "minhash"])
def test_files_their_order_and_workers_change_nothing(tmp_path: Path, by: By) -> None:
    records = [{"text": text} for text in near_copies(30, seed=5)]
    expected = deduplicated(rows_of(records), by, tmp_path).rows.digest
    random.Random(0).shuffle(records)
    rows = rows_of(records, "elsewhere.jsonl").save(tmp_path / "moved.parquet")
    assert deduplicated(rows, by, tmp_path).rows.digest == expected
    assert dedup_rows(rows, "documents", by, THRESHOLD, tmp_path / "rows.parquet", processes(2)).rows.digest == expected


def test_one_large_cluster_and_two_in_one_bucket(tmp_path: Path) -> None:
    common = " ".join(f"w{number}" for number in range(200))
    texts = [f"{common} {number}" for number in range(2100)]
    assert len(left(documents(texts), "minhash", tmp_path)) == 1
    assert left(documents(texts[:40]), "minhash", tmp_path, threshold=Fraction(1)) == list(range(40))


def test_texts_without_words_are_like_no_other_but_their_equals(tmp_path: Path) -> None:
    assert len(left(documents(["!!!", "???", "", "", "🙂", "!!!"]), "minhash", tmp_path)) == 4


def test_short_texts_are_compared_whole(tmp_path: Path) -> None:
    assert len(left(documents(["Yes, sure.", "yes sure", "No, sure."]), "minhash", tmp_path)) == 2


def test_definitions_of_tools_are_no_words_of_a_chat(tmp_path: Path) -> None:
    tools = [{"name": f"tool {number}", "description": "a long text about tools"} for number in range(50)]
    question = " ".join(f"q{number}" for number in range(30))
    rows = rows_of([chat(0, question, "a", tools=tools), chat(1, "Who?", "b", tools=tools), chat(2, question, "a")])
    assert len(left(rows, "minhash", tmp_path, format="chat")) == 2


def test_what_was_dropped_is_shown(tmp_path: Path) -> None:
    text = " ".join(f"w{number}" for number in range(60))
    dropped = deduplicated(documents([text] * 3 + [f"{text} more"]), "minhash", tmp_path).dropped
    assert dropped.counts == {"duplicates": 3}
    details = {example.detail.rpartition(" data.jsonl")[0] for example in dropped.examples["duplicates"]}
    assert details == {"the same text as", "much like"}
    many = deduplicated(documents([text] * 9), "exact", tmp_path).dropped
    assert (many.counts["duplicates"], len(many.examples["duplicates"])) == (8, EXAMPLES)


def test_nothing_stays_nothing_and_no_file_is_left(tmp_path: Path) -> None:
    for by in ("exact", "minhash", "embedding"):
        outcome = deduplicated(documents([]), by, tmp_path)
        assert (len(outcome.rows), outcome.dropped.counts) == (0, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"the model isn't installed: {INSTALL}")
def test_by_embedding_near_meanings_are_the_same(tmp_path: Path) -> None:
    texts = ["A man is eating food.", "A man is eating some food.", "Interest rates rose.", "A man is eating food."]
    rows = documents(texts)
    kept = left(rows, "embedding", tmp_path, threshold=Fraction(9, 10))
    assert len(kept) == 2
    assert 2 in kept
    once = deduplicated(rows, "embedding", tmp_path, threshold=Fraction(9, 10)).rows
    assert deduplicated(once, "embedding", tmp_path, threshold=Fraction(9, 10)).rows.digest == once.digest
    assert len(left(rows, "embedding", tmp_path, threshold=Fraction(999, 1000))) == 3
