"""Kinds of files: the same records whatever the kind, flat memory, and hostile content refused or counted."""

from __future__ import annotations

import gzip
import io
import json
import os
import tracemalloc
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.broken import BrokenError
from runtime.data.file_formats import kind_of, records_in
from runtime.data.lines import LONGEST, lines
from runtime.data.read import Reading, read_files
from runtime.data.rows import Format
from runtime.errors import UserError

RECORDS = [{"text": f"line {number}\nand é", "id": number, "of": {"a": [1, 2]}} for number in range(600)]


def found(path: Path) -> list[tuple[int, Any]]:
    items = records_in(path, path.name, kind_of(path.name))
    return [(line, str(item) if isinstance(item, BrokenError) else item) for line, item in items]


def json_lines(records: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in records)


def read(path: Path, format: Format = "documents") -> Reading:
    return read_files(format, [path], {}, path.parent, path.with_name(f"{path.name}.rows.parquet"))


def sized(name: str, table: pa.Table) -> bytes:
    sink = io.BytesIO()
    if name == "a.parquet":
        pq.write_table(table, sink, row_group_size=250)
    elif name == "a.feather":
        pyarrow.feather.write_feather(table, sink)
    else:
        new = pa.ipc.new_file if name == "file.arrow" else pa.ipc.new_stream
        with new(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def test_every_kind_gives_the_same_records(tmp_path: Path) -> None:
    plain, table = json_lines(RECORDS), pa.Table.from_pylist(RECORDS)
    files = {
        "a.jsonl": plain,
        "a.ndjson": plain.replace(b"\n", b"\r\n"),
        "a.jsonl.gz": gzip.compress(plain[:999]) + gzip.compress(plain[999:]),
        "a.jsonl.zst": pa.compress(plain, "zstd", asbytes=True),
        "list.json": json.dumps(RECORDS, indent=1).encode(),
        "one after the other.json": plain,
        "list.json.gz": gzip.compress(b"\xef\xbb\xbf" + json.dumps(RECORDS, ensure_ascii=False).encode()),
        **{name: sized(name, table) for name in ("a.parquet", "a.feather", "file.arrow", "stream.arrow")},
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert found(tmp_path / name) == list(enumerate(RECORDS, 1)), name
    readings = [read(tmp_path / name).rows for name in files]
    assert len({rows.digest for rows in readings}) == 1
    (tmp_path / "one.json").write_bytes(json.dumps(RECORDS[0], indent=2).encode())
    assert found(tmp_path / "one.json") == [(1, RECORDS[0])]


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'\xef\xbb\xbftext,id\r\n"a ""quoted""\r\nline",007\r\n\r\nb\r\nc,1,2\r\n\xff,3\r\nd,\r\n"e"x,4\r\nf,5'
    )
    assert found(path) == [
        (3, {"text": 'a "quoted"\r\nline', "id": "007"}),
        (5, "it has 1 values for 2 columns"),
        (6, "it has 3 values for 2 columns"),
        (7, "it is not in UTF-8 (byte 0xff at 1)"),
        (8, {"text": "d", "id": ""}),
        (9, "it is not CSV: ',' expected after '\"'"),
        (10, {"text": "f", "id": "5"}),
    ]
    path.write_bytes(b'text\na\n"never closed\n' + b"b\n" * 100)
    assert found(path) == [(2, {"text": "a"}), (103, "it is not CSV: unexpected end of data")]
    path.write_bytes(b"text,text\na,b\n")
    with pytest.raises(UserError, match=r"a.csv: the file has two columns 'text'"):
        found(path)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"text\na\n"))
    assert found(tmp_path / "b.csv.gz") == [(2, {"text": "a"})]


