"""A language client for tests: speaks framed JSON-RPC with a server process over its stdin and stdout."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE = 60.0
"""Seconds after which a server that says nothing is taken for dead."""


class Client:
    """Starts `mixc lsp`; `notes` are the notifications that nobody has asked for yet, in order."""

    def __init__(self, folder: Path, *, encodings: list[str] | None = None, command: list[str] | None = None) -> None:
        self.folder = folder
        self.encodings = encodings
        self.process = subprocess.Popen(
            command or [sys.executable, "-m", "mixc.cli.main", "lsp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.notes: list[dict[str, Any]] = []
        self.errors: list[bytes] = []
        self.readers = [threading.Thread(target=each, daemon=True) for each in (self._read, self._read_errors)]
        for reader in self.readers:
            reader.start()
        self.asked = 0
        self.versions: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while header := stream.readline():
            assert header.startswith(b"Content-"), header
            length = int(header.split(b":")[1]) if header.startswith(b"Content-Length") else 0
            while line := stream.readline().strip():
                length = int(line.split(b":")[1]) if line.startswith(b"Content-Length") else length
            self.messages.put(json.loads(stream.read(length)))
        self.messages.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def write(self, message: dict[str, Any]) -> None:
        self.write_raw(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def write_raw(self, body: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def next(self) -> dict[str, Any]:
        message = self.messages.get(timeout=PATIENCE)
        assert message is not None, b"".join(self.errors).decode()
        return message

    def answer(self, method: str, params: Any) -> dict[str, Any]:
        """The whole response to a request."""
        self.asked += 1
        self.write({"id": self.asked, "method": method, "params": params})
        while True:
            message = self.next()
            if message.get("id") == self.asked and "method" not in message:
                return message
            self.notes.append(message)

    def request(self, method: str, params: Any) -> Any:
        """The result of a request that has to succeed."""
        response = self.answer(method, params)
        assert "error" not in response, response
        return response["result"]

    def note(self, method: str) -> dict[str, Any]:
        """The parameters of the next notification of a method."""
        while True:
            for message in self.notes:
                if message.get("method") == method:
                    self.notes.remove(message)
                    return message["params"]
            self.notes.append(self.next())

    # What every test says.

    def start(self) -> dict[str, Any]:
        general = {"positionEncodings": self.encodings} if self.encodings else {}
        document = {
            "completion": {"completionItem": {"snippetSupport": True}},
            "publishDiagnostics": {"relatedInformation": True},
        }
        workspace = {"didChangeWatchedFiles": {"dynamicRegistration": True}}
        capabilities = {"general": general, "textDocument": document, "workspace": workspace}
        folder = self.folder.as_uri()
        result = self.request("initialize", {"processId": None, "rootUri": folder, "capabilities": capabilities})
        self.write({"method": "initialized", "params": {}})
        return result

    def uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    def open(self, name: str, text: str) -> None:
        self.versions[name] = 1
        document = {"uri": self.uri(name), "languageId": "mix", "version": 1, "text": text}
        self.write({"method": "textDocument/didOpen", "params": {"textDocument": document}})

    def change(self, name: str, *changes: dict[str, Any]) -> None:
        self.versions[name] = self.versions.get(name, 0) + 1
        document = {"uri": self.uri(name), "version": self.versions[name]}
        params = {"textDocument": document, "contentChanges": list(changes)}
        self.write({"method": "textDocument/didChange", "params": params})

    def diagnostics(self, name: str) -> list[dict[str, Any]]:
        """What is published for the newest text of a document."""
        while True:
            params = self.note("textDocument/publishDiagnostics")
            if params["uri"] == self.uri(name) and params.get("version") == self.versions.get(name):
                return params["diagnostics"]

    def at(self, method: str, name: str, line: int, character: int, **more: Any) -> Any:
        """The answer to a question about a place."""
        position = {"line": line, "character": character}
        return self.request(
            f"textDocument/{method}", {"textDocument": {"uri": self.uri(name)}, "position": position, **more}
        )

    def stop(self) -> int:
        """Take leave as the protocol asks for; gives the exit code."""
        self.request("shutdown", None)
        self.write({"method": "exit", "params": None})
        return self.process.wait(PATIENCE)


def edit(line: int, start: int, end: int, text: str) -> dict[str, Any]:
    """A change within one line."""
    return {
        "range": {"start": {"line": line, "character": start}, "end": {"line": line, "character": end}},
        "text": text,
    }
