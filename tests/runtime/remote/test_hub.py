"""hf:// against a hub on loopback: pinned to a commit, fetched once, checked, and refused in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler.plan import Plan
from compiler.steps import Weights
from runtime.data.read import read_files
from runtime.errors import UserError
from runtime.files import Files
from tests.runtime.remote.hub_server import Hub, running_hub
from tests.runtime.remote.plans import looked_up, read_step

constants = pytest.importorskip("huggingface_hub.constants", reason="huggingface_hub isn't installed: mixc[remote]")

SMALL = b'{"text": "small"}\n'
LARGE = b"".join(json.dumps({"text": f"document {number}"}).encode() + b"\n" for number in range(100))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        yield hub


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_data_set_is_pinned_and_fetched_once(hub: Hub, tmp_path: Path) -> None:
    commit = hub.push("datasets/org/corpus", {"data/a.jsonl": LARGE, "data/b.jsonl": SMALL, "README.md": b"# card"})
    location = "hf://datasets/org/corpus/data/*.jsonl"
    files = looked_up(tmp_path, location)
    assert files.digests[location] == (sha256(LARGE), sha256(SMALL))
    assert hub.sent == ["data/b.jsonl"]  # the hub itself knows the SHA-256 of large files
    pinned = files.pinned[location]
    assert pinned.revision == commit
    assert [(each.name, each.sha256, each.bytes) for each in pinned.files] == [
        ("data/a.jsonl", sha256(LARGE), len(LARGE)),
        ("data/b.jsonl", sha256(SMALL), len(SMALL)),
    ]
    reading = read_files("documents", files.paths(location), {}, tmp_path, tmp_path / "rows.parquet", files.names)
    assert len(reading.rows) == 101
    places = {reading.rows.place(number).rsplit(":", 1)[0] for number in range(101)}
    assert places == {f"hf://datasets/org/corpus@{commit}/data/{name}.jsonl" for name in "ab"}
    again = looked_up(tmp_path, location)
    again.paths(location)
    assert hub.sent == ["data/b.jsonl", "data/a.jsonl"]


def test_what_a_location_names(hub: Hub, tmp_path: Path) -> None:
    old = hub.push("datasets/org/corpus", {"a.jsonl": b'{"text": "old"}'})
    files = {"a.jsonl": SMALL, "x/b.jsonl": SMALL, "x/y/c.parquet": SMALL, "README.md": b"#", ".gitattributes": b""}
    hub.push("datasets/org/corpus", files)

    def names(rest: str) -> list[str]:
        location = f"hf://datasets/org/corpus{rest}"
        return [each.name for each in looked_up(tmp_path, location).pinned[location].files]

    assert names("/a.jsonl") == ["a.jsonl"]
    assert names("/README.md") == ["README.md"]
    assert names("/x") == names("/x/**") == ["x/b.jsonl", "x/y/c.parquet"]
    assert names("/**/*.jsonl") == names("/{a,x/b}.jsonl") == ["a.jsonl", "x/b.jsonl"]
    assert names("/") == names("") == ["a.jsonl", "x/b.jsonl", "x/y/c.parquet"]
    assert names(f"@{old}/*.jsonl") == ["a.jsonl"]
    location = f"hf://datasets/org/corpus@{old}/a.jsonl"
    assert looked_up(tmp_path, location).paths(location)[0].read_bytes() == b'{"text": "old"}'


def test_what_the_hub_refuses(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.push("datasets/org/corpus", {"data/a.jsonl": SMALL, "b/notes.doc": b"x"})
    hub.gated.add("datasets/org/gated")

    def error(location: str) -> str:
        (error,) = Files(tmp_path).look_up(read_step(location))
        assert error.place == "study.mix:1"
        return f"{error.message}; {error.help}"

    assert error("hf://datasets/org/gated/a.jsonl").startswith("hf://datasets/org/gated/a.jsonl is gated")
    assert "the hub has no 'hf://org/corpus/a.jsonl'" in error("hf://org/corpus/a.jsonl")
    assert "has no such revision; name a branch" in error("hf://datasets/org/corpus@v2/data/a.jsonl")
    assert error("hf://datasets/org/corpus/data/b.jsonl").endswith("'data' holds data/a.jsonl")
    assert error("hf://datasets/org/corpus/data/*.parquet").endswith("'data' holds data/a.jsonl")
    assert "can't read a file that ends in '.doc', and 'b' stands for all" in error("hf://datasets/org/corpus/b")
    assert "names no repository" in error("hf://datasets/corpus")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert error("hf://datasets/org/corpus/data/a.jsonl").endswith("look at the network, and at HF_ENDPOINT")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in error("hf://datasets/org/corpus/data/a.jsonl")


def test_a_file_that_arrives_damaged(hub: Hub, tmp_path: Path) -> None:
    hub.push("datasets/org/corpus", {"a.jsonl": LARGE})
    hub.damaged["a.jsonl"] = LARGE.replace(b"document 1", b"document 2", 1)
    files = looked_up(tmp_path, "hf://datasets/org/corpus/a.jsonl")
    with pytest.raises(UserError, match="didn't arrive as the hub has it"):
        files.paths("hf://datasets/org/corpus/a.jsonl")


def test_weights(hub: Hub, tmp_path: Path) -> None:
    model = {"config.json": b"{}", "model.safetensors": LARGE, "tokenizer.json": b"{}"}
    beside = {"pytorch_model.bin": LARGE, "onnx/model.onnx": LARGE, "consolidated.safetensors": LARGE}
    commit = hub.push("models/org/model", model | beside)

    def plan(location: str) -> Plan:
        step = Weights(name="m", place="study.mix:1", location=location)
        return Plan(spec="study.mix", root=".", steps={"m": step}, studies=(), models=())

    files = Files(tmp_path)
    assert files.look_up(plan("hf://org/model")) == []
    assert "model.safetensors" not in hub.sent
    assert files.pinned["hf://org/model"].revision == commit
    assert sorted(path.name for path in files.model("hf://org/model").iterdir()) == sorted(model)
    assert files.look_up(plan("hf://org/model/model.safetensors")) == []
    assert files.model("hf://org/model/model.safetensors").read_bytes() == LARGE
    later = Files(tmp_path, dict(files.digests))
    assert later.model("hf://org/model") == files.model("hf://org/model")
    hub.push("models/org/model", model | {"model.safetensors": LARGE[:-20]})
    with pytest.raises(UserError, match="hf://org/model is no longer what this ran with"):
        Files(tmp_path, dict(files.digests)).model("hf://org/model")
