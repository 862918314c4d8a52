"""Reads pretrained models, whatever they come in: a GGUF file or a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from compiler.program.config import DecoderConfig, Parameters
from runtime.weights import gguf, huggingface
from runtime.weights.description import ModelDescription


def describe(path: Path) -> ModelDescription:
    """Configuration and tokenizer, without reading the weights. Raises `UserError`."""
    return gguf.describe(path) if path.suffix == ".gguf" else huggingface.describe(path)


def read_parameters(path: Path, config: DecoderConfig) -> Parameters:
    """The weights as float32 NumPy arrays, named and laid out as the decoder has them. Raises `UserError`."""
    return gguf.read_parameters(path, config) if path.suffix == ".gguf" else huggingface.read_parameters(path, config)
