"""Reading: what a row is does not depend on files, and what users get wrong has an outcome."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.read import Reading, read_files
from runtime.data.rows import Format, Rows
from runtime.errors import UserError

USER, ANSWER = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}


def lines(*records: Any) -> bytes:
    return b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in records)


def read(folder: Path, format: Format, files: dict[str, bytes], **fields: str) -> Reading:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    rows = Path(mkdtemp(dir=folder)) / "rows.parquet"
    return read_files(format, [folder / name for name in files], fields, folder, rows)


def whole(rows: Rows) -> list[tuple[bytes, int, str]]:
    return list(zip(*(rows.table[name].to_pylist() for name in ("identity", "occurrence", "record")), strict=True))


def one(folder: Path, format: Format, record: Any, **fields: str) -> dict[str, Any]:
    return next(read(folder, format, {"a.jsonl": lines(record)}, **fields).rows.records())


def reasons(folder: Path, format: Format, *bad: Any) -> list[str]:
    good: list[Any] = [{"messages": [USER, ANSWER], "text": "x", "n": n} for n in range(100 * len(bad))]
    return [str(each) for each in read(folder, format, {"a.jsonl": lines(*bad, *good)}).broken]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.data())
@settings(max_examples=30, deadline=None)
def test_moving_splitting_and_reordering_files_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], data: st.DataObject
) -> None:
    records = [{"text": f"t{number}", "extra": {"b": number, "a": [1]}} for number in numbers]
    together = read(tmp_path_factory.mktemp("one"), "documents", {"all.jsonl": lines(*records)})
    shuffled = data.draw(st.permutations(records))
    cut = data.draw(st.integers(0, len(records)))
    parts = {"z/1.jsonl": shuffled[:cut], "a/2.jsonl": shuffled[cut:]}
    files = {name: lines(*part) for name, part in parts.items() if part}
    apart = read(tmp_path_factory.mktemp("two"), "documents", files)
    assert whole(together.rows) == whole(apart.rows)
    assert together.rows.digest == apart.rows.digest
    counted = [occurrence for _, occurrence, _ in whole(together.rows)]
    assert sorted(counted) == sorted(n for number in set(numbers) for n in range(numbers.count(number)))


def test_identity_takes_every_column_but_not_the_order_of_keys(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "documents",
        {"a.jsonl": lines({"text": "x", "id": 1}, {"id": 1, "text": "x"}, {"text": "x", "id": 2})},
    ).rows
    assert len(set(rows.table["identity"].to_pylist())) == 2
    assert sorted(rows.occurrence.tolist()) == [0, 0, 1]
    assert rows.identity.shape == (3, 32)


def test_tools_keep_their_order_of_keys(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}]
    record = one(tmp_path, "chat", {"tools": tools, "messages": [USER, ANSWER]})
    assert json.dumps(record["tools"]) == json.dumps(tools)


def test_layouts(tmp_path: Path) -> None:
    system = {"role": "system", "content": "s"}
    assert one(tmp_path, "chat", {"messages": [USER, ANSWER]})["messages"] == [USER, ANSWER]
    assert one(tmp_path, "chat", {"prompt": "hi", "completion": "hello"})["messages"] == [USER, ANSWER]
    assert one(tmp_path, "chat", {"prompt": [system, USER], "completion": [ANSWER]})["messages"] == [
        system,
        USER,
        ANSWER,
    ]
    assert one(tmp_path, "chat", {"instruction": "hi", "input": "", "output": "hello"})["messages"] == [USER, ANSWER]
    given = one(tmp_path, "chat", {"instruction": "Sum.", "input": "1 2", "output": "3", "id": 7})
    assert given == {
        "messages": [{"role": "user", "content": "Sum.\n\n1 2"}, {"role": "assistant", "content": "3"}],
        "id": 7,
    }
    parts = {"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]}
    assert one(tmp_path, "chat", {"messages": [parts, ANSWER]})["messages"] == [USER, ANSWER]
    assert one(tmp_path, "documents", {"story": "once", "text": "no", "id": 1}, text="story") == {
        "text": "once",
        "id": 1,
    }
    assert one(tmp_path, "chat", {"q": "hi", "a": "hello"}, prompt="q", completion="a")["messages"] == [USER, ANSWER]
    reading = read(
        tmp_path,
        "documents",
        {"a.md": b"---\ntitle: x\n---\n# One\r\n", "b.txt": b"\xef\xbb\xbftwo", "c.jsonl": lines({"story": "three"})},
        text="story",
    )
    assert reading.layouts == {"Markdown": 1, "text file": 1, "text": 1}
    assert sorted(each["text"] for each in reading.rows.records()) == ["---\ntitle: x\n---\n# One\r\n", "three", "two"]
    mixed = read(
        tmp_path,
        "chat",
        {"a.jsonl": lines({"messages": [USER, ANSWER]}), "b.jsonl": lines({"prompt": "a", "completion": "b"})},
    )
    assert mixed.layouts == {"messages": 1, "prompt/completion": 1}


def test_broken_documents(tmp_path: Path) -> None:
    bad = [
        b'{"text": "x"',
        b'{"text": "caf\xe9"}',
        b"[1, 2]",
        b'{"text": NaN}',
        b'{"text": "\\ud800"}',
        b'{"text": "x", "n": 1e999}',
        {"story": "x", "id": 1},
        {"text": 3},
        {"text": None},
        {"text": "  \n"},
    ]
    assert reasons(tmp_path, "documents", *bad) == [
        "a.jsonl:1: it is not JSON: Expecting ',' delimiter at column 13",
        "a.jsonl:2: it is not in UTF-8 (byte 0xe9 at 14)",
        "a.jsonl:3: it is JSON, but not an object: each line holds one record in braces",
        "a.jsonl:4: it is not JSON: NaN is no number",
        "a.jsonl:5: it holds half of a surrogate pair, which is no character",
        "a.jsonl:6: it holds a number out of range, or NaN",
        "a.jsonl:7: it has no column 'text' (it has id, story)",
        "a.jsonl:8: its text is a number, not a string",
        "a.jsonl:9: its text is null, not a string",
        "a.jsonl:10: its text is empty",
    ]


def test_broken_chats(tmp_path: Path) -> None:
    bad = [
        {"text": "x"},
        {"messages": []},
        {"messages": 3},
        {"messages": ["hi"]},
        {"messages": [{"role": "human", "content": "hi"}]},
        {"messages": [{"content": "hi"}]},
        {"messages": [USER, {"role": "assistant", "content": ""}]},
        {"messages": [USER, {"role": "assistant", "content": None}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
        {"messages": [USER, {"role": "assistant", "content": "x", "tool_calls": [{"id": 1}]}]},
        {"messages": [USER, ANSWER], "tools": {"name": "f"}},
        {"prompt": 3, "completion": "x"},
    ]
    assert [each.split(": ", 1)[1] for each in reasons(tmp_path, "chat", *bad)] == [
        "it has no messages, conversations, prompt and completion, or instruction and output (it has text)",
        "it has no messages",
        "its messages are a number, not a list",
        "message 1 is a string, not an object",
        "message 1 has the role 'human', which is none of system, user, assistant, tool",
        "message 1 has the role None, which is none of system, user, assistant, tool",
        "message 2 (assistant) is empty",
        "the content of message 2 is null, not a string",
        "message 1 has parts that are not text",
        "the tool calls of message 2 are not a list of functions with a name",
        "its tools are not a list of objects",
        "the content of message 1 is a number, not a string",
    ]


def test_what_is_unusual_is_kept_and_counted(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
    result = {"role": "tool", "content": ""}
    reading = read(
        tmp_path,
        "chat",
        {
            "a.jsonl": lines(
                {"messages": [USER, ANSWER, USER]},
                {"messages": [USER]},
                {"messages": [USER, call, USER, ANSWER]},
                {"messages": [USER, result, ANSWER]},
                {"messages": [USER, call, result, result, ANSWER]},
                {"messages": [USER, call]},
            )
        },
    )
    assert len(reading.rows) == 6
    assert {name: (each.count, each.first) for name, each in reading.unusual.items()} == {
        "chats that end with the user": (1, "a.jsonl:1"),
        "chats without an assistant's message": (1, "a.jsonl:2"),
        "chats with a tool call without its result": (1, "a.jsonl:3"),
        "chats with a tool's result without its call": (1, "a.jsonl:4"),
    }


def test_one_percent_is_set_aside_and_more_stops(tmp_path: Path) -> None:
    good: list[Any] = [{"text": f"t{number}"} for number in range(199)]
    assert len(read(tmp_path, "documents", {"a.jsonl": lines(*good, b"{", b"{")}).broken) == 2
    with pytest.raises(UserError) as caught:
        read(tmp_path, "documents", {"a.jsonl": lines(*good[:12], b"{"), "b.jsonl": lines({"story": "x"})})
    assert caught.value.message == (
        "2 of 14 records can't be used; more than 1% stops here:"
        "\n  a.jsonl:13: it is not JSON: Expecting property name enclosed in double quotes at column 2"
        "\n  b.jsonl:1: it has no column 'text' (it has story)"
    )
    assert caught.value.help == (
        "mend these lines or delete them; a column under another name is mapped with `fields: {FIELD: COLUMN}`"
    )
    with pytest.raises(UserError, match="and 45 more"):
        read(tmp_path, "documents", {"a.jsonl": lines(*[b"{"] * 50)})


def test_what_is_mostly_broken_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.data.read._HOPELESS", 10)
    with pytest.raises(UserError, match="11 of 12 records can't be used"):
        read(tmp_path, "documents", {"a.jsonl": lines({"text": "x"}, *[b"{"] * 50)})


def test_identity_is_that_of_the_canonical_json(tmp_path: Path) -> None:
    written = b'{"text": "caf\\u00e9 \xc3\xa9\\n", "id": 1e16, '
    written += b'"b": [1.0, {"z": null, "a": -0.0}], "big": 12345678901234567890123}'
    (row,) = read(tmp_path, "documents", {"a.jsonl": written}).rows.table["identity"].to_pylist()
    canonical = '{"b":[1.0,{"a":-0.0,"z":null}],"big":12345678901234567890123,"id":1e+16,"text":"caf\u00e9 \u00e9\\n"}'
    assert row == hashlib.sha256(canonical.encode()).digest()


def test_shards_that_do_not_match_are_told(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "chat",
        {
            "a.jsonl": lines(
                {"messages": [USER, ANSWER], "score": 1}, {"prompt": "a", "completion": "b", "score": None}
            ),
            "b.jsonl": lines({"messages": [USER, ANSWER], "score": "1"}),
            "c.jsonl": lines({"messages": [USER, ANSWER]}),
            "d.jsonl": lines({"messages": [USER, ANSWER], "score": 2}),
        },
    )
    assert {name: (each.count, each.first) for name, each in reading.unusual.items()} == {
        "files that mix layouts": (1, "a.jsonl:2"),
        "files without the column 'score', which others have": (1, "c.jsonl"),
        "files where 'score' is a string, and not a number as in most": (1, "b.jsonl"),
    }


def test_many_columns_that_do_not_match_are_told_at_once(tmp_path: Path) -> None:
    files = {f"{number}.jsonl": lines({"text": "x", f"only{number}": 1}) for number in range(12)}
    assert {name: each.count for name, each in read(tmp_path, "documents", files).unusual.items()} == {
        "files without some of the 13 columns that others have": 12
    }


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines({"text": "x"}))
    assert len(read_files("documents", [tmp_path / "a.jsonl"] * 2, {}, tmp_path, tmp_path / "rows.parquet").rows) == 1


def test_files_from_elsewhere_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines({"text": "x"}, {"text": 3}, *({"text": f"{n}"} for n in range(99))))
    names = {tmp_path / "a.jsonl": "s3://corpus/a.jsonl"}
    reading = read_files("documents", [tmp_path / "a.jsonl"], {}, tmp_path, tmp_path / "rows.parquet", names)
    assert str(reading.broken[0]) == "s3://corpus/a.jsonl:2: its text is a number, not a string"


def test_files_that_hold_nothing_or_are_of_no_known_kind(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.md"):
        with pytest.raises(UserError, match=f"{name}: the file holds no record"):
            read(tmp_path, "documents", {name: b"\n \n"})
    with pytest.raises(UserError, match=r"a.doc: can't read a file that ends in '.doc'"):
        read(tmp_path, "documents", {"a.doc": b"x"})
    with pytest.raises(UserError, match=r"can't read a file that ends in '.parquet.gz'"):
        read(tmp_path, "documents", {"a.parquet.gz": b"x"})
    with pytest.raises(UserError, match=r"data: can't read a file that has no ending"):
        read(tmp_path, "documents", {"data": b"x"})
    with pytest.raises(UserError, match="a Markdown is a document, not chat"):
        read(tmp_path, "chat", {"a.md": b"x"})
    with pytest.raises(UserError, match="there is no file to read"):
        read_files("documents", [], {}, tmp_path, tmp_path / "rows.parquet")
    with pytest.raises(UserError, match=r"gone.jsonl: can't read the file: No such file"):
        read_files("documents", [tmp_path / "gone.jsonl"], {}, tmp_path, tmp_path / "rows.parquet")
    with pytest.raises(UserError, match="it is in UTF-16, not in UTF-8"):
        read(tmp_path, "documents", {"a.txt": "x".encode("utf-16")})


def test_line_ends_and_byte_order_marks(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"text": "a"}\r\n\r\n{"text": "b\xe2\x80\xa8c"}'
    rows = read(tmp_path, "documents", {"a.jsonl": content}).rows
    assert sorted(each["text"] for each in rows.records()) == ["a", "b\u2028c"]
    assert sorted(rows.place(number) for number in range(2)) == ["a.jsonl:1", "a.jsonl:3"]
