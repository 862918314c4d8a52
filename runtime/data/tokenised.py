"""Records that were tokenized before: their tokens, and which of them are trained on."""

from __future__ import annotations

from typing import Any

from runtime.data.broken import BrokenError

_MASKS = ("loss_mask", "completion_mask", "assistant_masks")
"""1 for a token that is trained on, as frameworks call it."""
_NOT_TRAINED = -100
"""The label of a token without loss, as in PyTorch's cross entropy."""
_LARGEST = 2**31 - 1

Json = dict[str, Any]


def is_tokenised(record: Json) -> bool:
    return record.get("input_ids") is not None


def tokenised(record: Json) -> tuple[Json, tuple[str, ...]]:
    """The record with `tokens` (ids) and `trained` (0 or 1 for each) in place of its columns; what is unusual about it.

    What is trained on is said by `labels`, which repeat the tokens or are -100, or by a mask, else it is all. Tokens
    that `attention_mask` leaves out are padding, and go. Raises BrokenError.
    """
    tokens = _numbers(record, "input_ids", 0, _LARGEST)
    trained, unusual = [1] * len(tokens), ()
    mask = next((name for name in _MASKS if record.get(name) is not None), None)
    if mask is not None:
        trained = _numbers(record, mask, 0, 1)
    elif record.get("labels") is not None:
        labels = _numbers(record, "labels", _NOT_TRAINED, _LARGEST)
        trained = [int(label != _NOT_TRAINED) for label in labels]
        if any(label not in (_NOT_TRAINED, token) for label, token in zip(labels, tokens, strict=False)):
            raise BrokenError("its labels are other tokens than its input_ids: they are not to be shifted")
    else:
        unusual = ("pre-tokenised records without labels or mask, all of which is trained on",)
    real = _numbers(record, "attention_mask", 0, 1) if record.get("attention_mask") is not None else [1] * len(tokens)
    if not len(tokens) == len(trained) == len(real):
        raise BrokenError(f"its columns of tokens have {len(tokens)}, {len(trained)} and {len(real)} entries")
    if 0 in real:
        tokens = [token for token, is_real in zip(tokens, real, strict=True) if is_real]
        trained = [flag for flag, is_real in zip(trained, real, strict=True) if is_real]
    if not tokens:
        raise BrokenError("it has no tokens")
    used = ("input_ids", "labels", "attention_mask", *_MASKS)
    kept = {name: value for name, value in record.items() if name not in used}
    return {"tokens": tokens, "trained": trained, **kept}, unusual


def _numbers(record: Json, column: str, low: int, high: int) -> list[int]:
    values = record[column]
    if not isinstance(values, list) or not all(type(value) is int and low <= value <= high for value in values):
        raise BrokenError(f"its {column} are not a list of whole numbers from {low} to {high}")
    return values
