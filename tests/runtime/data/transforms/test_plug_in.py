"""Rows through a transform of an installed package: what it gives, and what is told where it breaks its promise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.operations import PlugIn
from dsl.declarations.installed import plug_in
from dsl.declarations.plug_in_values import version_of
from runtime.data.rows import Record, Rows, canonical_json, make_rows
from runtime.data.transforms.plug_in import run_plug_in
from runtime.errors import UserError
from tests.plug_ins import installed, put, put_example

TEXTS = ["one two three", "one two", "one", "a much longer text than the others are"]


def rows_of(records: list[dict[str, Any]]) -> Rows:
    return make_rows(
        Record(canonical_json(record), canonical_json(record), "a.jsonl", line)
        for line, record in enumerate(records, 1)
    )


def documents(texts: list[str]) -> Rows:
    return rows_of([{"text": text, "kept": number} for number, text in enumerate(texts)])


DECLARATION = '''
from mixc.plugins import Transform


class {name}(Transform):
    """Odd."""

    takes = ("documents",)
    gives = {gives!r}
    makes = ("made",)
    runs = "mixc_odd_rows:run"
'''


@pytest.fixture(scope="module", autouse=True)
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("installed")
    put_example(folder)
    (folder / "mixc_odd.py").write_text(
        DECLARATION.format(name="Odd", gives=None) + DECLARATION.format(name="ToChat", gives="chat")
    )
    put(folder, "mixc-odd", "1.0", {"odd": "mixc_odd:Odd", "to_chat": "mixc_odd:ToChat"})
    with installed(folder):
        yield


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Sets what `odd` and `to_chat` run."""

    def put_function(function: Any) -> None:
        module = ModuleType("mixc_odd_rows")
        module.run = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "mixc_odd_rows", module)

    return put_function


def operation(word: str, **fields: Any) -> PlugIn:
    files = (fields["ignore"],) if fields.get("ignore") else ()
    return PlugIn(name=word, version=version_of(plug_in(word)), fields=fields, files=files)


def keep_short(rows: Rows, path: Path, most: int, ignore: Path | None = None):
    fields = {"most": most, "ignore": "common.txt" if ignore else None}
    return run_plug_in(
        rows, "documents", operation("keep_short", **fields), path, {"common.txt": [ignore]} if ignore else {}
    )


def test_rows_that_stay_are_changed_and_placed_where_they_were(tmp_path: Path):
    outcome = keep_short(documents(TEXTS), tmp_path / "rows.parquet", 3)
    kept = {record["text"]: (record["words"], record["kept"]) for record in outcome.rows.records()}
    assert kept == {"one two three": (3, 0), "one two": (2, 1), "one": (1, 2)}
    places = {record["text"]: outcome.rows.place(number) for number, record in enumerate(outcome.rows.records())}
    assert places == {"one two three": "a.jsonl:1", "one two": "a.jsonl:2", "one": "a.jsonl:3"}
    assert outcome.dropped.counts == {"keep_short: more than 3 words": 1}
    assert [one.place for one in outcome.dropped.examples["keep_short: more than 3 words"]] == ["a.jsonl:4"]


def test_a_location_is_a_path_of_a_file(tmp_path: Path):
    common = tmp_path / "common.txt"
    common.write_text("one\ntwo\n")
    outcome = keep_short(documents(TEXTS), tmp_path / "rows.parquet", 1, common)
    assert sorted(record["words"] for record in outcome.rows.records()) == [0, 0, 1]
    with pytest.raises(UserError, match=r"keep_short takes one file, and common.txt has 2"):
        run_plug_in(
            documents(TEXTS),
            "documents",
            operation("keep_short", most=1, ignore="common.txt"),
            tmp_path / "rows.parquet",
            {"common.txt": [common, common]},
        )


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("ab ", min_size=1).filter(str.strip), min_size=1, max_size=30), st.randoms())
def test_the_order_and_files_of_rows_mean_nothing(tmp_path: Path, texts: list[str], random: Any):
    records = [{"text": text} for text in texts]
    shuffled = random.sample(records, len(records))
    digests = set()
    for each in (records, shuffled):
        try:
            digests.add(keep_short(rows_of(each), tmp_path / "rows.parquet", 2).rows.digest)
        except UserError as error:
            digests.add(error.message)
    assert len(digests) == 1


def test_more_rows_than_are_read_at_once(tmp_path: Path):
    rows = documents([f"word {number}" for number in range(5000)])
    assert len(keep_short(rows, tmp_path / "rows.parquet", 2).rows) == 5000


def test_where_no_row_is_left_that_is_said(tmp_path: Path):
    with pytest.raises(UserError, match="none of 1 rows is left by keep_short"):
        keep_short(documents(["a b"]), tmp_path / "rows.parquet", 1)


def test_rows_become_those_of_the_format_that_is_given(tmp_path: Path, odd: Callable[[Any], None]):
    def run(records: Iterator[dict[str, Any]], _: Any):
        for record in records:
            yield {"prompt": record["text"], "completion": "Yes.", "made": 3}

    odd(run)
    outcome = run_plug_in(documents(["a"]), "documents", operation("to_chat"), tmp_path / "rows.parquet", {})
    (record,) = outcome.rows.records()
    assert [message["role"] for message in record["messages"]] == ["user", "assistant"]
    assert record["made"] == 3


def test_a_plug_in_may_read_ahead(tmp_path: Path, odd: Callable[[Any], None]):
    odd(lambda records, _: reversed([{**record, "made": 1} for record in list(records)[::-1]]))
    outcome = run_plug_in(documents(["a", "b"]), "documents", operation("odd"), tmp_path / "rows.parquet", {})
    assert {(record["text"], record["made"]) for record in outcome.rows.records()} == {("a", 1), ("b", 1)}


def one_by_one(answer: Callable[[dict[str, Any]], Any]) -> Any:
    return lambda records, _: (answer(record) for record in records)


def raise_(_: object) -> None:
    raise LookupError("no such word")


def without_a_record(records: Iterator[dict[str, Any]], _: Any) -> Iterator[dict[str, Any]]:
    yield {"text": "new"}
    yield from records


@pytest.mark.parametrize(
    ("function", "message", "place"),
    [
        (one_by_one(lambda record: [record]), "odd gives a list, which is neither a record nor None", "a.jsonl:1"),
        (one_by_one(lambda record: {**record, "text": 3}), "odd gives no record of format documents", "a.jsonl:1"),
        (one_by_one(lambda record: {**record, "text": " "}), "its text is empty", "a.jsonl:1"),
        (one_by_one(lambda record: {**record, "other": 3}), "a field 'other' that its declaration", "a.jsonl:1"),
        (one_by_one(lambda record: {**record, "made": {1}}), "gives what JSON can't hold", "a.jsonl:1"),
        (one_by_one(lambda record: {**record, "made": float("nan")}), "gives what JSON can't hold", "a.jsonl:1"),
        (one_by_one(raise_), "odd fails with LookupError: no such word", "a.jsonl:1"),
        (lambda records, _: iter(()), "odd gives 0 results for 1 records", "a.jsonl:1"),
        (lambda records, _: [*records, {"text": "more"}], "gives more results than it has taken", "a.jsonl:1"),
        (without_a_record, "gives more results than it has taken", "a.jsonl:1"),
        (lambda records, _: None, "odd fails with TypeError", None),
        (3, "odd runs mixc_odd_rows:run, where no function is", None),
    ],
)
def test_a_broken_promise_is_told_with_the_row(
    function: Any, message: str, place: str | None, tmp_path: Path, odd: Callable[[Any], None]
):
    odd(function)
    with pytest.raises(UserError) as caught:
        run_plug_in(documents(["a"]), "documents", operation("odd"), tmp_path / "rows.parquet", {})
    assert message in caught.value.message
    assert caught.value.place == place
    assert "mend its package" in caught.value.help


def test_a_failure_names_the_row_that_was_taken_last_and_the_line_that_fails(
    tmp_path: Path, odd: Callable[[Any], None]
):
    def run(records: Iterator[dict[str, Any]], _: Any):
        for record in records:
            if record["text"] == "b":
                raise KeyError("tone")
            yield record

    odd(run)
    with pytest.raises(UserError) as caught:
        run_plug_in(documents(["a", "b", "c"]), "documents", operation("odd"), tmp_path / "rows.parquet", {})
    assert caught.value.message == "odd fails with KeyError: 'tone'"
    assert caught.value.place == "a.jsonl:2"
    assert f"{__file__}:" in caught.value.help


def test_another_version_than_the_plan_s_is_refused(tmp_path: Path):
    other = operation("keep_short", most=3, ignore=None).model_copy(update={"version": "0.0.9"})
    with pytest.raises(UserError, match=r"the plan is made with keep_short 0\.0\.9, and 0\.1\.0\+"):
        run_plug_in(documents(TEXTS), "documents", other, tmp_path / "rows.parquet", {})
    with pytest.raises(UserError, match="no installed package has the transform keep_nothing"):
        run_plug_in(
            documents(TEXTS), "documents", PlugIn(name="keep_nothing", version="", fields={}), tmp_path / "r", {}
        )