def test_values_that_json_lacks(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    row = {
        "text": "x",
        "at": moment,
        "day": date(2026, 1, 2),
        "price": Decimal("1.10"),
        "map": {"k": 1},
        "call": {"a": 1, "b": None},
    }
    fields = [
        ("text", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("day", pa.date32()),
        ("price", pa.decimal128(5, 2)),
        ("map", pa.map_(pa.string(), pa.int64())),
        ("call", pa.struct([("a", pa.int64()), ("b", pa.string())])),
    ]
    pq.write_table(pa.Table.from_pylist([row], pa.schema(fields)), tmp_path / "a.parquet")
    assert found(tmp_path / "a.parquet") == [
        (1, {**row, "at": "2026-01-02T03:04:05+00:00", "day": "2026-01-02", "price": "1.10", "call": {"a": 1}})
    ]
    image = pa.table({"text": ["x", "y"], "image": pa.array([b"\x89", None])})
    pq.write_table(image, tmp_path / "b.parquet")
    assert found(tmp_path / "b.parquet") == [
        (1, "its column 'image' holds bytes, which JSON can't hold"),
        (2, {"text": "y"}),
    ]
    numbers = pa.table({"text": [f"{n}" for n in range(200)], "n": [float("nan"), *([1.0] * 199)]})
    pq.write_table(numbers, tmp_path / "c.parquet")
    assert [str(each) for each in read(tmp_path / "c.parquet").broken] == [
        "c.parquet:1: it holds a number out of range, or NaN"
    ]


def test_texts_in_a_table_that_are_not_utf8(tmp_path: Path) -> None:
    words = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    pq.write_table(pa.table({"text": words}), tmp_path / "a.parquet")
    assert found(tmp_path / "a.parquet") == [(1, {"text": "a"}), (2, "it is not in UTF-8"), (3, {"text": "c"})]
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, pa.schema([("text", pa.string())])) as w,
    ):
        w.write_table(pa.table({"text": words}))
    with pytest.raises(UserError, match=r"a.arrow: the file is damaged or cut off: .*UTF8"):
        found(tmp_path / "a.arrow")


@given(st.lists(st.text("ab\n", max_size=5), max_size=20), st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_lines_are_python_s_whatever_the_blocks(pieces: list[str], block: int) -> None:
    content = "".join(pieces).encode()
    stream = io.BytesIO(content)
    expected = [line.rstrip(b"\n") for line in io.BytesIO(content)]
    assert list(lines(lambda _: stream.read(block))) == list(enumerate(expected, 1))


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=9) | st.integers() | st.none())), st.integers(1, 50)
)
@settings(max_examples=50, deadline=None)
def test_a_list_is_read_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], size: int
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    for indent in (None, size % 3):
        path.write_text(json.dumps(records, indent=indent, ensure_ascii=size % 2 == 0), encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("runtime.data.file_formats._CHARACTERS", size)
            assert found(path) == list(enumerate(records, 1))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'[{"a": 1} {"a": 2}]', "record 1: a comma or a bracket is missing after it"),
        (b'[{"a": 1}, {"a": ', "record 2: Expecting value"),
        (b'[{"a": 1}', "record 1: a comma or a bracket is missing after it"),
        (b'[{"a": 1}] 3', "record 2: something stands after the list"),
        (b'[{"a": 1},', "record 2: the list isn't closed"),
        (b"[" * 5000, "record 1: it nests deeper than 256 levels"),
        (b'[{"a": ' + b"9" * 5000 + b"}]", "record 1: it holds an integer of more than 4,300 digits"),
    ],
)
def test_lists_that_are_not_json(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=f"a.json: the file stops being JSON at {reason}") as caught:
        found(tmp_path / "a.json")
    assert "name it .jsonl" in caught.value.help


def test_a_list_with_records_that_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'[1, {"a": NaN}, {"a": 1, "a": 2}, {"b": 1}]')
    assert found(tmp_path / "a.json") == [
        (1, "it is JSON, but not an object: a record stands in braces"),
        (2, "it is not JSON: NaN is no number"),
        (3, "it has the key 'a' twice in one object"),
        (4, {"b": 1}),
    ]
    (tmp_path / "a.json").write_bytes(b'[{"a": "\xff"}]')
    with pytest.raises(UserError, match=r"a.json: the file can't be read: it is not in UTF-8 \(byte 0xff at 9\)"):
        found(tmp_path / "a.json")


def test_hostile_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    deep = b'{"a": ' * 300 + b"1" + b"}" * 300
    path.write_bytes(
        b"\n".join(
            [
                b'{"text": "x", "n": ' + b"9" * 5000 + b"}",
                b'{"text": "x", "n": ' + b"9" * 400 + b"}",
                b'{"text": "x", "of": ' + deep + b"}",
                b'{"text": "x", "of": ' + b"[" * 100_000 + b"}",
                b'{"text": "x", "text": "y"}',
                b'{"text": "x\0y"}',
                b"\0" * 100,
                b'{"text": "\xff\xfe"}',
                b'{"text": "nul \\u0000 escaped"}',
                b'{"text": "no nul \\\\u0000"}',
            ]
        )
    )
    assert [(line, item) for line, item in found(path) if isinstance(item, str)] == [
        (1, "it holds an integer of more than 4,300 digits"),
        (3, "it nests deeper than 256 levels"),
        (4, "it nests deeper than 256 levels"),
        (5, "it has the key 'text' twice in one object"),
        (6, "it is not JSON: Invalid control character at column 12"),
        (7, "it is not JSON: Expecting value at column 1"),
        (8, "it is not in UTF-8 (byte 0xff at 11)"),
    ]
    path.write_bytes(b'{"text": "nul \\u0000 escaped"}\n{"text": "no nul \\\\u0000"}\n')
    assert {name: each.first for name, each in read(path).unusual.items()} == {
        "records with a NUL character": "a.jsonl:1"
    }
    (tmp_path / "a.txt").write_bytes(b"x\0y")
    with pytest.raises(UserError, match=r"a.txt:1: it holds a NUL byte, so it is no text"):
        read(tmp_path / "a.txt")


