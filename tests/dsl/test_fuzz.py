"""Mutated files: nothing crashes, hangs or is read otherwise than YAML reads it. `tests/dsl/fuzz.py` runs for hours."""

from __future__ import annotations

import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.dsl.fuzz import corpus, fuzz, hold, mutated

ROOT = Path(__file__).parents[2]
HANG = 30.0
"""Seconds: `python -m tests.dsl.fuzz` holds texts to one second, which a busy machine can't promise."""


def test_every_spec_of_the_tests_holds() -> None:
    for text in corpus():
        hold(text, HANG)


def test_a_few_mutations() -> None:
    draw, texts = random.Random(0), corpus()
    for _ in range(1000):
        hold(mutated(draw, texts), HANG)


@pytest.mark.parametrize(
    "text",
    [
        b"a: " + b"[" * 50_000, b"a: " + b"{b: " * 20_000, b"- " * 50_000, b"(" * 100_000, b"a: f(" + b"(" * 90_000,
        b"a: " + b"x" * 99_000, b"a: " + b"x |> " * 19_000, b'a: "' + b"\\" * 99_000, b"a: " + b"not " * 20_000,
        b"\n".join(b" " * depth + b"a:" for depth in range(400)), b"a:\n" * 30_000, b"edition: 2026\n" * 7_000,
        b"source a:\n  apply:\n    - filter(" + b"a and " * 15_000 + b"b)\n", b"# " * 50_000, b"\t" * 100_000,
        b"model m:\n  from: " + b"9" * 90_000, b"x: |\n" + b"  line\n" * 14_000, b"a: '" + b"''" * 49_000,
        "".join(f"mix m{n}:\n  parts: {{m{n + 1}: 100%}}\n" for n in range(2_500)).encode(),
        "".join(f"train t{n}:\n  extends: t{n + 1}\n" for n in range(3_000)).encode(),
        "".join(f"let:\n  c{n}: $c{n + 1}\n" if n == 0 else f"  c{n}: $c{n + 1}\n" for n in range(5_000)).encode(),
    ],
    ids=range(21),
)  # fmt: skip
def test_deep_and_long_files_are_refused_politely(text: bytes) -> None:
    assert len(text) <= 100_000
    hold(text, HANG)


@pytest.mark.slow
def test_minutes_of_mutations() -> None:
    assert fuzz(120, seed=random.SystemRandom().randrange(10**9)) > 1000


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: it has wheels for Linux only")
def test_minutes_guided_by_coverage(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.dsl.fuzz", "--atheris", "--minutes", "2", "--crashes", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert not list(tmp_path.glob("*.mix")), done.stdout
