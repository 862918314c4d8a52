"""SentencePiece's BPE tokenizers, from pieces and scores: those of Llama 2, Mistral and Gemma."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, normalizers

from runtime.weights.splitting import add_whole

_SPACE = "▁"  # LOWER ONE EIGHTH BLOCK, which stands for a space


def sentencepiece_tokenizer(
    pieces: Sequence[str],
    scores: Sequence[float],
    special: Sequence[str],
    added: Sequence[str],
    unknown: str | None,
    first: str | None,
    *,
    space_before: bool,
) -> Tokenizer:
    """A BPE tokenizer that merges what has the highest score, as SentencePiece does (arXiv:1808.06226).

    Args:
        pieces: the vocabulary; a piece's id is its index. Bytes stand as `<0x0A>`.
        scores: of each piece; a merge into a piece comes before those into pieces of lower scores.
        special: pieces recognised whole in text and left out when decoding without special tokens.
        added: pieces recognised whole in text that are text.
        unknown: the piece for what no other stands for.
        first: the piece put before every document, if any.
        space_before: a space is put before the text and taken away again in decoding.
    """
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    whole = {*special, *added, *([] if unknown is None else [unknown])}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(vocabulary, scores, whole),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    replace = normalizers.Replace(" ", _SPACE)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), replace]) if space_before else replace
    steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if space_before else steps)
    add_whole(tokenizer, special, added, first)
    return tokenizer


def _merges(vocabulary: dict[str, int], scores: Sequence[float], whole: set[str]) -> list[tuple[str, str]]:
    """All pairs of pieces that make a piece, those of the highest score first, and of one piece by their ids."""
    found = [
        (-scores[index], index, vocabulary[left], vocabulary[right], left, right)
        for piece, index in vocabulary.items()
        if piece not in whole
        for cut in range(1, len(piece))
        if (left := piece[:cut]) in vocabulary and (right := piece[cut:]) in vocabulary
    ]
    return [(left, right) for *_, left, right in sorted(found)]
