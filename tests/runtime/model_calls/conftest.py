"""A well-behaved server, with the variables of the environment that name it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.runtime.model_calls.server import Server, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running
