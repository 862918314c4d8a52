"""What a plan tells about a source: the same for the same rows, and from no more rows than it says."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from runtime.data.rows import Record, Rows, canonical_json, make_rows
from runtime.data.similarity import measures
from runtime.data.similarity.embedding import INSTALL, PACKAGE
from runtime.data.similarity.measures import distance_to, near_duplicates, spread_of

needs_model = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"the model isn't installed: {INSTALL}")


def documents(texts: list[str]) -> Rows:
    return make_rows(
        Record(record := canonical_json({"text": text, "number": number}), record, "data.jsonl", number)
        for number, text in enumerate(texts, 1)
    )


def test_a_sample_follows_from_the_rows() -> None:
    texts = [f"text {number}" for number in range(100)]
    sample = documents(texts).sampled(10, 1)
    assert len(sample) == 10
    assert sample.digest == documents(texts).sampled(10, 1).digest
    added = make_rows(_records([*texts, "one more"])).sampled(10, 1)
    assert len({*map(bytes, added.identity)} & {*map(bytes, sample.identity)}) >= 9
    assert documents(texts).sampled(1000, 1).digest == documents(texts).digest


def _records(texts: list[str]) -> list[Record]:
    return [
        Record(record := canonical_json({"text": text, "number": number}), record, "other.jsonl", number)
        for number, text in enumerate(texts, 1)
    ]


def test_near_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"w{number}" for number in range(60))
    rows = documents([text, f"{text} and more", *(f"{number} others {number}" for number in range(20))])
    found = near_duplicates(rows, "documents", tmp_path / "rows.parquet")
    assert (found.rows, found.of, len(found.examples)) == (1, 22, 1)
    assert "data.jsonl:" in found.examples[0].detail
    monkeypatch.setattr(measures, "COMPARED", 5)
    assert near_duplicates(rows, "documents", tmp_path / "rows.parquet").of == 5
    assert not list(tmp_path.iterdir())


@needs_model
def test_distance_and_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    near = documents(["The dog barks.", "A dog is barking at the door."])
    far = documents(["Interest rates rose.", "The bank lowers its rates."])
    barking = documents(["The dog is barking."])
    assert distance_to(near, barking).mean < 0.3 < distance_to(far, barking).mean
    both = documents(["The dog barks.", "Interest rates rose.", "Rain fell.", "She sings."])
    assert spread_of(both) > spread_of(near)
    monkeypatch.setattr(measures, "EMBEDDED", 2)
    assert distance_to(both, near).rows == 2
