"""s3:// against moto and gs:// against a bucket of our own, both on loopback: fetched once, checked, resumed."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import Request, urlopen

import pytest

from compiler.plan import Plan
from compiler.steps import Weights
from runtime.data.read import read_files
from runtime.files import Files
from runtime.remote import objects
from tests.runtime.remote.plans import looked_up, read_step

pytest.importorskip("s3fs", reason="s3fs isn't installed: mixc[remote]")
pytest.importorskip("gcsfs", reason="gcsfs isn't installed: mixc[remote]")

RECORDS = b"".join(json.dumps({"text": f"document {number}"}).encode() + b"\n" for number in range(1000))


class Bucket(Protocol):
    """A bucket named `corpus`: what it holds, and what was read of it, as (name, first byte)."""

    scheme: str
    reads: list[tuple[str, int]]

    def put(self, name: str, content: bytes) -> None: ...


@pytest.fixture(params=["s3", "gs"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(objects, "_BLOCK", 4096)
    with (_s3 if request.param == "s3" else _gs)(monkeypatch) as bucket:
        yield bucket


def test_an_object_is_fetched_once(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("data/a.jsonl", RECORDS)
    location = f"{bucket.scheme}://corpus/data/a.jsonl"
    files = looked_up(tmp_path, location)
    digest = hashlib.sha256(RECORDS).hexdigest()
    assert files.digests[location] == (digest,)
    (pinned,) = files.pinned[location].files
    assert (pinned.name, pinned.sha256, pinned.bytes) == ("data/a.jsonl", digest, len(RECORDS))
    (path,) = files.paths(location)
    reading = read_files("documents", [path], {}, tmp_path, tmp_path / "rows.parquet", files.names)
    assert len(reading.rows) == 1000
    assert reading.rows.place(0).startswith(f"{location}:")
    fetched = list(bucket.reads)
    assert [first for _, first in fetched] == list(range(0, len(RECORDS), 4096))
    assert looked_up(tmp_path, location).digests == files.digests
    path.unlink()  # the file may go: that it is the same is still known
    again = looked_up(tmp_path, location)
    assert bucket.reads == fetched
    assert again.paths(location)[0].read_bytes() == RECORDS
    bucket.put("data/a.jsonl", RECORDS[:-1] + b" ")
    assert looked_up(tmp_path, location).digests != files.digests


def test_what_a_location_names(bucket: Bucket, tmp_path: Path) -> None:
    for name in ("a.jsonl", "x/b.jsonl", "x/y/c.parquet", "x/.hidden/d.jsonl", "x/y/e.doc"):
        bucket.put(name, b'{"text": "x"}')

    def names(rest: str) -> list[str]:
        location = f"{bucket.scheme}://corpus/{rest}"
        return [each.name for each in looked_up(tmp_path, location).pinned[location].files]

    def error(rest: str) -> str:
        (error,) = Files(tmp_path).look_up(read_step(f"{bucket.scheme}://{rest}"))
        return f"{error.message}; {error.help}"

    assert names("*.jsonl") == ["a.jsonl"]
    assert names("**/*.jsonl") == names("{a,x/b}.jsonl") == ["a.jsonl", "x/b.jsonl"]
    assert names("x/*/*.parquet") == ["x/y/c.parquet"]
    assert "can't read a file that ends in '.doc', and 'x' stands for all" in error("corpus/x")
    assert error("corpus/x/c.jsonl").endswith("'x' holds x/b.jsonl")
    assert "can't be read" in error("none/x.jsonl") or "there is no" in error("none/x.jsonl")


def test_a_fetch_that_was_cut_off_goes_on(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("a.jsonl", RECORDS)
    location = f"{bucket.scheme}://corpus/a.jsonl"
    really_open = objects._open

    def cut_off(scheme: str) -> Any:
        store = really_open(scheme)
        whole = store.cat_file

        def cat_file(path: str, start: int, end: int) -> bytes:
            if start >= 8192:
                raise TimeoutError("the store doesn't answer")
            return whole(path, start=start, end=end)

        store.cat_file = cat_file
        return store

    monkeypatch.setattr(objects, "_open", cut_off)
    (error,) = Files(tmp_path).look_up(read_step(location))
    assert error.message == f"{location} can't be read: the store doesn't answer"
    monkeypatch.setattr(objects, "_open", really_open)
    bucket.reads.clear()
    assert looked_up(tmp_path, location).paths(location)[0].read_bytes() == RECORDS
    assert bucket.reads[0][1] == 8192


def test_what_arrives_damaged_is_refused(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("a.jsonl", RECORDS)
    location = f"{bucket.scheme}://corpus/a.jsonl"
    really_open = objects._open

    def damaging(scheme: str) -> Any:
        store = really_open(scheme)
        whole = store.cat_file
        store.cat_file = lambda path, start, end: whole(path, start=start, end=end).replace(
            b"document 7", b"document 8"
        )
        return store

    monkeypatch.setattr(objects, "_open", damaging)
    (error,) = Files(tmp_path).look_up(read_step(location))
    assert error.message == f"{location} didn't arrive as the store has it"
    monkeypatch.setattr(objects, "_open", really_open)
    assert looked_up(tmp_path, location).paths(location)[0].read_bytes() == RECORDS


def test_weights_come_together_in_a_folder(bucket: Bucket, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        bucket.put(f"model/{name}", name.encode())
    location = f"{bucket.scheme}://corpus/model"
    step = Weights(name="m", place="study.mix:1", location=location)
    files = Files(tmp_path)
    assert files.look_up(Plan(spec="study.mix", root=".", steps={"m": step}, studies=(), models=())) == []
    found = {path.name: path.read_text() for path in files.model(location).iterdir()}
    assert found == {"config.json": "config.json", "model.safetensors": "model.safetensors"}


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("hf", "huggingface_hub")])
def test_a_library_that_is_missing_is_named(
    scheme: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    (error,) = Files(tmp_path).look_up(read_step(f"{scheme}://org/corpus/a.jsonl"))
    assert error.message == f"{scheme}:// needs the package '{package}', which isn't installed"
    assert error.help == "pip install 'mixc[remote]'"


@dataclass
class _S3:
    client: Any
    scheme: str = "s3"
    reads: list[tuple[str, int]] = field(default_factory=list)

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket="corpus", Key=name, Body=content)


@contextmanager
def _s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[_S3]:
    pytest.importorskip("moto", reason="moto isn't installed: mixc[dev]")
    import botocore.session
    import s3fs
    from moto.server import ThreadedMotoServer

    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    client = botocore.session.get_session().create_client("s3")
    client.create_bucket(Bucket="corpus")
    bucket = _S3(client)
    really = s3fs.S3FileSystem._cat_file

    async def counted(self: Any, path: str, start: int = 0, **options: Any) -> bytes:
        bucket.reads.append((path, start))
        return await really(self, path, start=start, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_cat_file", counted)
    try:
        yield bucket
    finally:
        client.close()
        urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
        server.stop()


@dataclass
class _Gs:
    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    scheme: str = "gs"
    reads: list[tuple[str, int]] = field(default_factory=list)

    def put(self, name: str, content: bytes) -> None:
        self.files[name] = self.files.get(name, (0, b""))[0] + 1, content

    def facts(self, name: str) -> dict[str, Any]:
        generation, content = self.files[name]
        md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        return {
            "kind": "storage#object",
            "bucket": "corpus",
            "name": name,
            "size": str(len(content)),
            "generation": str(generation),
            "md5Hash": md5,
            "timeCreated": "2026-01-01T00:00:00.000Z",
            "updated": "2026-01-01T00:00:00.000Z",
        }


@contextmanager
def _gs(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Gs]:
    bucket = _Gs()

    class Handler(_GsHandler):
        pass

    Handler.bucket = bucket
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_address[1]}")
    try:
        yield bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _GsHandler(BaseHTTPRequestHandler):
    """As much of Google's JSON interface as listing and reading need."""

    bucket: _Gs

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        name = unquote(url.path.rpartition("/o/")[2]) if "/o/" in url.path else ""
        if "/b/corpus/" not in url.path or (name and name not in self.bucket.files):
            self._answer(404, json.dumps({"error": {"code": 404, "message": "Not Found"}}).encode())
        elif not name:
            self._list(asked.get("prefix", ""), asked.get("delimiter", ""))
        elif asked.get("alt") == "media" or "/download/" in url.path:
            content = self.bucket.files[name][1]
            first, last = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")
            self.bucket.reads.append((name, int(first)))
            self._answer(206, content[int(first) : int(last) + 1 if last else None])
        else:
            self._answer(200, json.dumps(self.bucket.facts(name)).encode())

    def _list(self, prefix: str, delimiter: str) -> None:
        names = sorted(name for name in self.bucket.files if name.startswith(prefix))
        folders = {
            prefix + name.removeprefix(prefix).partition(delimiter)[0] + delimiter
            for name in names
            if delimiter and delimiter in name.removeprefix(prefix)
        }
        items = [self.bucket.facts(name) for name in names if not any(name.startswith(each) for each in folders)]
        self._answer(200, json.dumps({"items": items, "prefixes": sorted(folders)}).encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass
