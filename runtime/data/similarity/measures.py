"""What is told of a source's rows: near duplicates among them, how far they spread, their distance to an eval.

Each looks at a sample of bounded size, the same whenever the rows are the same; up to that size at every row.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from runtime.data.engine import Engine
from runtime.data.keys import key
from runtime.data.rows import Format, Rows
from runtime.data.similarity.embedding import embed_rows
from runtime.data.similarity.nearest import Distance, distance, spread
from runtime.data.transforms.dedup import REASON, dedup_rows
from runtime.data.transforms.outcome import Example

COMPARED = 20_000
"""Rows that are looked at for near duplicates."""
EMBEDDED = 200
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


def near_duplicates(rows: Rows, format: Format, path: Path, engine: Engine | None = None) -> NearDuplicates:
    """Near duplicates in a sample of COMPARED rows.

    Args:
        path: a temporary file lies beside it.
    """
    sample = rows.sampled(COMPARED, _SAMPLE)
    dropped = dedup_rows(sample, format, "minhash", _SIMILAR, path, engine).dropped
    return NearDuplicates(dropped.counts.get(REASON, 0), len(sample), tuple(dropped.examples.get(REASON, ())))


def distance_to(rows: Rows, reference: Rows) -> Distance:
    """How far rows are in meaning from those of an eval or another source; EMBEDDED rows of each.

    Raises:
        UserError: the model that embeds isn't installed.
    """
    return distance(embed_rows(rows.sampled(EMBEDDED, _SAMPLE)), embed_rows(reference.sampled(EMBEDDED, _SAMPLE)))


def spread_of(rows: Rows) -> float:
    """The mean cosine distance between the meanings of two of EMBEDDED rows.

    Raises:
        UserError: the model that embeds isn't installed.
    """
    return spread(embed_rows(rows.sampled(EMBEDDED, _SAMPLE)))
