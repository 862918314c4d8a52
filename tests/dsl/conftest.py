"""Packages with transforms, installed for all tests of the language: docs and golden files name them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.plug_ins import installed, put_broken, put_example


@pytest.fixture(scope="session", autouse=True)
def plug_ins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("installed")
    put_example(folder)
    put_broken(folder)
    with installed(folder):
        yield
