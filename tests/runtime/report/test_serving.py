"""The page on loopback: made anew when there is something new, and given to nobody else's pages."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from threading import Thread

import pytest

from runtime.errors import UserError
from runtime.report.serving import page_server


class Study:
    """Counts how often its page is made."""

    version = "1"
    made = 0

    def page(self) -> str:
        self.made += 1
        if self.version == "gone":
            raise UserError("no study ran", "run one")
        return f"<p>{self.version}"


@pytest.fixture
def served() -> Iterator[tuple[Study, int]]:
    study = Study()
    with page_server(lambda: study.version, study.page, 0) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield study, server.server_port
        server.shutdown()
        thread.join()


def ask(port: int, path: str, host: str | None = None) -> tuple[HTTPResponse, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def test_the_page_is_made_once_a_version(served: tuple[Study, int]):
    study, port = served
    assert ask(port, "/")[1] == ask(port, "/")[1] == "<p>1"
    assert study.made == 1
    study.version = "2"
    assert ask(port, "/version")[1] == "2"
    assert ask(port, "/")[1] == "<p>2"


def test_a_page_elsewhere_reads_nothing(served: tuple[Study, int]):
    _, port = served
    response, text = ask(port, "/", host=f"evil.example:{port}")
    assert response.status == 403
    assert "<p>" not in text
    response, _ = ask(port, "/", host=f"localhost:{port}")
    assert response.status == 200
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in response.headers


def test_what_is_not_there_and_what_fails_is_said(served: tuple[Study, int]):
    study, port = served
    assert ask(port, "/etc/passwd")[0].status == 404
    study.version = "gone"
    response, text = ask(port, "/")
    assert (response.status, text) == (503, "no study ran\nrun one\n")


def test_a_port_that_is_taken_is_said(served: tuple[Study, int]):
    _, port = served
    with pytest.raises(UserError, match=f"port {port}"):
        page_server(lambda: "", lambda: "", port)
