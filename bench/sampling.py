"""Tokens a second of sampling with SmolLM2-135M in float32, ours against `generate` of transformers with its cache.

    python bench/sampling.py --peer-python PATH     (a Python with torch and transformers; default: this one)

Each side is a process of its own that loads the same weights and prompts; they sample in turns, so that a busy machine
slows both. Both make so many tokens of each of 16 prompts, drawn at temperature 1 from the whole vocabulary. That they
decode the same is shown first: the most likely tokens, which must agree.
"""

from __future__ import annotations

import sys
from pathlib import Path

# A script's folder comes first in the search path, and tokenize.py in it would hide the standard library's.
ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)

import time
from collections.abc import Callable, Iterator

import numpy as np

ROWS, PROMPT, TOKENS, TIMES, GREEDY = 16, 64, 128, 5, 8


def prepare(folder: Path) -> None:
    """Writes the weights, as a Hugging Face folder, and the prompts, for both sides."""
    from bench.sides import export_smollm2

    description = export_smollm2(folder)
    words = (ROOT / "README.md").read_text(encoding="utf-8")
    ids = description.tokenizer.tokenizer.encode(words, add_special_tokens=False).ids
    starts = np.linspace(0, len(ids) - PROMPT, ROWS).astype(int)
    np.save(folder / "prompts.npy", np.array([ids[start : start + PROMPT] for start in starts], np.int32))


def compare(ask: Callable[[], list[str]]) -> None:
    """Samples with both sides in turns, prints and records the medians."""
    from bench.record import record
    from bench.sides import medians

    names = ask()
    likely = ask()
    if likely[0] != likely[1]:
        raise SystemExit(f"the most likely tokens differ: {likely}")
    ours, theirs = (ROWS * TOKENS / each for each in medians(ask, TIMES))
    record(
        "sampling",
        f"SmolLM2-135M, float32, {ROWS} prompts of {PROMPT} tokens, {TOKENS} tokens each, median of {TIMES}",
        f"{ours:.0f} tokens/s",
        f"{names[1]}, {theirs:.0f} tokens/s",
        ours / theirs,
        ["jax", "flax"],
    )


def ours(folder: Path) -> Iterator[str]:
    """First the side's name, then the most likely tokens of all prompts, then the seconds of each turn."""
    import jax
    import jax.numpy as jnp

    from compiler.program.sampler import Continuation, Prompt, sample_batch
    from runtime.weights import pretrained

    config = pretrained.describe(folder).config
    parameters = jax.tree.map(jnp.asarray, pretrained.read_parameters(folder, config))
    prompts = np.load(folder / "prompts.npy").tolist()

    def sampled(tokens: int, temperature: float, seed: int) -> list[Continuation]:
        asked = [Prompt(ids, tokens, temperature, seed=seed + row) for row, ids in enumerate(prompts)]
        made = sample_batch(config, parameters, asked, stops=())
        assert all(len(each.ids) == tokens for each in made)
        return made

    yield "mixc"
    yield str([list(each.ids) for each in sampled(GREEDY, 0.0, 0)])
    yield from _timed(lambda turn: sampled(TOKENS, 1.0, 100 * turn))


def peer(folder: Path) -> Iterator[str]:
    """The same by `generate`."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompts = torch.from_numpy(np.load(folder / "prompts.npy").astype(np.int64))

    def sampled(tokens: int, **settings: object) -> object:
        with torch.inference_mode():
            made = model.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                max_new_tokens=tokens,
                eos_token_id=None,
                pad_token_id=0,
                use_cache=True,
                **settings,
            )
        assert made.shape == (ROWS, PROMPT + tokens)
        return made[:, PROMPT:]

    yield f"torch {torch.__version__} with transformers {transformers.__version__}"
    yield str(sampled(GREEDY, do_sample=False).tolist())
    yield from _timed(lambda turn: sampled(TOKENS, do_sample=True, temperature=1.0, top_k=0, top_p=1.0))


def _timed(sample: Callable[[int], object]) -> Iterator[str]:
    turn = 0
    while True:
        start = time.perf_counter()
        sample(turn)
        yield f"{time.perf_counter() - start:.3f}"
        turn += 1


if __name__ == "__main__":
    from bench.sides import main

    sys.exit(main("bench.sampling", __doc__, prepare, compare, ours, peer))
