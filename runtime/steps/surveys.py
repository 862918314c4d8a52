"""Runs a survey: looks at what is trained on as a whole, beside every evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np

from compiler.identity import sha256
from compiler.steps import Survey
from runtime.data.rows import Format, Rows
from runtime.data.similarity.embedding import can_embed
from runtime.data.similarity.measures import near_duplicates, spread_of
from runtime.data.similarity.overlap import overlap
from runtime.data.similarity.texts import all_texts
from runtime.data.variety import variety
from runtime.steps.context import Context
from runtime.steps.transforms import rows_of

NGRAM = 13
"""Words in sequence that count as an overlap: the rule of Brown et al. 2020, appendix C."""


def survey(context: Context, step: Survey, folder: Path) -> tuple[str, dict[str, Any]]:
    """The digest of what was found, and that as facts: variety, near duplicates, and by evaluation the overlap."""
    rows = rows_of(context, step.rows)
    format = cast(Format, step.format)
    repeats = near_duplicates(rows, format, folder / "sample.parquet", context.engine)
    found = variety(rows, format)
    facts = {
        "variety": None if found is None else asdict(found),
        "spread": spread_of(rows) if step.made and can_embed() else None,
        "near_duplicates": {"rows": repeats.rows, "of": repeats.of, "examples": [asdict(e) for e in repeats.examples]},
        "overlap": {name: _overlap(context, rows, items) for name, items in step.against.items()},
    }
    return sha256(cast(Any, facts)), facts


def _overlap(context: Context, rows: Rows, items: Iterable[str]) -> dict[str, Any]:
    """With the items of one evaluation: rows that share words in sequence, and rows that are items themselves."""
    others = [rows_of(context, description) for description in items]
    found = overlap(rows, chain.from_iterable(map(all_texts, others)), NGRAM, context.engine)
    return {
        "rows": found.rows,
        "same": sum(_same(rows, each) for each in others),
        "too_short": found.too_short,
        "examples": [asdict(example) for example in found.examples],
    }


def _same(rows: Rows, others: Rows) -> int:
    """How many rows have a record that stands among the others as well."""
    ours, theirs = (np.unique(side.identity.view("S32")) for side in (rows, others))
    return int(np.isin(ours, theirs).sum())
