"""Words of texts and their n-grams as 64-bit hashes, computed over all characters of a batch at once.

Texts are compared with case folded, in Unicode's normal form NFC. A word is a run of letters, marks and digits.
Apostrophes and invisible format characters (soft hyphens, joiners) are passed over, so `don't` is one word; every other
character separates. In scripts that are written without blanks (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan)
each character is a word, so an n-gram is n characters there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from runtime.data.keys import key, mix

_SEPARATOR, _LETTER, _ALONE, _PASSED_OVER = range(4)
_CODE_POINTS = 0x110000
_APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}"
_WITHOUT_BLANKS = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3040, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # ideographs
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_LETTERS_BASE = np.uint64(key(0, "letters of a word", "", 0) | 1)
_WORDS_BASE = key(0, "words of an n-gram", "", 0) | 1


@dataclass(frozen=True)
class Hashes:
    """Hashes of several texts, one after the other: text i has `values[offsets[i]:offsets[i + 1]]`.

    Attributes:
        values: uint64[m].
        offsets: int64[n + 1], rising.
    """

    values: NDArray[np.uint64]
    offsets: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64[n]."""
        return np.diff(self.offsets)


def word_hashes(texts: Sequence[str]) -> Hashes:
    """The hash of each word of each text. Equal words have equal hashes on every machine."""
    codes, first, last, offsets = _cut(texts)
    # A word's hash is its value as a polynomial in a base modulo 2**64, taken from running sums over the whole batch.
    powers, inverses = _powers(1 << max(len(codes) - 1, 0).bit_length())
    terms = _character_values().take(codes)
    terms *= powers[: len(codes)]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms)])
    return Hashes(mix((sums[last] - sums[first]) * inverses[first]), offsets)


def words(text: str) -> list[str]:
    """The words of one text, spelled as they are compared."""
    codes, first, last, _ = _cut([text])
    return [codes[a:b].astype("<u4").tobytes().decode("utf-32-le") for a, b in zip(first, last, strict=True)]


def ngram_hashes(hashes: Hashes, length: int, short: bool = False) -> Hashes:
    """The hash of every run of `length` words of each text.

    Args:
        short: a text of fewer words, but at least one, is a single shorter run.
    """
    bases = np.array([pow(_WORDS_BASE, place, 2**64) for place in range(length)], np.uint64)
    values, counts, ends = hashes.values, hashes.counts, hashes.offsets[1:]
    runs = np.zeros(max(len(values) - length + 1, 0), np.uint64)
    is_whole = np.ones(len(values), np.bool_)  # where a run begins that ends in the same text
    for place in range(length):
        runs += values[place : place + len(runs)] * bases[place]
    for place in range(1, length):
        is_whole[ends[ends >= place] - place] = False
    runs = runs[is_whole[: len(runs)]]
    is_short = (counts > 0) & (counts < length) & short
    offsets = _offsets(np.maximum(counts - length + 1, is_short))
    if not is_short.any():
        return Hashes(mix(runs), offsets)
    shorter = np.zeros(is_short.sum(), np.uint64)
    for place in range(length - 1):
        there = counts[is_short] > place
        shorter[there] += values[hashes.offsets[:-1][is_short][there] + place] * bases[place]
    grams = np.empty(offsets[-1], np.uint64)
    is_run = np.ones(len(grams), np.bool_)
    is_run[offsets[:-1][is_short]] = False
    grams[is_run], grams[~is_run] = runs, shorter
    return Hashes(mix(grams), offsets)


def _cut(texts: Sequence[str]) -> tuple[NDArray[np.integer], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Code points of all texts, first and last (exclusive) of each word, and which words are whose, as offsets."""
    normal = [_normal(text) for text in texts]
    joined = "\n".join(normal)
    if joined.isascii():
        codes = np.frombuffer(joined.encode(), np.uint8)
    else:
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4")
    ends = np.cumsum([len(text) + 1 for text in normal], dtype=np.int64) - 1
    kinds = _kinds().take(codes)
    passed_over = kinds == _PASSED_OVER
    if passed_over.any():
        ends -= np.concatenate([[0], np.cumsum(passed_over)])[ends]
        codes, kinds = codes[~passed_over], kinds[~passed_over]
    is_word = np.zeros(len(codes) + 2, np.bool_)  # with a separator before and after
    is_word[1:-1] = kinds == _LETTER
    begins = is_word[1:] & ~is_word[:-1]
    stops = is_word[:-1] & ~is_word[1:]
    alone = kinds == _ALONE
    if alone.any():
        begins[:-1] |= alone
        stops[1:] |= alone
    first, last = np.flatnonzero(begins), np.flatnonzero(stops)
    return codes, first, last, np.concatenate([[0], np.searchsorted(first, ends)])


def _normal(text: str) -> str:
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", text.casefold())


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


@cache
def _kinds() -> NDArray[np.uint8]:
    """What each code point is, uint8[_CODE_POINTS]."""
    kinds = np.full(_CODE_POINTS, _SEPARATOR, np.uint8)
    for code in range(_CODE_POINTS):
        category = unicodedata.category(chr(code))
        if category[0] in "LMN":
            kinds[code] = _LETTER
        elif category == "Cf":
            kinds[code] = _PASSED_OVER
    for low, high in _WITHOUT_BLANKS:
        stretch = kinds[low : high + 1]
        stretch[stretch == _LETTER] = _ALONE
    kinds[list(map(ord, _APOSTROPHES))] = _PASSED_OVER
    return kinds


@cache
def _character_values() -> NDArray[np.uint64]:
    return mix(np.arange(1, _CODE_POINTS + 1, dtype=np.uint64) * _LETTERS_BASE)


@lru_cache(maxsize=2)
def _powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The powers 0 to `count` of the base of letters modulo 2**64, and their inverses."""
    steps = np.full(count + 1, _LETTERS_BASE)
    steps[0] = 1
    back = np.full(count + 1, pow(int(_LETTERS_BASE), -1, 2**64), np.uint64)
    back[0] = 1
    return np.multiply.accumulate(steps), np.multiply.accumulate(back)
