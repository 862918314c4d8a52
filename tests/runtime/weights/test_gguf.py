"""GGUF files that we write ourselves, and what is said of those that can't be read."""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import jax
import numpy as np
import pytest

from compiler.program.config import DecoderConfig, Parameters
from compiler.program.decoder import create, parameters_of
from runtime.errors import UserError
from runtime.weights import pretrained
from runtime.weights.gguf import gguf_name
from runtime.weights.layout import unstack
from tests.tiny import tiny_description


def _permuted(rows: np.ndarray, heads: int) -> np.ndarray:
    """How llama.cpp's converter stores query and key rows: the two of a rotary pair side by side."""
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def _write(path: Path, config: DecoderConfig, parameters: Parameters, **changed: str) -> None:
    tokenizer = tiny_description().tokenizer
    vocabulary = sorted(tokenizer.tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer = gguf.GGUFWriter(path, changed.get("architecture", "llama"))
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden)
    writer.add_feed_forward_length(config.intermediate)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.key_value_heads)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.head_size)
    writer.add_tokenizer_model(changed.get("tokenizer", "gpt2"))
    writer.add_tokenizer_pre(changed.get("pre", "smollm"))
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([3] * 3 + [1] * (len(vocabulary) - 3))
    writer.add_token_merges(["Ġ t", "h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, tensor in unstack(config, parameters):
        heads = {"q_proj": config.heads, "k_proj": config.key_value_heads}.get(name.split(".")[-2])
        writer.add_tensor(gguf_name(name), tensor if heads is None else _permuted(tensor, heads))
    if "tensor" in changed:
        writer.add_tensor(changed["tensor"], np.zeros((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


@pytest.fixture
def config() -> DecoderConfig:
    return tiny_description().config


@pytest.fixture
def parameters(config: DecoderConfig) -> Parameters:
    return jax.tree.map(np.asarray, parameters_of(create(config, 0)))


def test_what_is_written_is_read(path: Path, config: DecoderConfig, parameters: Parameters) -> None:
    _write(path, config, parameters)
    description = pretrained.describe(path)
    assert description.config == config
    assert description.tokenizer.stops == (2,)
    assert description.tokenizer.tokenizer.encode("<|im_start|>the").tokens == ["<|im_start|>", "t", "he"]
    read = pretrained.read_parameters(path, description.config)
    assert jax.tree.all(jax.tree.map(np.array_equal, read, parameters))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"architecture": "gpt2"}, "architecture 'gpt2' isn't supported"),
        ({"tokenizer": "llama"}, "tokenizer model 'llama' isn't supported"),
        ({"pre": "default"}, "splitting rule 'default' isn't known"),
        ({"tensor": "blk.0.attn_q.bias"}, r"aren't those of a Llama-family decoder: blk\.0\.attn_q\.bias"),
    ],
)
def test_another_model_is_refused(
    path: Path, config: DecoderConfig, parameters: Parameters, changed: dict[str, str], message: str
) -> None:
    _write(path, config, parameters, **changed)
    with pytest.raises(UserError, match=message):
        pretrained.read_parameters(path, pretrained.describe(path).config)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all, but long enough to look at"])
def test_a_broken_file_is_a_user_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match="can't be read as a GGUF file"):
        pretrained.describe(path)


def test_a_cut_file_is_a_user_error(path: Path, config: DecoderConfig, parameters: Parameters) -> None:
    _write(path, config, parameters)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="can't be read as a GGUF file"):
        pretrained.describe(path)


def test_without_the_package_it_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UserError) as caught:
        pretrained.describe(path)
    assert caught.value.help == "pip install 'mixc[local]'"
