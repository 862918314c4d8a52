"""Samples a second of a task of Inspect with SmolLM2-135M in float32: ours against Inspect's own provider `hf/`.

    python bench/inspect_tasks.py --peer-python PATH     (a Python with torch, transformers and inspect-ai)

Each side is a process of its own that loads the same weights; they run the same task in turns, so that a busy machine
slows both. The task has 8 questions behind one long text, each sampled in 8 epochs at temperature 1, with at most 32
tokens an answer. That both answer the same is shown first, at temperature 0.
"""

from __future__ import annotations

import sys
from pathlib import Path

# A script's folder comes first in the search path, and tokenize.py in it would hide the standard library's.
ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)

import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

QUESTIONS, EPOCHS, TOKENS, TIMES, CHARACTERS = 8, 8, 32, 3, 2400


def prepare(folder: Path) -> None:
    """Writes the weights, as a Hugging Face folder, for both sides."""
    from bench.sides import export_smollm2

    export_smollm2(folder)


def compare(ask: Callable[[], list[str]]) -> None:
    """Runs the task on both sides in turns, prints and records the medians."""
    from bench.record import record
    from bench.sides import medians

    names = ask()
    likely = ask()
    if likely[0] != likely[1]:
        raise SystemExit(f"the most likely answers differ: {likely}")
    ours, theirs = (QUESTIONS * EPOCHS / each for each in medians(ask, TIMES))
    record(
        "inspect",
        f"SmolLM2-135M, float32, {QUESTIONS} prompts of about 600 tokens in {EPOCHS} epochs, {TOKENS} tokens each,"
        f" median of {TIMES}",
        f"{ours:.2f} samples/s",
        f"{names[1]}, {theirs:.2f} samples/s",
        ours / theirs,
        ["jax", "flax", "inspect-ai"],
    )


def ours(folder: Path) -> Iterator[str]:
    """First the side's name, then the most likely answers as a hash, then the seconds of each turn."""
    from runtime.model_calls.checkpoint import checkpoint_model
    from runtime.weights import pretrained

    description = pretrained.describe(folder)
    parameters = pretrained.read_parameters(folder, description.config)

    def model(config: Any) -> Any:
        return checkpoint_model("smollm2", description, parameters, {}, config)

    yield "mixc"
    yield from _turns(model)


def peer(folder: Path) -> Iterator[str]:
    """The same with Inspect's provider for transformers."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # all is in the folder; transformers looks for adapters elsewhere and waits
    import torch
    import transformers
    from inspect_ai.model import get_model

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()

    def model(config: Any) -> Any:
        sampled = (config.temperature or 0) > 0
        return get_model(
            "hf/smollm2", config=config, memoize=False, model_path=str(folder), tokenizer_path=str(folder),
            device="cpu", do_sample=sampled, dtype=torch.float32,
        )  # fmt: skip

    yield f"Inspect's hf with torch {torch.__version__} and transformers {transformers.__version__}"
    yield from _turns(model)


def task() -> Any:
    """Questions behind a long text."""
    from inspect_ai import Task
    from inspect_ai.dataset import Sample
    from inspect_ai.solver import generate

    text = (ROOT / "README.md").read_text(encoding="utf-8")[:CHARACTERS]
    asked = [Sample(id=number, input=f"{text}\n\nWhat is said of point {number}?") for number in range(QUESTIONS)]
    return Task(dataset=asked, solver=generate())


def answers(model: Any, epochs: int) -> list[str]:
    """What a model says, by sample and epoch."""
    from inspect_ai import eval

    with tempfile.TemporaryDirectory() as logs, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (log,) = eval(
            task(), model=model, epochs=epochs, score=False, display="none", log_dir=logs, log_level="error",
            log_realtime=False, max_samples=QUESTIONS * EPOCHS,
        )  # fmt: skip
        assert log.status == "success", log.error
        samples = sorted(log.samples or (), key=lambda sample: (sample.id, sample.epoch))
    return [sample.output.completion for sample in samples]


def _turns(model: Callable[[Any], Any]) -> Iterator[str]:
    from inspect_ai.model import GenerateConfig

    said = answers(model(GenerateConfig(temperature=0.0, max_tokens=TOKENS)), 1)
    yield hashlib.sha256("\n".join(said).encode()).hexdigest()
    drawing = model(GenerateConfig(temperature=1.0, max_tokens=TOKENS, max_connections=QUESTIONS * EPOCHS))
    while True:
        start = time.perf_counter()
        made = answers(drawing, EPOCHS)
        assert len(made) == QUESTIONS * EPOCHS
        yield f"{time.perf_counter() - start:.3f}"


if __name__ == "__main__":
    from bench.sides import main

    sys.exit(main("bench.inspect_tasks", __doc__, prepare, compare, ours, peer))
