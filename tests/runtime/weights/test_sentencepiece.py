"""SentencePiece's tokenizers, against what sentencepiece itself gave (`make_sentencepiece_reference.py`)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tokenizers import Tokenizer

from runtime.weights.sentencepiece import sentencepiece_tokenizer
from tests.runtime.weights.make_sentencepiece_reference import FILE, TEXTS

REFERENCE = json.loads(FILE.read_text(encoding="utf-8"))


def _tokenizer(kind: str, first: str | None = None) -> Tokenizer:
    made: dict[str, Any] = REFERENCE[kind]
    return sentencepiece_tokenizer(
        made["pieces"], made["scores"], special=["<s>", "</s>"], added=[], unknown="<unk>", first=first,
        space_before=kind == "space_before",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["space_before", "no_space_before"])
def test_ids_are_those_of_sentencepiece(kind: str) -> None:
    tokenizer = _tokenizer(kind)
    assert [tokenizer.encode(text).ids for text in TEXTS] == REFERENCE[kind]["ids"]


@pytest.mark.parametrize("kind", ["space_before", "no_space_before"])
def test_texts_come_back(kind: str) -> None:
    tokenizer = _tokenizer(kind)
    assert [tokenizer.decode(ids) for ids in REFERENCE[kind]["ids"]] == REFERENCE[kind]["decoded"] == TEXTS


def test_special_pieces_are_found_whole_and_the_first_is_put_before() -> None:
    tokens = _tokenizer("space_before", first="<s>").encode("a</s>").tokens
    assert (tokens[0], tokens[-1]) == ("<s>", "</s>")
