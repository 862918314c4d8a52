"""Reads a Llama-family model from a GGUF file: configuration, tokenizer, dequantised weights.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from compiler.program.config import DecoderConfig, Parameters
from runtime.errors import UserError
from runtime.weights.description import ModelDescription
from runtime.weights.layout import Tensor, stack, tensor_shapes
from runtime.weights.splitting import byte_level_tokenizer
from runtime.weights.tokenizer import ModelTokenizer

if TYPE_CHECKING:
    from gguf import GGUFReader

_CONTROL, _USER_DEFINED = 3, 4  # values of tokenizer.ggml.token_type

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def describe(path: Path) -> ModelDescription:
    """Configuration and tokenizer, without dequantising the weights.

    Raises:
        UserError: the `gguf` package is missing, the file is broken, or the model isn't one that the decoder serves.
    """
    reader = _open(path)
    return ModelDescription(_config(reader, path), _tokenizer(reader, path))


def read_parameters(path: Path, config: DecoderConfig) -> Parameters:
    """The dequantised weights: float32 NumPy arrays in the decoder's layout.

    Raises:
        UserError: as `describe`; also a tensor that the decoder has no place for, or lacks.
    """
    from gguf import dequantize

    tensors = {tensor.name: tensor for tensor in _open(path).tensors}
    wanted = {name: gguf_name(name) for name in tensor_shapes(config)}
    if different := set(wanted.values()) ^ tensors.keys():
        raise UserError(
            f"the tensors aren't those of a Llama-family decoder: {', '.join(sorted(different)[:5])}",
            "biases, rotary factors and experts aren't supported",
            str(path),
        )

    def tensor(name: str) -> Tensor:
        stored = tensors[wanted[name]]
        values = dequantize(stored.data, stored.tensor_type).astype(np.float32, copy=False)
        if name.endswith("q_proj.weight"):
            return _unpermuted(values, config.heads)
        if name.endswith("k_proj.weight"):
            return _unpermuted(values, config.key_value_heads)
        return values

    return stack(config, tensor)


def gguf_name(name: str) -> str:
    """A tensor's name in GGUF, from its name in transformers' `LlamaForCausalLM`."""
    stem = name.removesuffix(".weight")
    if not stem.startswith("model.layers."):
        return f"{_NAMES[stem]}.weight"
    layer, inside = stem.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{_NAMES[inside]}.weight"


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


def _config(reader: GGUFReader, path: Path) -> DecoderConfig:
    architecture = _field(reader, "general.architecture")
    if architecture != "llama":
        raise UserError(f"architecture '{architecture}' isn't supported", "use a model of the Llama family", str(path))
    if _field(reader, "llama.rope.scaling.type", "none") != "none":
        raise UserError("scaled rotary positions aren't supported", "use a model without them", str(path))
    heads = _field(reader, "llama.attention.head_count")
    hidden = _field(reader, "llama.embedding_length")
    return DecoderConfig(
        vocabulary=len(_field(reader, "tokenizer.ggml.tokens")),
        layers=_field(reader, "llama.block_count"),
        hidden=hidden,
        intermediate=_field(reader, "llama.feed_forward_length"),
        heads=heads,
        key_value_heads=_field(reader, "llama.attention.head_count_kv", heads),
        head_size=_field(reader, "llama.rope.dimension_count", hidden // heads),
        rope_theta=_field(reader, "llama.rope.freq_base", 10000.0),
        norm_epsilon=_shortest(_field(reader, "llama.attention.layer_norm_rms_epsilon")),
        tied_embeddings=all(tensor.name != "output.weight" for tensor in reader.tensors),
        context=_field(reader, "llama.context_length"),
    )


def _tokenizer(reader: GGUFReader, path: Path) -> ModelTokenizer:
    model = _field(reader, "tokenizer.ggml.model")
    if model != "gpt2":
        raise UserError(
            f"tokenizer model '{model}' isn't supported", "use a model with byte-level BPE (gpt2)", str(path)
        )
    tokens: list[str] = _field(reader, "tokenizer.ggml.tokens")
    kinds: list[int] = _field(reader, "tokenizer.ggml.token_type")
    bos = _field(reader, "tokenizer.ggml.bos_token_id", None)
    eos = _field(reader, "tokenizer.ggml.eos_token_id", None)
    end_of_turn = _field(reader, "tokenizer.ggml.eot_token_id", None)
    tokenizer = byte_level_tokenizer(
        tokens,
        merges=_field(reader, "tokenizer.ggml.merges"),
        splitting=_field(reader, "tokenizer.ggml.pre", "default"),
        special=[token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL],
        added=[token for token, kind in zip(tokens, kinds, strict=True) if kind == _USER_DEFINED],
        first=tokens[bos] if bos is not None and _field(reader, "tokenizer.ggml.add_bos_token", False) else None,
        place=str(path),
    )
    return ModelTokenizer(
        tokenizer=tokenizer,
        chat_template=_field(reader, "tokenizer.chat_template", None),
        bos=bos,
        eos=eos,
        pad=_field(reader, "tokenizer.ggml.padding_token_id", None),
        unknown=_field(reader, "tokenizer.ggml.unknown_token_id", None),
        stops=tuple(sorted({token for token in (eos, end_of_turn) if token is not None})),
    )


_REQUIRED = object()


def _field(reader: GGUFReader, name: str, default: object = _REQUIRED) -> Any:
    field = reader.get_field(name)
    if field is not None:
        return field.contents()
    if default is _REQUIRED:
        raise UserError(f"the file has no '{name}'", "use a complete GGUF file")
    return default


def _shortest(value: float) -> float:
    """The shortest decimal that is this float32: 1e-5, which the file holds as 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _unpermuted(rows: Tensor, heads: int) -> Tensor:
    """Query or key rows `[heads * head_size, inputs]` in halves again: GGUF keeps the rotary pairs side by side."""
    outputs, inputs = rows.shape
    pairs = rows.reshape(heads, outputs // heads // 2, 2, inputs)
    return cast(Tensor, pairs.swapaxes(1, 2).reshape(outputs, inputs))
