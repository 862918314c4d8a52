"""Byte-level BPE tokenizers from vocabulary, merges and the name of a splitting rule."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.pre_tokenizers import PreTokenizer

from runtime.errors import UserError

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)

_QWEN = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def _splitter(rule: str) -> PreTokenizer | None:
    """What cuts text into the pieces within which BPE merges, by llama.cpp's name for it (`tokenizer.ggml.pre`)."""
    match rule:
        case "gpt-2" | "olmo" | "jais":
            return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        case "smollm" | "starcoder" | "refact" | "command-r":
            return pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Digits(individual_digits=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
                ]
            )
        case "llama-bpe" | "llama3" | "llama-v3" | "dbrx":  # the last is OLMo 2's
            return _by_pattern(_LLAMA3)
        case "qwen2":
            return _by_pattern(_QWEN)
        case _:
            return None


def _by_pattern(pattern: str) -> PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def byte_level_tokenizer(
    tokens: Sequence[str],
    merges: Sequence[str],
    splitting: str,
    special: Sequence[str],
    added: Sequence[str],
    first: str | None,
    place: str,
) -> Tokenizer:
    """A byte-level BPE tokenizer (GPT-2's).

    Args:
        tokens: the vocabulary; a token's id is its index.
        merges: pairs, two tokens with a space between, best first.
        splitting: the rule's name, see `_splitter`.
        special: tokens recognised whole in text and left out when decoding without special tokens.
        added: tokens recognised whole in text that are text.
        first: the token put before every document, if any.
        place: the file, for errors.

    Raises:
        UserError: the splitting rule isn't known. Guessing one would give wrong tokens without a sign.
    """
    splitter = _splitter(splitting)
    if splitter is None:
        raise UserError(
            f"the tokenizer's splitting rule '{splitting}' isn't known",
            "use the model's Hugging Face folder, whose tokenizer.json carries the rule",
            place,
        )
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[_pair(merge) for merge in merges]))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    if splitting == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    add_whole(tokenizer, special, added, first)
    return tokenizer


def add_whole(tokenizer: Tokenizer, special: Sequence[str], added: Sequence[str], first: str | None) -> None:
    """Has a tokenizer find some tokens of its vocabulary whole, and put one before every document.

    Args:
        special: tokens recognised whole in text and left out when decoding without special tokens.
        added: tokens recognised whole in text that are text.
        first: the token put before every document, if any.
    """
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in added])
    if first is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", pair=f"{first} $A {first} $B", special_tokens=[(first, tokenizer.token_to_id(first))]
        )


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right
