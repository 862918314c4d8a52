"""An OpenAI-compatible server on loopback that misbehaves on purpose, and counts what it gave out whole."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Body = Mapping[str, Any]
NONSENSE = (
    b"this is not JSON",
    b'"a text"',
    b"[]",
    b'{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}',
    b'{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": "none"}',
    b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": 7}, "finish_reason": 3}]}',
    b'{"choices": [{"message": null}]}',
)


@dataclass
class Faults:
    """Shares of the requests that meet with each fault; the rest is answered."""

    error: float = 0.0
    stall: float = 0.0
    limit: float = 0.0
    cut: float = 0.0
    """Connections closed in the middle of the answer."""
    nonsense: float = 0.0
    stall_seconds: float = 30.0
    retry_after: str = "0.2"


def echoed(body: Body, count: int) -> str:
    """An answer that follows from the question and from how often it was asked: each sample another one."""
    asked = json.dumps(body["messages"], sort_keys=True)
    return f"answer {hashlib.sha256(asked.encode()).hexdigest()[:16]}"


@dataclass
class Server:
    """A running server.

    Attributes:
        answer: the text of an answer, from the request and how many whole answers this question got before; a dict is
            merged into the choice.
        status: a status with which all requests are refused, instead.
        whole: answers given out whole, by question.
        seen: all requests, as they came.
        headers: those of the last request.
    """

    faults: Faults = field(default_factory=Faults)
    answer: Callable[[Body, int], str | dict[str, Any]] = echoed
    status: int | None = None
    latency: float = 0.0
    whole: Counter[str] = field(default_factory=Counter)
    seen: list[Body] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    port: int = 0
    keep_seen: bool = True
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def environment(self) -> dict[str, str]:
        """What `openai-api/local/NAME` needs."""
        return {"LOCAL_BASE_URL": self.url, "LOCAL_API_KEY": "secret-key-of-the-test"}

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                self.headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
                body = json.loads(await reader.readexactly(int(self.headers.get("content-length", "0"))) or b"{}")
                self.requests += 1
                if self.keep_seen:
                    self.seen.append(body)
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    if not await self._respond(body, writer):
                        return
                finally:
                    self.in_flight -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _respond(self, body: Body, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; False where the connection is to be closed."""
        if self.latency:
            await asyncio.sleep(self.latency)
        faults, drawn = self.faults, self._random.random()
        if self.status is not None:
            return await self._send(writer, self.status, _error("the server refuses"))
        for share, fault in (
            (faults.error, "error"), (faults.stall, "stall"), (faults.limit, "limit"), (faults.cut, "cut"),
            (faults.nonsense, "nonsense"),
        ):  # fmt: skip
            if drawn < share:
                return await self._fail(fault, body, writer)
            drawn -= share
        data = json.dumps(self._completion(body)).encode()
        sent = await self._send(writer, 200, data)
        self.whole[json.dumps(body["messages"], sort_keys=True)] += 1
        return sent

    async def _fail(self, fault: str, body: Body, writer: asyncio.StreamWriter) -> bool:
        match fault:
            case "error":
                return await self._send(writer, self._random.choice((500, 502, 503, 529)), _error("overloaded"))
            case "stall":
                await asyncio.sleep(self.faults.stall_seconds)
                return False
            case "limit":
                return await self._send(writer, 429, _error("slow down"), {"retry-after": self.faults.retry_after})
            case "cut":
                data = json.dumps(self._completion(body)).encode()
                writer.write(_head(200, len(data)) + data[: len(data) // 2])
                await writer.drain()
                return False
            case _:
                return await self._send(writer, 200, self._random.choice(NONSENSE))

    def _completion(self, body: Body) -> dict[str, Any]:
        given = self.answer(body, self.whole[json.dumps(body["messages"], sort_keys=True)])
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        choice |= {"message": {"role": "assistant", "content": given}} if isinstance(given, str) else given
        prompt = len(json.dumps(body["messages"])) // 4
        made = len(str(choice["message"].get("content"))) // 4 + 1
        usage = {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
        return {
            "id": "x", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice],
            "usage": usage,
        }  # fmt: skip

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, data: bytes, headers: Mapping[str, str] | None = None
    ) -> bool:
        writer.write(_head(status, len(data), headers) + data)
        await writer.drain()
        return True


@contextmanager
def serving(**options: Any) -> Iterator[Server]:
    """A server in a thread of its own."""
    server = Server(**options)
    started, loop = threading.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, backlog=1000)
        server.port = listening.sockets[0].getsockname()[1]
        started.set()
        async with listening:
            await asyncio.Event().wait()

    def run() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(serve())
        try:
            loop.run_forever()
        finally:
            for each in asyncio.all_tasks(loop):
                each.cancel()
            loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop), return_exceptions=True))
            loop.close()
            del task

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _error(text: str) -> bytes:
    return json.dumps({"error": {"message": text, "type": "error", "code": None}}).encode()


def _head(status: int, length: int, headers: Mapping[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {length}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
