"""The transform `dedup`: of rows that are the same, or nearly, only the first stays."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from runtime.data.engine import Engine, engine_for
from runtime.data.rows import Format, Rows
from runtime.data.similarity.clusters import Numbers
from runtime.data.similarity.embedding import embed_rows
from runtime.data.similarity.near_duplicates import near_meaning, same_text, shared_shingles
from runtime.data.transforms.outcome import EXAMPLES, Example, Outcome, Tally

REASON = "duplicates"


def dedup_rows(
    rows: Rows,
    format: Format,
    by: Literal["exact", "minhash", "embedding"],
    threshold: Fraction,
    path: Path,
    engine: Engine | None = None,
) -> Outcome:
    """The rows without those that repeat another: of each cluster the first by identity stays.

    Whatever the way, rows of exactly the same text go first, other columns aside. Then, by minhash, rows that share so
    many of their runs of five words; by embedding, rows of so near a meaning. Clusters are connected: two rows of one
    may be less alike than the threshold where others lie between. The result follows from the rows alone, and a second
    time changes nothing.

    Args:
        threshold: the least Jaccard similarity of shingles, or cosine similarity; `exact` has no use for it.
        path: a temporary file lies beside it.
        engine: where the work is done; None is wherever it is done soonest.

    Raises:
        UserError: by embedding, and the model isn't installed.
    """
    engine = engine or engine_for(int(rows.sizes.sum()))
    distinct, exact = _first_of_each(rows, same_text(rows, format, engine), "the same text as")
    if by == "exact":
        return Outcome(distinct, exact)
    if by == "minhash":
        clusters = shared_shingles(distinct, float(threshold), path.parent, engine)
    else:
        clusters = near_meaning(embed_rows(distinct), float(threshold))
    left, near = _first_of_each(distinct, clusters, "much like")
    return Outcome(left, _sum(near, exact))


def _first_of_each(rows: Rows, clusters: Numbers, likeness: str) -> tuple[Rows, Tally]:
    stays = clusters == np.arange(len(rows))
    gone = np.flatnonzero(~stays)
    dropped = Tally()
    if len(gone):
        dropped.counts[REASON] = len(gone)
        dropped.examples[REASON] = [
            Example(rows.place(number), f"{likeness} {rows.place(int(clusters[number]))}, which stays")
            for number in gone[:EXAMPLES].tolist()
        ]
    return rows.select(stays), dropped


def _sum(first: Tally, second: Tally) -> Tally:
    """Both together; examples of the first come first."""
    total = Tally()
    for tally in (first, second):
        for reason, count in tally.counts.items():
            total.counts[reason] = total.counts.get(reason, 0) + count
            shown = total.examples.setdefault(reason, [])
            shown.extend(tally.examples[reason][: EXAMPLES - len(shown)])
    return total
