"""Reads pretrained models, whatever they come in: a GGUF file or a Hugging Face folder."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from compiler.program.config import DecoderConfig, Parameters
from runtime.errors import UserError
from runtime.weights import gguf, huggingface, placed
from runtime.weights.description import ModelDescription
from runtime.weights.layout import stack
from runtime.weights.tensors import Tensors
from runtime.weights.tokenizer import ModelTokenizer


def describe(path: Path) -> ModelDescription:
    """Configuration and tokenizer, without reading the weights. Raises `UserError`."""
    return gguf.describe(path) if path.suffix == ".gguf" else huggingface.describe(path)


def describe_tokenizer(path: Path) -> ModelTokenizer:
    """The tokenizer of a model, or of a folder that has no model beside it. Raises `UserError`."""
    if path.suffix == ".gguf":
        return gguf.describe(path).tokenizer
    if path.is_file():
        raise UserError(
            "a tokenizer's file alone doesn't say which tokens begin and end a text",
            "name the folder, with tokenizer_config.json in it, or a GGUF file",
            str(path),
        )
    return huggingface.read_tokenizer(path)


def read_parameters(path: Path, config: DecoderConfig) -> Parameters:
    """The weights as float32 NumPy arrays, named and laid out as the decoder has them. Raises `UserError`."""
    with _opened(path, config) as tensors:
        return stack(config, tensors.whole)


def place_parameters(path: Path, config: DecoderConfig, abstract: Parameters) -> Parameters:
    """The weights as JAX arrays, each process reading what its own devices hold and never a whole model.

    Args:
        path: the file or folder.
        config: the model's shape.
        abstract: for each parameter a `jax.ShapeDtypeStruct` with its sharding.

    Raises:
        UserError: as `read_parameters`.
    """
    with _opened(path, config) as tensors:
        return placed.place(config, tensors, abstract)


def _opened(path: Path, config: DecoderConfig) -> AbstractContextManager[Tensors]:
    return gguf.opened(path, config) if path.suffix == ".gguf" else huggingface.opened(path, config)
