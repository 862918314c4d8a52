"""Reads a model from a GGUF file: configuration, tokenizer, dequantised weights.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.program.config import DecoderConfig
from runtime.errors import UserError
from runtime.weights.description import ModelDescription
from runtime.weights.gguf_settings import ROPE_FACTORS, field, read_config
from runtime.weights.layout import Tensor, names, table, tensor_shapes
from runtime.weights.sentencepiece import sentencepiece_tokenizer
from runtime.weights.splitting import byte_level_tokenizer
from runtime.weights.tensors import Tensors
from runtime.weights.tokenizer import ModelTokenizer

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor

_CONTROL, _USER_DEFINED = 3, 4  # values of tokenizer.ggml.token_type


def describe(path: Path) -> ModelDescription:
    """Configuration and tokenizer, without dequantising the weights.

    Raises:
        UserError: the `gguf` package is missing, the file is broken, or the model isn't one that the decoder serves.
    """
    reader = _open(path)
    return ModelDescription(read_config(reader, path), _tokenizer(reader, path))


@contextmanager
def opened(path: Path, config: DecoderConfig) -> Iterator[Tensors]:
    """The tensors of a file, dequantised as they are read.

    Raises:
        UserError: as `describe`; also a tensor that the decoder has no place for, or lacks.
    """
    reader = _open(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors if tensor.name != ROPE_FACTORS}
    architecture = field(reader, "general.architecture")
    wanted = {name: gguf_name(name, architecture, config.layers) for name in tensor_shapes(config)}
    if different := set(wanted.values()) ^ tensors.keys():
        raise UserError(
            f"the tensors aren't those of a {config.family} decoder: {', '.join(sorted(different)[:5])}",
            "experts and other additions aren't supported",
            str(path),
        )
    yield _Quantised({name: tensors[stored] for name, stored in wanted.items()}, config, architecture)


class _Quantised(Tensors):
    def __init__(self, tensors: dict[str, ReaderTensor], config: DecoderConfig, architecture: str) -> None:
        self._tensors = tensors
        self._heads = {"q_proj": config.heads, "k_proj": config.key_value_heads} if architecture == "llama" else {}
        self._offsets = {name: entry.offset for entry in table(config) for name in names(config, entry)}

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(int(size) for size in reversed(self._tensors[name].shape))

    def part(self, name: str, index: tuple[slice, ...]) -> Tensor:
        from gguf import dequantize

        stored = self._tensors[name]
        heads = self._heads.get(name.split(".")[-2])
        rows = index[0] if heads is None else _order(self.shape(name)[0], heads)[index[0]]
        values = dequantize(stored.data[rows], stored.tensor_type).astype(np.float32, copy=False)
        # Norms stand there with Gemma's one added, which the published tensor doesn't have.
        return values[(slice(None), *index[1:])] - np.float32(self._offsets[name])


def gguf_name(name: str, architecture: str, layers: int) -> str:
    """A tensor's name in GGUF, from its name in transformers."""
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(arch for arch in MODEL_ARCH if MODEL_ARCH_NAMES[arch] == architecture)
    stem, _, suffix = name.rpartition(".")
    mapped = get_tensor_name_map(arch, layers).get_name(stem)
    assert mapped is not None, name
    return f"{mapped}.{suffix}"


def _open(path: Path) -> GGUFReader:
    try:
        from gguf import GGUFReader
    except ModuleNotFoundError as error:
        raise UserError(
            "reading GGUF files needs the package 'gguf'", "pip install 'mixc[local]'", str(path)
        ) from error
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, OSError) as error:
        raise UserError(f"can't be read as a GGUF file: {error}", "fetch the file again", str(path)) from error


def _tokenizer(reader: GGUFReader, path: Path) -> ModelTokenizer:
    tokens: list[str] = field(reader, "tokenizer.ggml.tokens")
    kinds: list[int] = field(reader, "tokenizer.ggml.token_type")
    bos = field(reader, "tokenizer.ggml.bos_token_id", None)
    eos = field(reader, "tokenizer.ggml.eos_token_id", None)
    end_of_turn = field(reader, "tokenizer.ggml.eot_token_id", None)
    unknown = field(reader, "tokenizer.ggml.unknown_token_id", None)
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    added = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _USER_DEFINED]
    match field(reader, "tokenizer.ggml.model"):
        case "gpt2":
            tokenizer = byte_level_tokenizer(
                tokens,
                merges=field(reader, "tokenizer.ggml.merges"),
                splitting=field(reader, "tokenizer.ggml.pre", "default"),
                special=special,
                added=added,
                first=tokens[bos] if bos is not None and field(reader, "tokenizer.ggml.add_bos_token", False) else None,
                place=str(path),
            )
        case "llama":
            tokenizer = sentencepiece_tokenizer(
                tokens,
                field(reader, "tokenizer.ggml.scores"),
                special=special,
                added=added,
                unknown=None if unknown is None else tokens[unknown],
                first=tokens[bos] if bos is not None and field(reader, "tokenizer.ggml.add_bos_token", True) else None,
                space_before=field(reader, "tokenizer.ggml.add_space_prefix", True),
            )
        case other:
            raise UserError(
                f"tokenizer model '{other}' isn't supported",
                "use a model with byte-level BPE (gpt2) or SentencePiece's (llama)",
                str(path),
            )
    return ModelTokenizer(
        tokenizer=tokenizer,
        chat_template=field(reader, "tokenizer.chat_template", None),
        bos=bos,
        eos=eos,
        pad=field(reader, "tokenizer.ggml.padding_token_id", None),
        unknown=unknown,
        stops=tuple(sorted({token for token in (eos, end_of_turn) if token is not None})),
    )


def _order(rows: int, heads: int) -> np.ndarray[Any, Any]:
    """Where the query or key rows of the published tensor stand: GGUF keeps the two of a rotary pair side by side."""
    return np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(rows)
