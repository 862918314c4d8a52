"""Measures how varied the texts of a source are, in figures that show what generated text repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.data.fields import reader
from runtime.data.keys import key
from runtime.data.rows import Format, Rows
from runtime.data.similarity.words import Hashes, ngram_hashes, word_hashes, words

ROWS = 2_000
"""Rows that are looked at."""
WORDS = 100_000
"""Words in which n-grams are counted: the more words, the more of them repeat, so figures from fewer compare badly."""
WORDS_OF_ROW = 500
"""Words of one row among them, from its start."""
OPENING = 5
"""Words that make an opening."""
_BATCH = 64
_OPENING_CHARACTERS = 400

WRITTEN: Mapping[Format, str] = {
    "documents": "text",
    "chat": "assistant",
    "preference": "chosen",
    "prompts": "user",
}
"""The field of each format whose variety matters."""

_VARIETY = key(0, "variety", "", 0)


@dataclass(frozen=True)
class Variety:
    """What a sample of texts repeats.

    Attributes:
        rows: texts with a word in them that were looked at.
        words: words in which n-grams were counted.
        distinct: the share of different ones among all single words, pairs, and triples of words in sequence; 1 where
            nothing is said twice. "distinct-n" of Li et al., "A Diversity-Promoting Objective Function for Neural
            Conversation Models", 2016.
        mean_length: words of a text.
        deviation_of_length: the standard deviation, in words.
        opening: the first words with which most texts begin.
        opening_share: of the texts that begin so.
    """

    rows: int
    words: int
    distinct: tuple[float, float, float]
    mean_length: float
    deviation_of_length: float
    opening: str
    opening_share: float


def variety(rows: Rows, format: Format) -> Variety | None:
    """The variety of what is written in rows: documents, answers, or prompts; None where no word is.

    The sample follows from the rows alone, and hardly changes as rows are added.
    """
    lengths: list[int] = []
    openings: Counter[str] = Counter()
    sampled: list[NDArray[np.uint64]] = []
    for text, hashes in _texts(rows, format):
        lengths.append(len(hashes))
        openings[" ".join(words(text[:_OPENING_CHARACTERS])[:OPENING])] += 1
        sampled.append(hashes[:WORDS_OF_ROW].copy())
    if not lengths:
        return None
    counted = _first_words(sampled)
    opening, count = min(openings.items(), key=lambda item: (-item[1], item[0]))
    return Variety(
        rows=len(lengths),
        words=len(counted.values),
        distinct=(_distinct(counted, 1), _distinct(counted, 2), _distinct(counted, 3)),
        mean_length=float(np.mean(lengths)),
        deviation_of_length=float(np.std(lengths)),
        opening=opening,
        opening_share=count / len(lengths),
    )


def _texts(rows: Rows, format: Format) -> Iterator[tuple[str, NDArray[np.uint64]]]:
    """Texts that have a word, with the hashes of their words, uint64[m]."""
    read = reader(format, WRITTEN[format])
    for _, records in rows.sampled(ROWS, _VARIETY).batches(_BATCH):
        texts = [read(record) or "" for record in records]
        of_batch = word_hashes(texts)
        for text, first, last in zip(texts, of_batch.offsets, of_batch.offsets[1:], strict=False):
            if last > first:
                yield text, of_batch.values[first:last]


def _first_words(texts: list[NDArray[np.uint64]]) -> Hashes:
    """The texts up to the WORDS-th word. They stand in the order of hashes of what they are, so any are as good."""
    ends = np.minimum(np.cumsum([len(text) for text in texts]), WORDS)
    return Hashes(np.concatenate(texts)[:WORDS], np.concatenate([[0], ends]))


def _distinct(hashes: Hashes, length: int) -> float:
    runs = ngram_hashes(hashes, length).values
    return len(np.unique(runs)) / len(runs) if len(runs) else 1.0
