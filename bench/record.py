"""Prints a benchmark's outcome and appends it, with versions and machine, to results.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results.md"
HEAD = """# Measured

Each row is one run of a file of this folder: ours and the peer on the same work, in one process tree.

| date | benchmark | work | ours | peer | ours / peer | versions | machine |
|---|---|---|---|---|---|---|---|
"""


def record(name: str, work: str, ours: str, peer: str, ratio: float, packages: Sequence[str]) -> None:
    """Keeps one comparison.

    Args:
        name: of the benchmark.
        work: what both did.
        ours, peer: what was measured, with its unit; `peer` begins with the peer's name.
        ratio: ours over the peer's, in speed: above 1, ours is faster.
        packages: distributions whose versions matter.
    """
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{each} {version(each)}" for each in packages)])
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    cells = [f"{datetime.now(UTC):%Y-%m-%d}", name, work, ours, peer, f"{ratio:.2f}", versions, machine]
    print(f"{name}: {work}\n  ours {ours}\n  peer {peer}\n  ratio {ratio:.2f}")
    if not RESULTS.exists():
        RESULTS.write_text(HEAD)
    with RESULTS.open("a") as file:
        file.write("| " + " | ".join(cells) + " |\n")
