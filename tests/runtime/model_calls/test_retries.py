"""Trouble on the way to a model: waited for where it passes, given up where nobody is there, and told in any case."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from runtime.errors import UserError
from tests.runtime.model_calls.asking import ASKED, IMPATIENT, ask, calling, said
from tests.runtime.model_calls.server import Faults, Server


def no_names(monkeypatch: pytest.MonkeyPatch) -> list[bytes | str]:
    """Lets no name be found; returns those that were looked up."""
    looked_up: list[bytes | str] = []

    def not_found(host: Any, *_: Any, **__: Any) -> NoReturn:
        looked_up.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    return looked_up


def unused_url() -> str:
    """An address of this machine where nobody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def test_a_refused_connection_is_given_up_soon_and_told(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_BASE_URL", unused_url())
    with calling(tmp_path) as caller:
        with pytest.raises(UserError, match=r"writer failed 3 times in a row: no connection: .*127"):
            ask(caller, *map(str, range(20)))
        (line,) = [line for line in said(caller) if "trying again" in line]
    assert line.startswith("writer: no connection, trying again")


def test_a_name_that_is_not_found_is_given_up_soon(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_BASE_URL", "http://nobody.invalid/v1")
    looked_up = no_names(monkeypatch)
    with calling(tmp_path) as caller, pytest.raises(UserError, match=r"failed 3 times .*Name or service not known"):
        ask(caller, "a")
    assert set(looked_up) == {b"nobody.invalid"}


def test_a_server_that_answered_before_is_waited_for_longer(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with calling(tmp_path, patience=replace(IMPATIENT, retries=6)) as caller:
        ask(caller, "a")
        monkeypatch.setenv("LOCAL_BASE_URL", unused_url())
        with pytest.raises(UserError, match="failed 7 times in a row: no connection"):
            ask(caller, "b")


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        (Faults(limit=1.0, retry_after="0.01"), "error 429"),
        (Faults(stall=1.0), "no answer in time"),
        (Faults(cut=1.0), "no connection"),
    ],
)
def test_passing_trouble_is_waited_for_from_the_first_call_on(
    server: Server, tmp_path: Path, faults: Faults, kind: str
) -> None:
    server.faults = faults
    with calling(tmp_path, patience=replace(IMPATIENT, retries=4, timeout=0.5)) as caller:
        with pytest.raises(UserError, match=f"failed 5 times in a row: {kind}"):
            ask(caller, "a")
        assert any(line.startswith(f"writer: {kind}, trying again") for line in said(caller))


def test_a_kind_of_trouble_is_told_once_and_again_after_a_while(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status = 503
    with calling(tmp_path, patience=replace(IMPATIENT, retries=3)) as caller:
        with pytest.raises(UserError):
            ask(caller, "a", "b")
        assert len([line for line in said(caller) if "trying again" in line]) == 1
        monkeypatch.setattr("runtime.model_calls.failures.SAID_SECONDS", 0.0)
        with pytest.raises(UserError):
            ask(caller, "c")
        assert len([line for line in said(caller) if "trying again" in line]) == 4


def test_a_provider_that_estimates_tokens_looks_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "no tokenizer yet"))
    looked_up = no_names(monkeypatch)
    with calling(tmp_path, ASKED.model_copy(update={"api": "mockllm/model"})) as caller:
        answers = ask(caller, *map(str, range(30)))
    assert len(answers) == 30
    assert all(answer.input_tokens for answer in answers)
    assert not looked_up
