"""From a published model's tensors, one per layer and matrix, to the decoder's stacked parameters, and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from compiler.program.config import DecoderConfig, Parameters
from runtime.errors import UserError

Tensor: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"

_LAYER_NAMES = {
    ("attention_norm", "scale"): "input_layernorm",
    ("attention", "query", "weight"): "self_attn.q_proj",
    ("attention", "key", "weight"): "self_attn.k_proj",
    ("attention", "value", "weight"): "self_attn.v_proj",
    ("attention", "output", "weight"): "self_attn.o_proj",
    ("feed_forward_norm", "scale"): "post_attention_layernorm",
    ("feed_forward", "gate", "weight"): "mlp.gate_proj",
    ("feed_forward", "up", "weight"): "mlp.up_proj",
    ("feed_forward", "down", "weight"): "mlp.down_proj",
}
"""Where a parameter of a layer stands in the decoder, and its name in transformers' `LlamaForCausalLM`."""


def tensor_shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the model's tensors, as transformers' `LlamaForCausalLM` has them."""
    hidden, queries = config.hidden, config.heads * config.head_size
    keys = config.key_value_heads * config.head_size
    layer = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (config.intermediate, hidden),
        "mlp.up_proj": (config.intermediate, hidden),
        "mlp.down_proj": (hidden, config.intermediate),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocabulary, hidden)}
    for number in range(config.layers):
        shapes |= {f"model.layers.{number}.{name}.weight": shape for name, shape in layer.items()}
    output = {} if config.tied_embeddings else {"lm_head.weight": (config.vocabulary, hidden)}
    return shapes | {"model.norm.weight": (hidden,)} | output


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
    shapes = tensor_shapes(config)

    def checked(name: str) -> Tensor:
        found = tensor(name)
        if found.shape != shapes[name]:
            raise UserError(
                f"the tensor '{name}' is {found.shape} where the configuration says {shapes[name]}",
                "use weights and a configuration of the same model",
            )
        return found

    layers: Parameters = {}
    for path, name in _LAYER_NAMES.items():
        each = [checked(f"model.layers.{layer}.{name}.weight").T for layer in range(config.layers)]
        holder = layers
        for module in path[:-1]:
            holder = holder.setdefault(module, {})
        holder[path[-1]] = np.stack(each)
    parameters: Parameters = {
        "embedding": checked("model.embed_tokens.weight"),
        "layers": layers,
        "norm": {"scale": checked("model.norm.weight")},
    }
    if not config.tied_embeddings:
        parameters["output"] = checked("lm_head.weight")
    return parameters


def unstack(config: DecoderConfig, parameters: Parameters) -> Iterator[tuple[str, Tensor]]:
    """The inverse of `stack`: names and contiguous float32 NumPy arrays; the parameters may be JAX's."""
    yield "model.embed_tokens.weight", np.asarray(parameters["embedding"])
    for path, name in _LAYER_NAMES.items():
        stacked = np.asarray(functools.reduce(dict.__getitem__, path, parameters["layers"]))
        for layer in range(config.layers):
            yield f"model.layers.{layer}.{name}.weight", np.ascontiguousarray(stacked[layer].T)
    yield "model.norm.weight", np.asarray(parameters["norm"]["scale"])
    if not config.tied_embeddings:
        yield "lm_head.weight", np.asarray(parameters["output"])
