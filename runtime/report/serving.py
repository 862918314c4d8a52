"""Serves a page on loopback, and tells when there is a newer one."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from runtime.errors import UserError

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def page_server(version: Callable[[], str], page: Callable[[], str], port: int) -> ThreadingHTTPServer:
    """A server on 127.0.0.1 that hasn't begun: `/` is the page, made when its version has changed, `/version` that.

    A request that names another host than this one is refused: a page elsewhere can't read this one under a name of
    its own that leads here.

    Args:
        port: 0 for any that is free.

    Raises:
        UserError: the port is taken.
    """
    made: dict[str, bytes] = {}
    lock = Lock()

    def current() -> bytes:
        with lock:
            now = version()
            if now not in made:
                made.clear()
                made[now] = page().encode()
            return made[now]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host, _, asked = self.headers.get("Host", "").partition(":")
            if host not in ("127.0.0.1", "localhost") or asked != str(server.server_port):
                self._send(HTTPStatus.FORBIDDEN, "text/plain", b"this server answers for 127.0.0.1 only\n")
                return
            match self.path.partition("?")[0]:
                case "/":
                    self._answer("text/html", current)
                case "/version":
                    self._answer("text/plain", lambda: version().encode())
                case _:
                    self._send(HTTPStatus.NOT_FOUND, "text/plain", b"there is one page: /\n")

        def log_message(self, format: str, *args: object) -> None:
            """A line a request would bury what the command says."""

        def _answer(self, kind: str, made: Callable[[], bytes]) -> None:
            try:
                body = made()
            except UserError as error:
                self._send(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{error.message}\n{error.help}\n".encode())
            else:
                self._send(HTTPStatus.OK, kind, body)

        def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body)), **_HEADERS}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise UserError(f"port {port} can't be served on: {error.strerror}", "name another with --port") from error
    return server
