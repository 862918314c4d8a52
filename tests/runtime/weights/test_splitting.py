"""The rules that cut text before BPE merges."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from runtime.errors import UserError
from runtime.weights.splitting import byte_level_tokenizer

MERGES = ["1 2", "12 3", "123 4", "Ġ a", "Ċ Ċ", "' S"]


def _tokenizer(splitting: str, first: str | None = None) -> Tokenizer:
    tokens = ["<s>", "<extra>", *sorted(ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in MERGES)]
    return byte_level_tokenizer(tokens, MERGES, splitting, special=["<s>"], added=["<extra>"], first=first, place="f")


@pytest.mark.parametrize(
    ("splitting", "expected"),
    [
        ("gpt-2", ["1234", "Ġa", "'", "S", "Ċ", "Ċ", "b"]),  # whitespace leaves its last character to the next word
        ("smollm", ["1", "2", "3", "4", "Ġa", "'", "S", "Ċ", "Ċ", "b"]),  # digits one by one
        ("llama-bpe", ["123", "4", "Ġa", "'S", "ĊĊ", "b"]),  # digits by threes, line ends together
        ("dbrx", ["123", "4", "Ġa", "'S", "ĊĊ", "b"]),
        ("qwen2", ["1", "2", "3", "4", "Ġa", "'S", "ĊĊ", "b"]),  # digits one by one, line ends together
    ],
)
def test_each_rule_cuts_in_its_own_way(splitting: str, expected: list[str]) -> None:
    assert _tokenizer(splitting).encode("1234 a'S\n\nb").tokens == expected


def test_special_tokens_are_left_out_when_decoding_and_added_ones_are_text() -> None:
    tokenizer = _tokenizer("gpt-2")
    ids = tokenizer.encode("<s>a<extra>").ids
    assert ids[0] == 0
    assert tokenizer.decode(ids) == "a<extra>"


def test_the_first_token_is_put_before_a_document() -> None:
    assert _tokenizer("gpt-2", first="<s>").encode("a").tokens == ["<s>", "a"]
    assert _tokenizer("gpt-2", first="<s>").encode("a", add_special_tokens=False).tokens == ["a"]


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(UserError, match="splitting rule 'default' isn't known"):
        _tokenizer("default")
