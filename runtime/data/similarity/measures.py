"""What a plan tells about the rows of a source: near duplicates among them, their variety, their distance to an eval.

Each looks at a sample of bounded size, the same whenever the rows are the same; up to that size at every row.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from runtime.data.engine import Engine
from runtime.data.keys import key, row_hashes
from runtime.data.rows import Format, Rows
from runtime.data.similarity.embedding import embed_rows
from runtime.data.similarity.nearest import Distance, distance, spread
from runtime.data.similarity.texts import row_texts
from runtime.data.similarity.words import ngram_hashes, word_hashes
from runtime.data.transforms.dedup import REASON, dedup_rows
from runtime.data.transforms.outcome import Example

COMPARED = 20_000
"""Rows that are looked at for near duplicates, or for different n-grams."""
EMBEDDED = 1_000
"""Rows that are embedded."""
_SIMILAR = Fraction(4, 5)
_SAMPLE = key(0, "measures of a source", "", 0)


@dataclass(frozen=True)
class NearDuplicates:
    """Rows that `dedup(by=minhash)` would drop from a sample of `of` rows.

    Of a source that is larger than the sample, fewer: a pair is found only where both rows are in the sample.
    """

    rows: int
    of: int
    examples: tuple[Example, ...]


def sampled(rows: Rows, count: int) -> Rows:
    """At most `count` of the rows, chosen by a keyed hash of what they are."""
    hashes = row_hashes(rows.identity, rows.occurrence, _SAMPLE)
    return rows.select(np.sort(np.argsort(hashes, kind="stable")[:count]))


def near_duplicates(rows: Rows, format: Format, path: Path, engine: Engine | None = None) -> NearDuplicates:
    """Near duplicates in a sample of COMPARED rows.

    Args:
        path: a temporary file lies beside it.
    """
    sample = sampled(rows, COMPARED)
    dropped = dedup_rows(sample, format, "minhash", _SIMILAR, path, engine).dropped
    return NearDuplicates(dropped.counts.get(REASON, 0), len(sample), tuple(dropped.examples.get(REASON, ())))


def distinct_ngrams(rows: Rows, length: int) -> float:
    """The share of different ones among all runs of `length` words, of a sample of COMPARED rows; 0 for no run.

    "distinct-n" of Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models", 2016.
    """
    parts = [ngram_hashes(word_hashes(texts), length).values for _, texts in row_texts(sampled(rows, COMPARED))]
    runs = np.concatenate([np.empty(0, np.uint64), *parts])
    return len(np.unique(runs)) / max(len(runs), 1)


def distance_to(rows: Rows, reference: Rows) -> Distance:
    """How far rows are in meaning from those of an eval or another source; EMBEDDED rows of each.

    Raises:
        UserError: the model that embeds isn't installed.
    """
    return distance(embed_rows(sampled(rows, EMBEDDED)), embed_rows(sampled(reference, EMBEDDED)))


def spread_of(rows: Rows) -> float:
    """The mean cosine distance between the meanings of two of EMBEDDED rows.

    Raises:
        UserError: the model that embeds isn't installed.
    """
    return spread(embed_rows(sampled(rows, EMBEDDED)))
