"""Rows: the same ones whatever order, memory and selection they come through."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data import external_sort, row_file, rows
from runtime.data.rows import Record, Rows, RowsBuilder, canonical_json, derived, make_rows, open_rows

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
RECORDS = st.lists(
    st.builds(
        lambda text, label, file, line: record({"text": text, "label": label}, file, line),
        TEXTS,
        st.sampled_from(["a", "b"]),
        st.sampled_from(["a.jsonl", "b.jsonl", "é.jsonl"]),
        st.integers(1, 9),
    ),
    max_size=40,
)


def record(content: dict[str, Any], file: str = "a.jsonl", line: int = 1) -> Record:
    return Record(canonical_json(content), json.dumps(content, ensure_ascii=False), file, line)


def built(records: Iterable[Record], path: Path) -> Rows:
    builder = RowsBuilder(path)
    for each in records:
        builder.add(each)
    return builder.finish()


@contextmanager
def little_memory() -> Iterator[None]:
    """So little that a dozen records are several runs, merged in several rounds, and several row groups."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external_sort, "_RUN_BYTES", 1000)
        patch.setattr(external_sort, "_READ_BYTES", 200)
        patch.setattr(external_sort, "_MERGED", 2)
        patch.setattr(rows, "GROUP_BYTES", 300)
        patch.setattr(row_file, "GROUP_BYTES", 300)
        yield


def same(left: Rows, right: Rows) -> bool:
    names = [name for name in row_file.SCHEMA.names if name != "file"]  # its codes depend on how the file is cut
    return (
        left.table.select(names).equals(right.table.select(names))
        and left.digest == right.digest
        and [left.place(number) for number in range(len(left))] == [right.place(number) for number in range(len(right))]
    )


@given(RECORDS, st.randoms())
@settings(max_examples=60, deadline=None)
def test_a_builder_gives_what_memory_gives_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record], random: Any
) -> None:
    with little_memory():
        folder = tmp_path_factory.mktemp("rows")
        expected = make_rows(records)
        random.shuffle(records)
        found = built(records, folder / "rows.parquet")
        assert same(found, expected)
        assert same(expected.save(folder / "saved.parquet"), expected)
        assert [path.name for path in sorted(folder.iterdir())] == ["rows.parquet", "saved.parquet"]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_selection_is_the_rows_with_these_numbers(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    with little_memory():
        path = tmp_path_factory.mktemp("rows") / "rows.parquet"
        count = data.draw(st.integers(1, 30))
        everything = built([record({"text": f"{n}" * (n % 5 + 1)}, f"{n % 3}.txt", n) for n in range(count)], path)
        held, numbers = everything, np.arange(count)
        for _ in range(data.draw(st.integers(1, 3))):
            mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(held), max_size=len(held))), np.bool_)
            held = held.select(mask if data.draw(st.booleans()) else np.flatnonzero(mask))
            numbers = numbers[mask]
        texts = list(everything.records())
        assert len(held) == len(numbers)
        assert list(held.records()) == [texts[number] for number in numbers]
        start, stop = sorted((data.draw(st.integers(0, len(held))), data.draw(st.integers(0, len(held)))))
        assert list(held.records(start, stop)) == [texts[number] for number in numbers[start:stop]]
        assert (held.identity == everything.identity[numbers]).all()
        assert held.occurrence.tolist() == everything.occurrence[numbers].tolist()
        assert held.sizes.tolist() == everything.sizes[numbers].tolist()
        found = zip(map(bytes, held.identity), held.occurrence.tolist(), strict=True)
        assert [held.find(*each) for each in found] == list(range(len(held)))
        assert [held.place(n) for n in range(len(held))] == [everything.place(int(n)) for n in numbers]
        assert [each for _, batch in held.batches(4) for each in batch] == [texts[number] for number in numbers]
        assert same(held.save(path.with_name("saved.parquet")), held)
        assert same(pickle.loads(pickle.dumps(held)), held)


def test_the_digest_is_pinned() -> None:
    """A digest that changes makes every step of every user's store another one."""
    few = make_rows([record({"text": "é\n"}), record({"text": "b", "n": 1.5}), record({"text": "é\n"}, "b.jsonl", 7)])
    assert few.digest == "5e5c7898185fea7491846ef7106693d45aee3c2d5f6351391109c68bbfec7171"
    assert [few.place(number) for number in range(3)] == ["a.jsonl:1", "a.jsonl:1", "b.jsonl:7"]


def test_a_record_that_was_made_is_placed_where_its_row_is(tmp_path: Path) -> None:
    parents = make_rows([record({"text": "a"}, "a.txt", 3), record({"text": "b"}, "b.txt", 4)])
    of_text = {each["text"]: number for number, each in enumerate(parents.records())}
    made = [(of_text["b"], {"text": "B", "z": 1}), (of_text["a"], {"text": "A"}), (of_text["b"], {"z": 1, "text": "B"})]
    rows = derived(parents, made, tmp_path / "rows.parquet")
    assert sorted((each["text"], rows.place(number)) for number, each in enumerate(rows.records())) == [
        ("A", "a.txt:3"),
        ("B", "b.txt:4"),
        ("B", "b.txt:4"),
    ]
    assert sorted(rows.occurrence.tolist()) == [0, 0, 1]
    assert sorted(rows.parents.tolist()) == sorted([of_text["a"], of_text["b"], of_text["b"]])


def test_pieces_have_a_bounded_size_and_leave_nothing_out(tmp_path: Path) -> None:
    sizes = [5, 5, 9000, 5, 800, 5, 5, 5, 5, 5]
    held = built([record({"text": f"{n}" * size}) for n, size in enumerate(sizes)], tmp_path / "rows.parquet")
    pieces = held.pieces(1000)
    assert [number for first, last in pieces for number in range(first, last)] == list(range(10))
    assert all(int(held.sizes[first : last - 1].sum()) < 1000 for first, last in pieces)
    assert len(pieces) == 3
    assert make_rows([]).pieces(1000) == []


def test_no_rows(tmp_path: Path) -> None:
    for none in (
        make_rows([]),
        built([], tmp_path / "a.parquet"),
        make_rows([record({})]).select(np.zeros(1, np.bool_)),
    ):
        assert (len(none), none.identity.shape, none.occurrence.shape) == (0, (0, 32), (0,))
        assert list(none.records()) == list(none.batches()) == []
        assert same(none.save(tmp_path / "b.parquet"), make_rows([]))


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    """Peak memory of building, selecting and reading 40 MB of records is that of 10 MB and a few numbers a row."""
    peaks: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external_sort, "_RUN_BYTES", 1 << 20)
        patch.setattr(external_sort, "_MERGED", 4)
        patch.setattr(row_file, "GROUP_BYTES", 1 << 18)
        for count in (1_000, 4_000):
            pa.default_memory_pool().release_unused()
            tracemalloc.start()
            path = tmp_path / f"{count}.parquet"
            held = built((record({"text": f"{n} " * 2000}) for n in range(count)), path)
            half = open_rows(path).select(np.arange(0, count, 2))
            assert sum(len(each["text"]) for each in half.records()) > 2000 * count
            assert len(half.digest) == 64 != len(held)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5
