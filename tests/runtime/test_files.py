"""Files of a plan: known by content, hashed once, pinned for the lock."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from compiler.operations import Template
from compiler.plan import Plan
from compiler.steps import AnyStep, Read, Transform, Weights
from runtime import digests
from runtime.digests import digest_of
from runtime.files import Files


def plan(*steps: AnyStep) -> Plan:
    return Plan(spec="s.mix", root=".", steps={str(n): step for n, step in enumerate(steps)}, studies=(), models=())


def read(*files: str) -> Read:
    return Read(name="s", place="s.mix:3", format="documents", files=files, fields={})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/mixc"


def test_what_is_looked_up_is_pinned(tmp_path: Path) -> None:
    for name in ("data/a.jsonl", "data/b.jsonl", "template.jinja", "model/config.json", "model/model.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    template = Transform(
        name="t", place="s.mix:4", rows="0", format="documents", operation=Template(file="template.jinja")
    )
    files = Files(tmp_path)
    steps = read("data/*.jsonl"), template, Weights(name="m", place="s.mix:5", location="model")
    assert files.look_up(plan(*steps)) == []
    pinned = {
        location: [(each.name, each.sha256, each.bytes) for each in place.files]
        for location, place in files.pinned.items()
    }

    def one(name: str, path: str) -> tuple[str, str, int]:
        return name, hashlib.sha256(path.encode()).hexdigest(), len(path)

    assert pinned == {
        "data/*.jsonl": [one(name, name) for name in ("data/a.jsonl", "data/b.jsonl")],
        "template.jinja": [one("template.jinja", "template.jinja")],
        "model": [one(name, f"model/{name}") for name in ("config.json", "model.safetensors")],
    }
    assert files.digests["data/*.jsonl"] == tuple(each[1] for each in pinned["data/*.jsonl"])
    assert files.paths("data/*.jsonl") == [tmp_path / "data/a.jsonl", tmp_path / "data/b.jsonl"]
    assert files.model("model") == tmp_path / "model"
    assert Files(tmp_path, dict(files.digests)).model("model") == tmp_path / "model"


def test_what_is_not_there_is_said_at_the_step(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "x.jsonl").write_text("x")
    errors = Files(tmp_path / "root").look_up(plan(read("no.jsonl", "../x.jsonl", "ftp://x/y.jsonl", "package://no/x")))
    assert [error.place for error in errors] == ["s.mix:3"] * 4
    for error, message in zip(
        errors,
        (
            "no file matches 'no.jsonl'",
            "'../x.jsonl' is outside the project",
            "can't read 'ftp://x/y.jsonl'",
            "the package 'no' isn't installed",
        ),
        strict=True,
    ):
        assert error.message.startswith(message)
    assert Files(tmp_path / "root", allow_outside=True).look_up(plan(read("../x.jsonl"))) == []


def test_files_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus/data").mkdir(parents=True)
    (tmp_path / "corpus/__init__.py").write_text("raise SystemExit('imported')")
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / "corpus/data" / name).write_text(name)
    monkeypatch.syspath_prepend(tmp_path)
    for location, names in {
        "package://corpus/data": ["data/a.jsonl", "data/b.jsonl"],
        "package://corpus/data/*.jsonl": ["data/a.jsonl", "data/b.jsonl"],
        "package://corpus/{data/b,data/a}.jsonl": ["data/a.jsonl", "data/b.jsonl"],
        "package://corpus/data/a.jsonl": ["data/a.jsonl"],
    }.items():
        files = Files(tmp_path / "nowhere")
        assert files.look_up(plan(read(location))) == []
        assert [each.name for each in files.pinned[location].files] == names
        assert [path.name for path in files.paths(location)] == [Path(name).name for name in names]


def large(path: Path, letter: str, age: float) -> str:
    """Writes a file of more than the size from which digests are remembered, as if so many seconds ago."""
    content = letter * (digests._SMALL + 1)
    path.write_text(content)
    then = time.time() - age
    os.utime(path, (then, then))
    return hashlib.sha256(content.encode()).hexdigest()


def forget_changes_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is put forward, since a test can't set the time at which a file's entry changed."""
    now = time.time_ns()
    monkeypatch.setattr("runtime.digests.time.time_ns", lambda: now + 10 * 10**9)


def test_a_large_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    first = large(path, "a", age=100)
    forget_changes_of_entries(monkeypatch)
    assert digest_of(path) == first
    with monkeypatch.context() as patch:
        patch.setattr("runtime.digests.hashlib.file_digest", None)
        assert digest_of(path) == first
    second = large(path, "b", age=100)  # the same size, and an old time of change: its entry changed
    forget_changes_of_entries(monkeypatch)
    assert digest_of(path) == second


def test_a_file_that_has_just_changed_is_hashed_anyway(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.jsonl"
    for letter in "ab":
        assert large(path, letter, age=0) == digest_of(path)
    assert not cache.exists()


def test_a_memory_that_is_damaged_or_refuses_is_no_memory(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    digest = large(path, "a", age=100)
    forget_changes_of_entries(monkeypatch)
    assert digest_of(path) == digest
    (entry,) = (each for each in cache.rglob("*") if each.is_file())
    for content in (b"", b"\xff\xfe", b"0" * 64 + b"\nanother file"):
        entry.write_bytes(content)
        assert digest_of(path) == digest
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))  # a file, so no folder can be made in it
    assert digest_of(path) == digest
