"""Finds rows that share words in sequence with texts that they may not overlap with: those of an eval, or of a source.

The rule of GPT-3 (Brown et al., "Language Models are Few-Shot Learners", 2020, appendix C): an overlap is 13 words in a
row, case and punctuation aside. Of a shorter text all words must be there in sequence, if they are at least SHORTEST;
so few are the least there too. A text of fewer would be met anywhere by chance, so it isn't looked for, and is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from runtime.data.engine import Engine, engine_for
from runtime.data.rows import Rows
from runtime.data.similarity.texts import PIECE, separate_texts
from runtime.data.similarity.words import ngram_hashes, word_hashes, words
from runtime.data.transforms.outcome import EXAMPLES, Example

SHORTEST = 8
"""Words that a text must have to be looked for as a whole, where an n-gram is longer."""
_BATCH = 256
"""Texts that are hashed at a time."""


_Found = tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int32]]
"""Hashes of runs, which text each is in, and at which word."""


@dataclass(frozen=True)
class Ngrams:
    """What is looked for: runs of words of some texts, by length.

    Attributes:
        texts: all texts.
        runs: of each length the runs' hashes, in rising order.
        too_short: how many of the texts have too few words.
    """

    texts: tuple[str, ...]
    runs: dict[int, _Runs]
    too_short: int


@dataclass(frozen=True)
class _Runs:
    """Runs of one length. `hashes` uint64[m] rise; `texts` and `places` int32[m] say where each is.

    `is_there` bool[2^k] says of the upper k bits of a hash whether any begins so: most of what isn't there is known by
    one look.
    """

    hashes: NDArray[np.uint64]
    texts: NDArray[np.int32]
    places: NDArray[np.int32]
    is_there: NDArray[np.bool_]
    shift: np.uint64


@dataclass(frozen=True)
class Overlap:
    """How much of some rows shares an n-gram with an eval.

    Attributes:
        rows: how many do.
        share: of all rows, 0 where there is none.
        examples: the first of them, with the words.
        too_short: how many texts of the eval have too few words to be looked for.
    """

    rows: int
    share: float
    examples: tuple[Example, ...]
    too_short: int


def ngrams_of(texts: Iterable[str], length: int) -> Ngrams:
    """The runs of `length` words of all texts, held in memory; of a shorter one the whole, see above."""
    texts = tuple(texts)
    parts: dict[int, list[_Found]] = {}
    too_short = 0
    for start in range(0, len(texts), _BATCH):
        hashes = word_hashes(texts[start : start + _BATCH])
        counts = hashes.counts
        too_short += int((counts < min(length, SHORTEST)).sum())
        for size in {length, *counts[(counts >= SHORTEST) & (counts < length)].tolist()}:
            runs = ngram_hashes(hashes, size)
            is_wanted = np.repeat(counts >= length if size == length else counts == size, runs.counts)
            whose = np.repeat(np.arange(len(counts)), runs.counts)
            places = np.arange(len(whose)) - runs.offsets[whose]
            found = (whose[is_wanted] + start).astype(np.int32), places[is_wanted].astype(np.int32)
            parts.setdefault(size, []).append((runs.values[is_wanted], *found))
    return Ngrams(texts, {size: _sorted(found) for size, found in sorted(parts.items())}, too_short)


def overlapping(rows: Rows, ngrams: Ngrams, engine: Engine) -> dict[int, str]:
    """The rows that share a run of words with any of the texts: number, in rising order, and the first such run.

    Each text of a row is looked at by itself: no run goes from one message to the next. A run is found by its hash and
    then compared word by word.
    """
    found: dict[int, str] = {}
    for part in engine.map(partial(_overlapping, rows, ngrams), rows.pieces(PIECE)):
        found.update(part)
    return found


def overlap(rows: Rows, texts: Iterable[str], length: int, engine: Engine | None = None) -> Overlap:
    """How much of the rows overlaps with the texts; every row is looked at."""
    ngrams = ngrams_of(texts, length)
    found = overlapping(rows, ngrams, engine or engine_for(int(rows.sizes.sum())))
    return Overlap(len(found), len(found) / max(len(rows), 1), examples_of(rows, found), ngrams.too_short)


def examples_of(rows: Rows, found: dict[int, str]) -> tuple[Example, ...]:
    """The first rows of what `overlapping` gave, each with the words that it shares."""
    return tuple(Example(rows.place(number), f'"{run}"') for number, run in list(found.items())[:EXAMPLES])


def _overlapping(rows: Rows, ngrams: Ngrams, piece: tuple[int, int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for numbers, texts in separate_texts(rows, *piece):
        hashes = word_hashes(texts)
        candidates: dict[int, list[tuple[int, int, int]]] = {}
        for length, known in ngrams.runs.items():
            runs = ngram_hashes(hashes, length)
            places = np.flatnonzero(known.is_there[runs.values >> known.shift])
            places = places[_are_among(runs.values[places], known.hashes)]
            whose = np.searchsorted(runs.offsets, places, side="right") - 1
            for text, place in zip(whose.tolist(), places.tolist(), strict=True):
                candidates.setdefault(text, []).append(
                    (place - int(runs.offsets[text]), length, int(runs.values[place]))
                )
        for text in sorted(candidates):
            if numbers[text] not in found:
                spelled = words(texts[text])
                for place, length, value in sorted(candidates[text]):
                    run = spelled[place : place + length]
                    if any(run == other for other in _spelled(ngrams, length, value)):
                        found[numbers[text]] = " ".join(run)
                        break
    return found


def _are_among(values: NDArray[np.uint64], hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """bool[n], which of the values are among hashes in rising order."""
    return hashes[np.minimum(np.searchsorted(hashes, values), len(hashes) - 1)] == values


def _spelled(ngrams: Ngrams, length: int, value: int) -> Iterator[list[str]]:
    """The runs with a hash, in words: one, but for collisions and what is repeated."""
    runs = ngrams.runs[length]
    first, last = (int(np.searchsorted(runs.hashes, np.uint64(value), side)) for side in ("left", "right"))
    for number in range(first, last):
        place = runs.places[number]
        yield words(ngrams.texts[runs.texts[number]])[place : place + length]


def _sorted(parts: list[_Found]) -> _Runs:
    hashes, texts, places = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(hashes, kind="stable")
    bits = min(max(len(hashes).bit_length() + 4, 16), 26)
    shift = np.uint64(64 - bits)
    is_there = np.zeros(1 << bits, np.bool_)
    is_there[hashes >> shift] = True
    return _Runs(hashes[order], texts[order], places[order], is_there, shift)
