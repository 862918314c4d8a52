"""Documents from a file of rows into the token store, against `tokenizers` alone, `datasets` and `datatrove`.

python bench/documents.py
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parent.parent)

from bench.chats import MODEL, make_texts
from bench.record import record
from runtime.data.rows import Record, Rows, RowsBuilder, canonical_json
from runtime.data.tokenize import Consumer, tokenize
from runtime.weights.gguf import describe
from runtime.weights.location import resolve

BATCH = 1000
"""Documents that the peers encode together: what `datasets` does unless told otherwise."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--texts", type=Path, help="JSON lines with `text`; else the project's own texts, cut at random"
    )
    options = parser.parse_args()
    consumer = Consumer(describe(resolve(MODEL, Path())).tokenizer, "all", {})
    tokenizer = consumer.model.tokenizer

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        texts = list(documents(options.texts, options.megabytes << 20))
        rows = write_rows(texts, folder / "rows.parquet")
        tokenizer.save(str(folder / "tokenizer.json"))
        cores = len(os.sched_getaffinity(0))

        def ours() -> int:
            store = tokenize(rows, "documents", consumer, emptied(folder / "store")).store
            return int(store.lengths.sum())

        def alone() -> int:
            batches = (texts[first : first + BATCH] for first in range(0, len(texts), BATCH))
            return sum(len(each) + 1 for batch in batches for each in tokenizer.encode_batch(batch))

        peers: dict[str, Callable[[], int]] = {"tokenizers": alone}
        peers["datasets"] = datasets_map(rows, tokenizer, folder, None)
        peers[f"datasets, {cores} processes"] = datasets_map(rows, tokenizer, folder, cores)
        peers["datatrove"] = datatrove_step(texts, folder, str(consumer.model.text(consumer.model.eos)), cores)
        tokens = ours()
        times: dict[str, list[float]] = {name: [] for name in ("ours", *peers)}
        for _ in range(options.repeats):
            for name, work in {"ours": ours, **peers}.items():
                os.putenv("TOKENIZERS_PARALLELISM", "true")  # datasets turns it off, and leaves it so
                start = time.perf_counter()
                made = work()
                times[name].append(time.perf_counter() - start)
                # Control tokens that stand in a text are characters to us, and not to all peers.
                assert abs(made - tokens) * 100_000 <= tokens, f"{name}: {made:,} tokens instead of {tokens:,}"
        shutil.rmtree(folder / "store")

    size = sum(len(text.encode()) for text in texts) / 1e6
    speed = {name: size / statistics.median(seconds) for name, seconds in times.items()}
    for name, package in {name: name.split(",")[0] for name in peers}.items():
        record(
            f"documents: {name}",
            work=f"{len(texts):,} documents, {size:,.0f} MB, {tokens:,} tokens",
            ours=f"{speed['ours']:.2f} MB/s from a file of rows into the store",
            peer=f"{DOES[package]}, {speed[name]:.2f} MB/s",
            ratio=statistics.median(peer / own for own, peer in zip(times["ours"], times[name], strict=True)),
            packages=tuple({"tokenizers", package}),
        )


DOES = {
    "tokenizers": "tokenizers encode_batch alone",
    "datasets": "datasets map, batched, from Parquet to Arrow",
    "datatrove": "datatrove DocumentTokenizer, from JSON lines",
}


def documents(texts: Path | None, size: int) -> Iterator[str]:
    """Texts of about `size` bytes together."""
    source = make_texts(50, 2000, seed=0) if texts is None else (json.loads(line)["text"] for line in texts.open())
    for text in source:
        yield text
        size -= len(text.encode())
        if size <= 0:
            return


def write_rows(texts: list[str], path: Path) -> Rows:
    builder = RowsBuilder(path)
    for line, text in enumerate(texts, 1):
        canonical = canonical_json({"text": text})
        builder.add(Record(canonical, canonical, "made up", line))
    return builder.finish()


def datasets_map(rows: Rows, tokenizer: Any, folder: Path, count: int | None) -> Callable[[], int]:
    """`datasets` with the same tokenizer, as its documentation shows, in this process or in several."""
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    datasets.disable_progress_bars()
    path = folder / "texts.parquet"
    pq.write_table(pa.table({"text": [each["text"] for each in rows.records()]}), path, compression="zstd")
    given = datasets.Dataset.from_parquet(str(path), cache_dir=str(folder / "datasets"))

    def encode(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return {"input_ids": [each.ids for each in tokenizer.encode_batch(batch["text"])]}

    def work() -> int:
        made = given.map(
            encode,
            batched=True,
            batch_size=BATCH,
            num_proc=count,
            remove_columns=["text"],
            load_from_cache_file=False,
            cache_file_name=str(emptied(folder / "mapped") / "made.arrow"),
        )
        lengths = made.data.column("input_ids").combine_chunks().value_lengths()
        return int(lengths.to_numpy().sum()) + len(made)

    return work


def datatrove_step(texts: list[str], folder: Path, end: str, count: int) -> Callable[[], int]:
    """`datatrove`'s reader and tokenizer step, a file and a process a core, without its shuffle."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer
    from datatrove.utils.logging import logger

    logger.remove()
    logging.getLogger().setLevel(logging.ERROR)
    (folder / "texts").mkdir()
    for number in range(count):
        lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts[number::count])
        (folder / "texts" / f"{number}.jsonl").write_text("".join(lines))

    def work() -> int:
        made = emptied(folder / "datatrove")
        step = DocumentTokenizer(
            str(made / "tokens"), str(folder / "tokenizer.json"), eos_token=end, shuffle_documents=False, seed=0
        )
        LocalPipelineExecutor(
            [JsonlReader(str(folder / "texts")), step],
            tasks=count,
            workers=count,
            logging_dir=str(made / "logs"),
            skip_completed=False,
        ).run()
        return sum(path.stat().st_size for path in (made / "tokens").glob("*.ds")) // 2  # 2 bytes a token

    return work


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
