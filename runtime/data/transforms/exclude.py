"""The transform `exclude`: drops rows that overlap with an eval or a source, so that nothing measured is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from runtime.data.engine import Engine, engine_for
from runtime.data.rows import Rows
from runtime.data.similarity.embedding import embed, embed_rows
from runtime.data.similarity.nearest import nearest
from runtime.data.similarity.overlap import examples_of, ngrams_of, overlapping
from runtime.data.similarity.texts import all_texts, row_texts
from runtime.data.transforms.outcome import EXAMPLES, Example, Outcome, Tally
from runtime.errors import UserError


def exclude_rows(rows: Rows, against: Mapping[str, Rows], ngram: int, engine: Engine | None = None) -> Outcome:
    """The rows that share no run of `ngram` words with a text of an eval or a source; see `overlap` for what a run is.

    The texts of `against` are held in memory.

    Args:
        against: rows of any format, those of choice files among them, by the name that the spec gives them.
        engine: where the work is done; None is wherever it is done soonest.

    Raises:
        UserError: no row is left.
    """
    engine = engine or engine_for(int(rows.sizes.sum()))
    stays, dropped, notes = np.ones(len(rows), np.bool_), Tally(), []
    for name, others in against.items():
        ngrams = ngrams_of(all_texts(others), ngram)
        if ngrams.too_short:
            notes.append(
                f"{ngrams.too_short:,} of {len(ngrams.texts):,} texts of {name} have too few words to be looked for"
            )
        left = np.flatnonzero(stays)
        found = overlapping(rows.select(left), ngrams, engine)
        _drop(dropped, name, len(found), examples_of(rows.select(left), found))
        stays[left[list(found)]] = False
    _check_left(rows, stays, against)
    return Outcome(rows.select(stays), dropped, notes=tuple(notes))


def exclude_near_rows(rows: Rows, against: Mapping[str, Rows], threshold: Fraction) -> Outcome:
    """The rows whose meaning is not so near to that of any row of an eval or a source.

    Args:
        against: as for `exclude_rows`; their embeddings are held in memory.
        threshold: the cosine similarity of two embeddings from which a row is dropped.

    Raises:
        UserError: no row is left, or the model that embeds isn't installed.
    """
    stays, dropped = np.ones(len(rows), np.bool_), Tally()
    references = {name: (others, embed_rows(others)) for name, others in against.items()}
    for numbers, texts in row_texts(rows):
        embedding = embed(texts)
        for name, (others, reference) in references.items():
            similarity, which = nearest(embedding, reference)
            for place in np.flatnonzero((similarity >= float(threshold)) & stays[numbers]).tolist():
                detail = f"{similarity[place]:.3f} like {others.place(int(which[place]))}"
                dropped.add(_reason(name), rows.place(numbers[place]), detail)
                stays[numbers[place]] = False
    _check_left(rows, stays, against)
    return Outcome(rows.select(stays), dropped)


def _reason(name: str) -> str:
    return f"overlaps with {name}"


def _drop(dropped: Tally, name: str, count: int, examples: tuple[Example, ...]) -> None:
    if count:
        dropped.counts[_reason(name)] = count
        dropped.examples[_reason(name)] = list(examples[:EXAMPLES])


def _check_left(rows: Rows, stays: NDArray[np.bool_], against: Mapping[str, Rows]) -> None:
    if len(rows) and not stays.any():
        names = ", ".join(against)
        raise UserError(
            f"none of {len(rows):,} rows is left by exclude(overlap={names}): all overlap",
            "take rows that weren't made from it, or ask for a longer `ngram`",
        )
