"""Documents from documents: planned, written, spread evenly, and never too many asked for."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from compiler.operations import Generate, Measure
from runtime.data.transforms.generate import Lengths, generate_rows
from runtime.data.transforms.outcome import Outcome
from runtime.data.transforms.written import plans_in
from runtime.errors import UserError
from tests.runtime.model_calls.asking import ASKED, asked_text, calling, rows_of
from tests.runtime.model_calls.server import Server

SEEDS = rows_of([{"text": f"Article {number}"} for number in range(7)])
GENRES = ("blog", "forum", "interview")
PLAN = "PLAN {{ genre }} {{ angle }} {{ audience }} for {{ vars.name }}: {{ document }}"
WRITE = "WRITE {{ genre }} {{ angle }} {{ audience }} by {{ name }}: {{ document }}"
PLANNED = WRITE + " as {{ plan }}"


def text_of(body: Any) -> str:
    """A text of 5 to 36 words that follows from the prompt."""
    digest = hashlib.sha256(asked_text(body).encode()).hexdigest()
    return " ".join(f"{digest[:8]}{number}" for number in range(5 + int(digest[8:10], 16) % 32))


def answer(body: Any, count: int) -> str:
    """Three plans, or a text; asked again, other ones."""
    if asked_text(body).startswith("PLAN"):
        return json.dumps([f"idea {number} of {asked_text(body)[5:]} ({count})" for number in range(3)])
    return f"{text_of(body)} {count}"


def generated(
    store: Path, count: str, unit: str = "examples", plan: bool = True, lengths: Lengths | None = None, **more: Any
) -> Outcome:
    operation = Generate(
        model=ASKED, plan="plan.md" if plan else None, prompt="write.md", vars={"name": "Aster"}, genres=GENRES,
        angles=(), audiences=(),
            count=Measure(count=count, unit=unit),
    ).model_copy(update=more)  # fmt: skip
    with calling(store) as caller:
        return generate_rows(
            SEEDS, operation, PLAN if plan else None, PLANNED if plan else WRITE, caller, store / "out", lengths
        )


def words(texts: Any) -> list[int]:
    return [len(text.split()) for text in texts]


@pytest.mark.parametrize("plan", [True, False])
def test_as_many_as_asked_for_evenly_over_genres(server: Server, tmp_path: Path, plan: bool) -> None:
    server.answer = answer
    outcome = generated(tmp_path, "20", plan=plan)
    records = list(outcome.rows.records())
    counts = Counter(record["genre"] for record in records)
    assert len(records) == 20
    assert sorted(counts.values()) == [6, 7, 7]
    assert outcome.facts["genres"] == counts
    assert outcome.facts["variety"]["rows"] == 20
    json.dumps(outcome.facts)
    assert len({record["text"] for record in records}) == 20
    asked = Counter(asked_text(body).split()[0] for body in server.seen)
    assert asked["WRITE"] == 20
    assert asked["PLAN"] == (8 if plan else 0)  # two of three plans each for a genre of six, three for one of seven
    assert all(("plan" in record) == plan for record in records)


@pytest.mark.parametrize("plan", [True, False])
def test_a_larger_count_asks_for_the_same_and_more(server: Server, tmp_path: Path, plan: bool) -> None:
    server.answer = answer
    few = {record["text"] for record in generated(tmp_path, "10", plan=plan).rows.records()}
    seen = len(server.seen)
    assert {record["text"] for record in generated(tmp_path, "10", plan=plan).rows.records()} == few
    assert len(server.seen) == seen
    many = {record["text"] for record in generated(tmp_path, "60", plan=plan).rows.records()}
    assert few < many
    assert len(many) == 60
    assert Counter(server.whole.values()).keys() <= {1, 2, 3}  # sample numbers of one prompt, after all seeds are used


def test_seeds_ways_and_audiences_all_get_their_turn(server: Server, tmp_path: Path) -> None:
    server.answer = answer
    outcome = generated(
        tmp_path, "42", plan=False, genres=("blog",), angles=("for", "against"), audiences=("old", "young", "all")
    )
    records = list(outcome.rows.records())
    told = Counter((record["angle"], record["audience"]) for record in records)
    assert set(told.values()) == {7}
    assert len(told) == 6
    seeds = Counter(SEEDS.place(int(parent)) for parent in outcome.rows.parents)
    assert set(seeds.values()) == {6}


def test_tokens_are_met_to_within_a_document_a_genre(server: Server, tmp_path: Path) -> None:
    server.answer = answer
    outcome = generated(tmp_path, "3000", "tokens", plan=False, lengths=words)
    lengths = Counter[str]()
    for record in outcome.rows.records():
        lengths[record["genre"]] += len(record["text"].split())
    assert all(abs(length - 1000) <= 19 for length in lengths.values())
    assert len(server.seen) <= len(outcome.rows) + 9  # hardly more was paid for than is used


def test_tokens_need_a_tokenizer(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tokenizer counts"):
        generated(tmp_path, "3000", "tokens", plan=False)
    assert not server.seen


def test_a_text_that_repeats_is_dropped_and_another_written(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: "The SAME, again!" if "Article 3" in asked_text(body) else answer(body, count)
    outcome = generated(tmp_path, "30", plan=False, genres=("blog",))
    texts = [record["text"] for record in outcome.rows.records()]
    assert texts.count("The SAME, again!") == 1
    assert len(texts) == 30
    assert outcome.dropped.counts["repeats a generated text"] >= 3


def test_a_model_that_only_repeats_is_stopped(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: "The same."
    with pytest.raises(UserError, match="texts repeat earlier ones") as raised:
        generated(tmp_path, "1000", plan=False)
    assert "temperature" in raised.value.help
    assert len(server.seen) < 200


def test_plans_that_cannot_be_read_end_it(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: "[]"
    with pytest.raises(UserError, match="plans: unreadable"):
        generated(tmp_path, "100")


def test_texts_that_are_cut_off_are_not_counted_as_written(server: Server, tmp_path: Path) -> None:
    def cut(body: Any, count: int) -> Any:
        reason = "length" if "Article 3" in asked_text(body) else "stop"
        return {"message": {"role": "assistant", "content": answer(body, count)}, "finish_reason": reason}

    server.answer = cut
    outcome = generated(tmp_path, "60", plan=False)
    assert len(outcome.rows) == 60
    assert outcome.dropped.counts["cut off at max_tokens"] >= 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["a", "b"]', ["a", "b"]),
        ('Here they are:\n```json\n["a", "b"]\n```\nEnjoy.', ["a", "b"]),
        ('{"plans": ["a", "b"]}', ["a", "b"]),
        ('Sure: ["a", "b"] as you like', ["a", "b"]),
        ('[{"title": "a"}, {"title": "b"}]', ['{"title": "a"}', '{"title": "b"}']),
        ("1. a\n2) b", ["a", "b"]),
        ("Plans:\n\n- a\n- b\n", ["a", "b"]),
        ("a\n\nb", ["a", "b"]),
        ("[not json\n- a", ["a"]),
        ("[]", []),
        ("  \n", []),
    ],
)
def test_plans_are_read_however_they_are_listed(text: str, expected: list[str]) -> None:
    assert plans_in(text) == expected
