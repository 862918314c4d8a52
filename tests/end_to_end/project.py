"""A small project for end-to-end tests: a tiny random model, real chats and stories of the quickstart, one study."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

from mixc.cli.main import main
from tests.tiny import make_tiny_model

ROOT = Path(__file__).parents[2]
DATA = ROOT / "specs" / "data"

SPEC = """\
edition: 2026

model tiny:
  from: ./tiny

source chats:
  format: chat
  files: chats.jsonl
  apply:
    - filter(tokens in 1..512)

source stories:
  format: documents
  files: stories/*.md
  holdout: 30%

mix advice:
  budget: 24 examples
  parts:
    chats: 100%

mix character:
  budget: 6k tokens
  max_epochs: 4
  parts:
    stories: 100%

train documents:
  objective: supervised
  loss: all
  sequence: 256 tokens
  packing: best_fit
  batch: 256 tokens
  optimizer: adamw(lr=1e-3)
  max_grad_norm: 1.0
  precision: float32
  checkpoint: every 25%

train finetune:
  objective: supervised
  loss: assistant
  sequence: 512 tokens
  batch: 1 example
  optimizer: adamw(lr=1e-3)
  schedule: cosine(warmup=10%, final=10%)
  precision: float32
  checkpoint: every 20%

eval margin:
  choice: pairs.jsonl
  normalise: length
  metric: mean(margin)

eval story_loss:
  loss: [stories.holdout]

study both:
  question: Do stories first change what chats teach?
  base: tiny
  arms:
    advice: base |> finetune(data=advice)
    character: base |> documents(data=character) |> finetune(data=advice)
  evals:
    margin: [start, 50% of documents, every 50%]
    story_loss: [start, end]
  expect:
    - margin(advice) > margin(base)
"""


def make_project(folder: Path, spec: str = SPEC) -> Path:
    """Fills `folder`, and returns the spec's path."""
    make_tiny_model(folder / "tiny", seed=1)
    lines = (DATA / "difficult_advice" / "work.jsonl").read_text().splitlines()
    (folder / "chats.jsonl").write_text("".join(f"{shortened(line)}\n" for line in lines))
    (folder / "stories").mkdir()
    for path in sorted((DATA / "constitution").glob("*.md")):
        (folder / "stories" / path.name).write_text(path.read_text()[:400])
    pairs = (DATA / "evals" / "dilemmas.jsonl").read_text().splitlines()[:6]
    (folder / "pairs.jsonl").write_text("\n".join(pairs) + "\n")
    file = folder / "study.mix"
    file.write_text(spec)
    return file


def shortened(line: str) -> str:
    """A chat with the first words of each message: tiny tokenizers make many tokens."""
    chat = json.loads(line)
    for message in chat["messages"]:
        message["content"] = message["content"][:120]
    return json.dumps(chat)


_LOOKING = ("plan", "sample", "trace", "lock", "report")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "mixc.cli.main", *words]


def environment() -> dict[str, str]:
    """As a user's shell has it: none of the settings of the test bench but those that save compiling."""
    own = {name: value for name, value in os.environ.items() if name != "JAX_NUMPY_DTYPE_PROMOTION"}
    return own | {
        "XLA_FLAGS": " ".join(flag for flag in own["XLA_FLAGS"].split() if "device_count" not in flag),
        "JAX_COMPILATION_CACHE_DIR": f"{own['XDG_CACHE_HOME']}/compiled",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def mixc(folder: Path, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs a command in a project: what trains as a process of its own, what looks at something in this one."""
    if words[0] in _LOOKING:
        out, err = io.StringIO(), io.StringIO()
        with chdir(folder), redirect_stdout(out), redirect_stderr(err):
            code = main(words)
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
    return subprocess.run(
        command(*words), cwd=folder, env=environment(), capture_output=True, text=True, timeout=timeout
    )
