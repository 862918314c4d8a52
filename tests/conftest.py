"""The strict test bench (two host devices, strict dtype promotion), and options of the whole suite."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator

import pytest

# JAX reads these when it is first imported; tests that start processes hand them on.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
# Compiling takes most of the suite's time, and tiny programs need no optimising. `make test-all` sets the variable.
os.environ["XLA_FLAGS"] = " ".join(
    ["--xla_force_host_platform_device_count=2", os.environ.get("XLA_FLAGS", "--xla_backend_optimization_level=0")]
)
# Hashes and fetched files of tests stay apart from the user's.
_cache = tempfile.TemporaryDirectory(prefix="mixc-cache-")
os.environ["XDG_CACHE_HOME"] = _cache.name


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files with what is printed now")


@pytest.fixture(autouse=True, scope="module")
def _forget_programs() -> Iterator[None]:
    """Compiled programs of a file's tests go with it: all files' together would fill a small machine."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
