"""Words and n-grams: what counts as one, in any script, and that hashes tell them apart wherever they stand."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.similarity.words import ngram_hashes, word_hashes, words

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't PANIC—it’s well-known!", ["dont", "panic", "its", "well", "known"]),  # noqa: RUF001
        ("Straße, STRASSE", ["strasse", "strasse"]),
        ("École E\u0301cole", ["école", "école"]),
        ("co\u00adoperate", ["cooperate"]),
        ("今日はtest 3回", ["今", "日", "は", "test", "3", "回"]),
        ("สวัสดี", ["ส", "ว", "ั", "ส", "ด", "ี"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("x_1 a.b\x00c\n\nd", ["x", "1", "a", "b", "c", "d"]),
        ("… — !!! 🙂", []),
        ("", []),
        ("'", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.lists(ANY_TEXT, max_size=6))
@settings(deadline=None)
def test_hashes_are_those_of_the_words_of_each_text(texts: list[str]) -> None:
    hashes = word_hashes(texts)
    spelled = [words(text) for text in texts]
    assert hashes.counts.tolist() == list(map(len, spelled))
    by_word: dict[str, int] = {}
    for word, value in zip([word for text in spelled for word in text], hashes.values.tolist(), strict=True):
        assert by_word.setdefault(word, value) == value
    assert len(set(by_word.values())) == len(by_word)


@given(ANY_TEXT)
@settings(deadline=None)
def test_forms_and_case_change_nothing(text: str) -> None:
    assert words(unicodedata.normalize("NFD", text)) == words(unicodedata.normalize("NFC", text))
    assert words(text.casefold()) == words(text)


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=9), max_size=5), st.integers(1, 6), st.booleans())
@settings(deadline=None)
def test_ngrams_are_the_runs_of_each_text(texts: list[list[str]], length: int, short: bool) -> None:
    hashes = ngram_hashes(word_hashes([" ".join(text) for text in texts]), length, short)
    expected: list[list[tuple[str, ...]]] = []
    for text in texts:
        runs = [tuple(text[start : start + length]) for start in range(len(text) - length + 1)]
        expected.append(runs or ([tuple(text)] if short and text else []))
    assert hashes.counts.tolist() == list(map(len, expected))
    flat = [run for runs in expected for run in runs]
    assert (
        len(set(zip(flat, hashes.values.tolist(), strict=True))) == len(set(flat)) == len(set(hashes.values.tolist()))
    )


def test_hashes_are_the_same_on_every_machine() -> None:
    assert word_hashes(["honest", "Honest?"]).values.tolist() == [HONEST, HONEST]
    assert ngram_hashes(word_hashes(["an honest answer"]), 3).values.tolist() == [ANSWER]


HONEST, ANSWER = 13411525132173322338, 14061221508182497176


def test_a_long_word_and_a_long_text() -> None:
    hashes = word_hashes(["a" * 3_000_000, "b " * 1_000_000, "a" * 2_999_999])
    assert hashes.counts.tolist() == [1, 1_000_000, 1]
    assert len(np.unique(hashes.values)) == 3
