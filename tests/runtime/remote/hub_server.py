"""A hub of our own on loopback: speaks as much of Hugging Face's protocol as listing and fetching files needs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 1000
"""Bytes from which the hub keeps a file by its SHA-256 (LFS)."""


@dataclass
class Hub:
    """Repositories by `datasets/ORGANISATION/NAME` or `models/…`: files by revision; `main` is the newest commit.

    Attributes:
        gated: repositories that nobody may read.
        sent: paths of the files whose content was sent, in order.
        damaged: content that is sent in place of that of a path.
    """

    endpoint: str
    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    sent: list[str] = field(default_factory=list)
    damaged: dict[str, bytes] = field(default_factory=dict)

    def push(self, repository: str, files: dict[str, bytes]) -> str:
        """Makes a commit that holds these files, and names it."""
        commits = self.repositories.setdefault(repository, {})
        commit = hashlib.sha1(repr((repository, sorted(files.items()))).encode(), usedforsecurity=False).hexdigest()
        commits[commit] = commits["main"] = files
        return commit

    def commit(self, repository: str, revision: str) -> str:
        files = self.repositories[repository][revision]
        return next(name for name, each in self.repositories[repository].items() if each is files and name != "main")


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that answers on loopback until the block ends."""
    hub = Hub("")

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[0] == "api":
            repository, action, rest = "/".join(parts[1:4]), parts[4], parts[5:]
        else:
            if parts[0] != "datasets":
                parts = ["models", *parts]
            repository, action, rest = "/".join(parts[:3]), parts[3], parts[4:]
        if repository in self.hub.gated:
            self._refuse(403, "GatedRepo")
        elif repository not in self.hub.repositories:
            self._refuse(404, "RepoNotFound")
        elif rest[0] not in self.hub.repositories[repository]:
            self._refuse(404, "RevisionNotFound")
        elif action == "revision":
            self._tell({"id": repository.partition("/")[2], "sha": self.hub.commit(repository, rest[0])})
        elif action == "tree":
            self._list(repository, rest[0], "/".join(rest[1:]))
        else:
            self._send(repository, rest[0], "/".join(rest[1:]))

    def _list(self, repository: str, revision: str, folder: str) -> None:
        files = self.hub.repositories[repository][revision]
        below = {name: content for name, content in files.items() if not folder or name.startswith(f"{folder}/")}
        if not below:
            self._refuse(404, "EntryNotFound")
            return
        if "recursive=true" not in self.path.lower():
            depth = len(folder.split("/")) if folder else 0
            below = {name: content for name, content in below.items() if name.count("/") == depth}
        listed: list[dict[str, Any]] = []
        for name, content in below.items():
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
            if len(content) >= LARGE:
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            listed.append(entry)
        self._tell(listed)

    def _send(self, repository: str, revision: str, path: str) -> None:
        content = self.hub.repositories[repository][revision].get(path)
        if content is None:
            self._refuse(404, "EntryNotFound")
            return
        headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": self.hub.commit(repository, revision)}
        content = self.hub.damaged.get(path, content)
        if self.command == "GET":
            self.hub.sent.append(path)
        self._answer(200, content, headers)

    def _tell(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _etag(content: bytes) -> str:
    algorithm = hashlib.sha256 if len(content) >= LARGE else hashlib.sha1
    return algorithm(content, usedforsecurity=False).hexdigest()