def test_two_gigabytes_without_a_line_end_are_set_aside_in_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "before"}\n')
        file.seek(2 << 30, os.SEEK_CUR)  # a hole: the disk holds nothing of it
        file.write(b'\n{"text": "after"}\n')
    tracemalloc.start()
    items = found(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert items == [(1, {"text": "before"}), (2, "it is longer than 64 MiB"), (3, {"text": "after"})]
    assert peak < 4 * LONGEST


def test_a_file_that_blows_up_is_refused(tmp_path: Path) -> None:
    block = b" " * (1 << 20)
    for name, codec in (("a.jsonl.gz", "gzip"), ("a.txt.zst", "zstd"), ("a.csv.zst", "zstd")):
        with pa.CompressedOutputStream(str(tmp_path / name), codec) as bomb:
            bomb.write(b"text\n" if "csv" in name else b" ")
            for _ in range(300):
                bomb.write(block)
        wanted = "longer than 64 MiB" if "txt" in name else "what is in it isn't text"
        with pytest.raises(UserError, match=f"{name}.*: .*{wanted}"):
            read(tmp_path / name)


def test_one_record_over_and_over_is_data(tmp_path: Path) -> None:
    record = json_lines([{"text": "the same " * 20}])
    (tmp_path / "a.jsonl.zst").write_bytes(pa.compress(record * 20_000, "zstd", asbytes=True))
    assert (tmp_path / "a.jsonl.zst").stat().st_size * 500 < len(record) * 20_000
    assert len(found(tmp_path / "a.jsonl.zst")) == 20_000


def test_files_that_are_cut_off_or_something_else(tmp_path: Path) -> None:
    noise = json_lines({"text": os.urandom(50).hex()} for _ in range(3000))
    table = pa.Table.from_pylist([{"text": os.urandom(50).hex()} for _ in range(3000)])
    whole = {
        "a.jsonl.gz": gzip.compress(noise),
        "a.jsonl.zst": pa.compress(noise, "zstd", asbytes=True),
        "a.csv.gz": gzip.compress(noise),
        "a.json.gz": gzip.compress(json.dumps([{"text": noise.decode()}]).encode()),
        "a.parquet": sized("a.parquet", table),
        "file.arrow": sized("file.arrow", table),
        "stream.arrow": sized("stream.arrow", table),
    }
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(UserError, match=f"{name}: the file is damaged or cut off"):
            found(tmp_path / name)
        (tmp_path / name).write_bytes(b"no such thing")
        with pytest.raises(UserError, match=f"{name}: the file is damaged or cut off"):
            found(tmp_path / name)
    for name in ("a.jsonl.gz", "a.parquet", "file.arrow", "a.jsonl", "a.csv", "a.json", "a.txt"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(UserError, match=f"{name}: the file (is damaged|holds no record)"):
            read(tmp_path / name)


def test_files_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")  # a test that runs as root can't take rights away

    (tmp_path / "a.jsonl").write_bytes(b"{}")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"a.jsonl: can't read the file: Permission denied"):
        found(tmp_path / "a.jsonl")
    monkeypatch.undo()
    (tmp_path / "b.jsonl").mkdir()
    with pytest.raises(UserError, match=r"b.jsonl: can't read the file: Is a directory"):
        found(tmp_path / "b.jsonl")
    for name in ("gone.jsonl", "gone.jsonl.gz", "gone.parquet", "gone.arrow"):
        with pytest.raises(UserError, match=f"{name}: can't read the file: No such file or directory"):
            found(tmp_path / name)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(count: int, kind: str) -> int:
        path = tmp_path / f"{count}.{kind}"
        table = pa.table({"text": [os.urandom(5000).hex() for _ in range(count)]})
        if kind == "parquet":
            pq.write_table(table, path)  # one row group
        else:
            path.write_text(json.dumps(table.to_pylist()) if kind == "json" else json_lines(table.to_pylist()).decode())
        tracemalloc.start()
        pool = pa.total_allocated_bytes()
        arrow = max(pa.total_allocated_bytes() for _ in records_in(path, path.name, kind_of(path.name)))
        _, python = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return python + arrow - pool

    for kind in ("jsonl", "json", "parquet"):
        assert peak(4000, kind) < 1.5 * peak(1000, kind) + (4 << 20), kind
