"""What is known of a pretrained model before its weights are read."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.program.config import DecoderConfig
from runtime.errors import UserError
from runtime.weights.tokenizer import ModelTokenizer


@dataclass(frozen=True)
class ModelDescription:
    """A model's shape, and how it reads text."""

    config: DecoderConfig
    tokenizer: ModelTokenizer


def check_vocabulary(model: ModelDescription, place: str) -> None:
    """UserError where the model has no embedding for some token of its tokenizer; `place` is where it is declared."""
    most = max(model.tokenizer.tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    if most > model.config.vocabulary:
        raise UserError(
            f"the tokenizer has {most:,} tokens, and the model knows {model.config.vocabulary:,}",
            "name the tokenizer that the weights are for; a shape of your own takes `vocabulary:`",
            place,
        )
