"""The server that transforms ask in tests."""

from __future__ import annotations

from tests.runtime.model_calls.conftest import server

__all__ = ["server"]
