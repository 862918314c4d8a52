"""Near duplicates found a second by `dedup(by=minhash)`, against datasketch on the same texts.

python bench/dedup.py [--documents 200000 --alone]
"""

from __future__ import annotations

import sys
from pathlib import Path

# As a script, this file's folder comes first in the search path, and `tokenize` hides the standard library's.
sys.path[0] = str(Path(__file__).parent.parent)

import argparse
import re
import resource
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from datasketch import MinHash, MinHashLSH

from bench.record import record
from runtime.data.rows import Record, Rows, RowsBuilder, canonical_json
from runtime.data.similarity.minhash import FUNCTIONS, SHINGLE
from runtime.data.transforms.dedup import dedup_rows

TEXTS = Path(__file__).parent.parent / "specs" / "data"
WORDS = 800
"""Of a document: about 5 kB."""
NEAR = 10
"""Every so manieth document is the one before it with 2% of the words replaced, so with a similarity near 0.82."""
THRESHOLD = Fraction(7, 10)


def documents(count: int) -> Iterator[str]:
    """Words of the project's own texts in random order, so no two are alike but those that are meant to be."""
    words = np.array(sorted({word for path in TEXTS.rglob("*.md") for word in path.read_text().split()}))
    draw = np.random.default_rng(0)
    last = draw.choice(words, WORDS)
    for number in range(count):
        if number % NEAR == 0:
            last = last.copy()
            last[draw.integers(0, WORDS, WORDS // 50)] = draw.choice(words, WORDS // 50)
        else:
            last = draw.choice(words, WORDS)
        yield " ".join(last)


def rows_of(texts: Iterator[str], path: Path) -> Rows:
    builder = RowsBuilder(path)
    for number, text in enumerate(texts, 1):
        canonical = canonical_json({"text": text})
        builder.add(Record(canonical, canonical, "documents", number))
    return builder.finish()


def theirs(rows: Rows) -> int:
    """Rows for which an earlier one is a candidate; candidates are not compared, unlike ours."""
    found = 0
    index = MinHashLSH(threshold=float(THRESHOLD), num_perm=FUNCTIONS)
    for number, each in enumerate(rows.records()):
        words = re.findall(r"\w+", each["text"].lower())
        signature = MinHash(num_perm=FUNCTIONS)
        shingles = {" ".join(words[start : start + SHINGLE]) for start in range(len(words) - SHINGLE + 1)}
        signature.update_batch([shingle.encode() for shingle in shingles])
        found += bool(index.query(signature))
        index.insert(number, signature)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--alone", action="store_true", help="without the peer; nothing is recorded")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        rows = rows_of(documents(options.documents), path)
        megabytes = int(rows.sizes.sum()) / 1e6
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        dropped = dedup_rows(rows, "documents", "minhash", THRESHOLD, path).dropped.counts["duplicates"]
        ours = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        measured = f"{megabytes / ours:,.1f} MB/s, {dropped:,} dropped"
        print(f"{measured} of {megabytes:,.0f} MB; memory {before >> 10} MB before, {peak >> 10} MB at most")
        if options.alone:
            return
        start = time.perf_counter()
        found = theirs(rows)
        peer = time.perf_counter() - start
    record(
        "dedup",
        work=f"{options.documents:,} documents, {megabytes:,.0f} MB, {options.documents // NEAR:,} near duplicates",
        ours=measured,
        peer=f"datasketch MinHashLSH, {megabytes / peer:,.1f} MB/s, {found:,} found",
        ratio=peer / ours,
        packages=("numpy", "datasketch"),
    )


if __name__ == "__main__":
    main()
