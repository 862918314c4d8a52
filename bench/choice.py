"""Pairs a second of choice evaluations with SmolLM2-135M in float32, ours against lm-evaluation-harness.

    python bench/choice.py --peer-python PATH     (a Python with torch, transformers and lm_eval; default: this one)

Each side is a process of its own that loads the same weights; they ask the same pairs in turns, so that a busy machine
slows both. A pair is a prompt with an aligned and a misaligned continuation: those of `specs/data/evals`, which the
chat template begins alike. That both find the same log-likelihoods is shown first. Ours also is set beside the same
without sharing: each continuation behind a prompt of its own, the logits of every token.
"""

from __future__ import annotations

import sys
from pathlib import Path

# A script's folder comes first in the search path, and tokenize.py in it would hide the standard library's.
ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)

import json
import os
import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np

PAIRS, TIMES = 48, 3


def prepare(folder: Path) -> None:
    """Writes the weights, as a Hugging Face folder, and the pairs as tokens, for both sides."""
    from bench.sides import export_smollm2
    from runtime.data.templates import chat_template
    from runtime.evals.choice import Asked, ask
    from runtime.evals.choice_rows import choice_items, read_choices

    description = export_smollm2(folder)
    template = chat_template(description.tokenizer.chat_template, special={})
    items = choice_items(read_choices([ROOT / "specs" / "data" / "evals" / "dilemmas.jsonl"], ROOT).rows)[:PAIRS]
    sides: list[tuple[list[int], int]] = []
    for item in items:
        asked = ask(item, description.tokenizer.tokenizer, template, description.config.context)
        assert isinstance(asked, Asked)
        sides += [(side.tokens.tolist(), int(np.flatnonzero(side.counted)[0])) for side in asked.sides]
    (folder / "sides.json").write_text(json.dumps(sides))


def compare(ask: Callable[[], list[str]]) -> None:
    """Asks both sides in turns, prints and records the medians."""
    from bench.record import record

    names = ask()
    ours, theirs = (np.array(json.loads(each)) for each in ask())
    apart = float(np.abs(ours - theirs).max())
    print(f"log-likelihoods are at most {apart:.1e} apart")
    if apart > 1e-3:
        raise SystemExit("the log-likelihoods differ")
    seconds: list[list[list[float]]] = [[], []]
    for turn in range(TIMES):  # both are warm: they have found the log-likelihoods
        answers = ask()
        print(f"turn {turn}: {' '.join(answers)} s", flush=True)
        for kept, taken in zip(seconds, answers, strict=True):
            kept.append([float(each) for each in taken.split(",")])
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f}")
    shared, alone = (median(turn[which] for turn in seconds[0]) for which in (0, 1))
    peer = median(turn[0] for turn in seconds[1])
    work = f"SmolLM2-135M, float32, {PAIRS} pairs of about 145 tokens, median of {TIMES}"
    found = f"{PAIRS / shared:.2f} pairs/s"
    record("choice", work, found, f"{names[1]}, {PAIRS / peer:.2f} pairs/s", peer / shared, ["jax", "flax"])
    record("choice", work, found, f"mixc without sharing, {PAIRS / alone:.2f} pairs/s", alone / shared, ["jax", "flax"])


def ours(folder: Path) -> Iterator[str]:
    """First the side's name, then all log-likelihoods, then the seconds of each turn, with sharing and without."""
    import jax
    import jax.numpy as jnp

    from compiler.program.branches import make_branch_log_probabilities
    from compiler.program.step import make_log_probabilities
    from runtime.evals.branches import score_branches
    from runtime.evals.sequences import TokenSequence, score_sequences
    from runtime.weights import pretrained

    config = pretrained.describe(folder).config
    parameters = jax.tree.map(jnp.asarray, pretrained.read_parameters(folder, config))
    sides = [
        TokenSequence(np.array(tokens, np.int32), np.arange(len(tokens)) >= first)
        for tokens, first in json.loads((folder / "sides.json").read_text())
    ]
    branches, rows = make_branch_log_probabilities(config), make_log_probabilities(config)

    def shared() -> np.ndarray:
        return score_branches(sides, lambda forest: branches(parameters, forest)).log_probability

    def alone() -> np.ndarray:
        return score_sequences(sides, lambda *batch: rows(parameters, *batch)).log_probability

    yield "mixc"
    alone()
    yield json.dumps(shared().tolist())
    while True:
        yield f"{_timed(shared):.3f},{_timed(alone):.3f}"


def peer(folder: Path) -> Iterator[str]:
    """The same by `HFLM._loglikelihood_tokens`, on the same tokens."""
    import logging

    import lm_eval
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer, LlamaForCausalLM

    logging.disable(logging.WARNING)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    harness = HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(folder), batch_size=16)
    sides = json.loads((folder / "sides.json").read_text())
    requests = [(("", str(number)), tokens[:first], tokens[first:]) for number, (tokens, first) in enumerate(sides)]

    def scored() -> list[tuple[float, bool]]:
        with torch.inference_mode():
            return harness._loglikelihood_tokens(requests, disable_tqdm=True)

    yield f"lm_eval {lm_eval.__version__} with torch {torch.__version__}"
    yield json.dumps([value for value, _ in scored()])
    while True:
        yield f"{_timed(scored):.3f}"


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    from bench.sides import main

    sys.exit(main("bench.choice", __doc__, prepare, compare, ours, peer))
