"""What is known of a pretrained model before its weights are read."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.program.config import DecoderConfig
from runtime.weights.tokenizer import ModelTokenizer


@dataclass(frozen=True)
class ModelDescription:
    """A model's shape, and how it reads text."""

    config: DecoderConfig
    tokenizer: ModelTokenizer
