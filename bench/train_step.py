"""Tokens a second of one float32 AdamW step of SmolLM2-135M, ours against torch and transformers.

    python bench/train_step.py --peer-python PATH     (a Python with torch and transformers; default: this one)

Each side is a process of its own that loads the same weights and batch; they step in turns, so that a busy machine
slows both. Both clip to norm 1 and report the loss, which must agree.
"""

from __future__ import annotations

import sys
from pathlib import Path

# A script's folder comes first in the search path, and tokenize.py in it would hide the standard library's.
ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)

import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np

ROWS, LENGTH, STEPS = 4, 512, 5
RATE, DECAY, BETAS, CLIP = 1e-5, 0.1, (0.9, 0.95), 1.0


def prepare(folder: Path) -> None:
    """Writes the weights, as a Hugging Face folder, and the batch, for both sides."""
    from bench.sides import export_smollm2

    description = export_smollm2(folder)
    tokens = np.random.default_rng(0).integers(0, description.config.vocabulary, (ROWS, LENGTH))
    np.save(folder / "tokens.npy", tokens.astype(np.int32))


def compare(ask: Callable[[], list[str]]) -> None:
    """Steps both sides in turns, prints and records the medians."""
    from bench.record import record

    names = ask()
    seconds: list[list[float]] = [[], []]
    for step in range(STEPS + 1):  # the first compiles and warms up
        answers = [answer.split() for answer in ask()]
        losses = [float(loss) for _, loss in answers]
        if not np.isclose(*losses, rtol=1e-3):
            raise SystemExit(f"the losses differ: {losses}")
        print(f"step {step}: {' '.join(answer[0] for answer in answers)} s, loss {losses[0]:.4f}", flush=True)
        if step > 0:
            for kept, (taken, _) in zip(seconds, answers, strict=True):
                kept.append(float(taken))
    ours, theirs = (ROWS * LENGTH / median(kept) for kept in seconds)
    record(
        "train_step",
        f"SmolLM2-135M, float32, AdamW, {ROWS} x {LENGTH} tokens, median of {STEPS} steps",
        f"{ours:.0f} tokens/s",
        f"{names[1]}, {theirs:.0f} tokens/s",
        ours / theirs,
        ["jax", "flax", "optax"],
    )


def ours(folder: Path) -> Iterator[str]:
    """First the side's name, then seconds and loss of each step."""
    import jax
    import jax.numpy as jnp

    from compiler.program.batch import Batch
    from compiler.program.objectives import supervised, target_count
    from compiler.program.optimizer import adamw, schedule
    from compiler.program.step import initial_state, make_train_step
    from runtime.weights import pretrained

    config = pretrained.describe(folder).config
    tokens = jnp.asarray(np.load(folder / "tokens.npy"))
    places = jnp.broadcast_to(jnp.arange(LENGTH, dtype=jnp.int32), tokens.shape)
    batch = Batch(tokens, jnp.ones_like(tokens), places, jnp.ones_like(tokens, dtype=jnp.bool_))
    optimizer = adamw(schedule("constant", RATE, 1000), *BETAS, weight_decay=DECAY, clip=CLIP)
    step = make_train_step(supervised(config, "float32"), optimizer)
    state = initial_state(optimizer, jax.tree.map(jnp.asarray, pretrained.read_parameters(folder, config)))
    count = jax.block_until_ready(target_count(batch))
    yield "mixc"
    while True:
        start = time.perf_counter()
        state, metrics = jax.block_until_ready(step(state, {}, batch, count))
        yield f"{time.perf_counter() - start:.3f} {metrics.loss:.6f}"


def peer(folder: Path) -> Iterator[str]:
    """The same by torch: eager, its default threads, the faster of its AdamW implementations."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    tokens = torch.from_numpy(np.load(folder / "tokens.npy").astype(np.int64))
    parameters = list(model.parameters())
    groups = [
        {"params": [each for each in parameters if each.ndim == 2], "weight_decay": DECAY},
        {"params": [each for each in parameters if each.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=_fused_is_faster(torch))
    yield f"torch {torch.__version__} with transformers {transformers.__version__}"
    while True:
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = model(tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        yield f"{time.perf_counter() - start:.3f} {loss.item():.6f}"


def _fused_is_faster(torch: object) -> bool:
    """Whether AdamW's fused implementation beats `foreach` on this machine, by one large parameter."""

    def seconds(**kind: bool) -> float:
        parameter = torch.nn.Parameter(torch.zeros(4096, 4096))
        parameter.grad = torch.ones_like(parameter)
        optimizer = torch.optim.AdamW([parameter], **kind)
        optimizer.step()
        start = time.perf_counter()
        optimizer.step()
        return time.perf_counter() - start

    return seconds(fused=True) < seconds(foreach=True)


if __name__ == "__main__":
    from bench.sides import main

    sys.exit(main("bench.train_step", __doc__, prepare, compare, ours, peer))
