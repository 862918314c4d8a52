"""The strict test bench (two host devices, strict dtype promotion), and options of the whole suite."""

from __future__ import annotations

import os
import tempfile

import pytest

# JAX reads these when it is first imported; tests that start processes hand them on.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
# Hashes and fetched files of tests stay apart from the user's.
_cache = tempfile.TemporaryDirectory(prefix="mixc-cache-")
os.environ["XDG_CACHE_HOME"] = _cache.name


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files with what is printed now")
