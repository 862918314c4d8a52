"""From a published model's tensors, one per layer and matrix, to the decoder's stacked parameters, and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from compiler.program.config import DecoderConfig, Parameters
from compiler.program.groups import tree_of
from runtime.errors import UserError

Tensor: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"


@dataclass(frozen=True)
class Entry:
    """Where one parameter of the decoder comes from."""

    path: tuple[str, ...]
    """Its place in `Parameters`: `("layers", "attention", "query", "weight")`."""
    tensor: str
    """The published tensor's name; of a parameter of the layers, with `{layer}` for the layer's number."""
    shape: tuple[int, ...]
    """The published tensor's."""
    transposed: bool = False
    """A matrix of the layers: published as `[outputs, inputs]`, and the decoder multiplies from the left."""
    offset: float = 0.0
    """What the parameter is more than the published tensor."""

    @property
    def stacked(self) -> bool:
        """Whether the parameter holds a tensor of every layer, on axis 0."""
        return self.path[0] == "layers"

    def parameter(self, tensor: Tensor) -> Tensor:
        """The parameter, or one layer's part of it, from the published tensor: a view where nothing is added."""
        turned = tensor.T if self.transposed else tensor
        return turned + np.float32(self.offset) if self.offset else turned

    def published(self, part: Tensor) -> Tensor:
        """The inverse of `parameter`, contiguous."""
        lowered = part - np.float32(self.offset) if self.offset else part
        return np.ascontiguousarray(lowered.T if self.transposed else lowered)


def table(config: DecoderConfig) -> tuple[Entry, ...]:
    """All parameters, with names and shapes as transformers' `ForCausalLM` of the family has them."""
    hidden, vocabulary = config.hidden, config.vocabulary
    offset = 1.0 if config.family in ("gemma2", "gemma3") else 0.0  # Gemma's norms multiply by one plus their weight
    output = () if config.tied_embeddings else (Entry(("output",), "lm_head.weight", (vocabulary, hidden)),)
    return (
        Entry(("embedding",), "model.embed_tokens.weight", (vocabulary, hidden)),
        *(_norm(path, name, size, offset) for path, name, size in _layer_norms(config)),
        *(entry for path, name, inputs, outputs, bias in _matrices(config)
          for entry in _linear(path, name, inputs, outputs, bias)),
        Entry(("norm", "scale"), "model.norm.weight", (hidden,), offset=offset),
        *output,
    )  # fmt: skip


def tensor_shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published model's tensors."""
    return {name: entry.shape for entry in table(config) for name in names(config, entry)}


def stack(config: DecoderConfig, tensor: Callable[[str], Tensor]) -> Parameters:
    """The decoder's parameters.

    Args:
        config: the model's shape.
        tensor: gives the float32 tensor of a name out of `tensor_shapes`; matrices are `[outputs, inputs]`.

    Returns:
        Float32 NumPy arrays; matrices are `[layers, inputs, outputs]`, as the decoder multiplies from the left.

    Raises:
        UserError: a tensor has another shape than the configuration says.
    """
    return tree_of((entry.path, _read(config, entry, tensor)) for entry in table(config))


def unstack(config: DecoderConfig, parameters: Parameters) -> Iterator[tuple[str, Tensor]]:
    """The inverse of `stack`: names and contiguous float32 NumPy arrays; the parameters may be JAX's."""
    for entry in table(config):
        whole = np.asarray(functools.reduce(dict.__getitem__, entry.path, parameters))
        for number, name in enumerate(names(config, entry)):
            yield name, entry.published(whole[number] if entry.stacked else whole)


def check_shape(entry: Entry, name: str, found: tuple[int, ...]) -> None:
    """Raises UserError where the tensor of that name has another shape than the configuration says."""
    if found != entry.shape:
        raise UserError(
            f"the tensor '{name}' is {found} where the configuration says {entry.shape}",
            "use weights and a configuration of the same model",
        )


def _read(config: DecoderConfig, entry: Entry, tensor: Callable[[str], Tensor]) -> Tensor:
    def parameter(name: str) -> Tensor:
        found = tensor(name)
        check_shape(entry, name, found.shape)
        return entry.parameter(found)

    if not entry.stacked:
        return parameter(entry.tensor)
    shape = entry.shape[::-1] if entry.transposed else entry.shape
    whole: Tensor = np.empty((config.layers, *shape), dtype=np.float32)
    for layer, name in enumerate(names(config, entry)):
        whole[layer] = parameter(name)
    return whole


def names(config: DecoderConfig, entry: Entry) -> list[str]:
    """The published tensors that a parameter is made of: one of every layer, or one."""
    return [entry.tensor.format(layer=layer) for layer in range(config.layers)] if entry.stacked else [entry.tensor]


def _layer_norms(config: DecoderConfig) -> list[tuple[str, str, int]]:
    """A layer's norms: place in the decoder, published name, size.

    `post_attention_layernorm` stands after attention where there is such a norm, else before the feed-forward.
    """
    hidden = config.hidden
    before = {
        "before": [("attention_norm", "input_layernorm"), ("feed_forward_norm", "post_attention_layernorm")],
        "both": [("attention_norm", "input_layernorm"), ("feed_forward_norm", "pre_feedforward_layernorm")],
        "after": [],
    }[config.norms]
    after = [
        ("attention_output_norm", "post_attention_layernorm"),
        ("feed_forward_output_norm", "post_feedforward_layernorm"),
    ]
    around = [(path, name, hidden) for path, name in before + (after if config.norms != "before" else [])]
    if config.query_key_norm is None:
        return around
    of_head = config.query_key_norm == "head"
    heads = (1, 1) if of_head else (config.heads, config.key_value_heads)
    return [
        *around,
        ("attention.query_norm", "self_attn.q_norm", heads[0] * config.head_size),
        ("attention.key_norm", "self_attn.k_norm", heads[1] * config.head_size),
    ]


def _matrices(config: DecoderConfig) -> list[tuple[str, str, int, int, bool]]:
    """A layer's matrices: place in the decoder, published name, inputs, outputs, and whether they have a bias."""
    hidden, intermediate = config.hidden, config.intermediate
    queries, keys = config.heads * config.head_size, config.key_value_heads * config.head_size
    inputs, output, mlp = config.query_key_value_bias, config.attention_output_bias, config.feed_forward_bias
    return [
        ("attention.query", "self_attn.q_proj", hidden, queries, inputs),
        ("attention.key", "self_attn.k_proj", hidden, keys, inputs),
        ("attention.value", "self_attn.v_proj", hidden, keys, inputs),
        ("attention.output", "self_attn.o_proj", queries, hidden, output),
        ("feed_forward.gate", "mlp.gate_proj", hidden, intermediate, mlp),
        ("feed_forward.up", "mlp.up_proj", hidden, intermediate, mlp),
        ("feed_forward.down", "mlp.down_proj", intermediate, hidden, mlp),
    ]


def _norm(path: str, name: str, size: int, offset: float) -> Entry:
    return Entry(("layers", *path.split("."), "scale"), f"model.layers.{{layer}}.{name}.weight", (size,), offset=offset)


def _linear(path: str, name: str, inputs: int, outputs: int, bias: bool) -> list[Entry]:
    place, stem = ("layers", *path.split(".")), f"model.layers.{{layer}}.{name}"
    weight = Entry((*place, "weight"), f"{stem}.weight", (outputs, inputs), transposed=True)
    return [weight, Entry((*place, "bias"), f"{stem}.bias", (outputs,))] if bias else [weight]
