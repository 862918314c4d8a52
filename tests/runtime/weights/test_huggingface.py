"""A model written as a Hugging Face folder and read again; published variants of the layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.flax import save_file
from safetensors.numpy import save_file as numpy_file

from compiler.program.decoder import create, parameters_of
from runtime.errors import UserError
from runtime.weights import pretrained
from runtime.weights.huggingface import export
from runtime.weights.layout import tensor_shapes, unstack
from tests.tiny import make_tiny_model, tiny_description


def _edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _same(one: Any, other: Any) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, one, other))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model", seed=0)


@pytest.mark.parametrize("tied", [True, False])
def test_what_is_written_is_read(tmp_path: Path, tied: bool) -> None:
    description = tiny_description()
    description = replace(description, config=replace(description.config, tied_embeddings=tied))
    parameters = parameters_of(create(description.config, 1))
    export(tmp_path, description, parameters)
    read = pretrained.describe(tmp_path)
    assert read.config == description.config
    assert replace(read.tokenizer, tokenizer=description.tokenizer.tokenizer) == description.tokenizer
    text = "<|im_start|>user\nthe 12 users<|im_end|>\n"
    assert read.tokenizer.tokenizer.encode(text).ids == description.tokenizer.tokenizer.encode(text).ids
    again = pretrained.read_parameters(tmp_path, read.config)
    assert _same(again, parameters)
    assert {leaf.dtype for leaf in jax.tree.leaves(again)} == {np.dtype("float32")}


def test_weights_may_be_bfloat16_in_several_files(folder: Path) -> None:
    config = pretrained.describe(folder).config
    parameters = pretrained.read_parameters(folder, config)
    tensors = {name: jnp.asarray(value, dtype=jnp.bfloat16) for name, value in unstack(config, parameters)}
    names = list(tensor_shapes(config))
    files = {name: f"model-{index % 2}.safetensors" for index, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in names if files[name] == file}, folder / file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    rounded = jax.tree.map(lambda x: np.asarray(jnp.asarray(x, dtype=jnp.bfloat16).astype(jnp.float32)), parameters)
    assert _same(pretrained.read_parameters(folder, config), rounded)


def test_rotary_base_and_template_where_other_versions_put_them(folder: Path) -> None:
    _edit(folder / "config.json", lambda c: c.update(rope_theta=None, rope_parameters={"rope_theta": 5e5}))
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    _edit(
        folder / "tokenizer_config.json",
        lambda c: c.update(chat_template=template, eos_token={"content": "<|im_end|>"}),
    )
    _edit(folder / "generation_config.json", lambda c: c.update(eos_token_id=0))
    read = pretrained.describe(folder)
    assert read.config.rope_theta == 5e5
    assert read.tokenizer.chat_template == template
    assert read.tokenizer.stops == (0, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_type", "gpt2"),
        ("hidden_act", "gelu"),
        ("rope_scaling", {"rope_type": "dynamic", "factor": 8.0}),
        ("quantization_config", {"quant_method": "gptq"}),
    ],
)
def test_another_model_is_refused_by_what_differs(folder: Path, name: str, value: object) -> None:
    _edit(folder / "config.json", lambda c: c.update({name: value}))
    with pytest.raises(UserError, match=f"{name}.*isn't supported"):
        pretrained.describe(folder)


def test_a_tensor_without_a_place_is_refused(folder: Path) -> None:
    config = pretrained.describe(folder).config
    tensors = dict(unstack(config, pretrained.read_parameters(folder, config)))
    needless = {"lm_head.weight": tensors["model.embed_tokens.weight"] + 1}  # embeddings are tied: transformers too
    needless["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, dtype=np.float32)
    numpy_file({**tensors, **needless}, folder / "model.safetensors")
    assert _same(pretrained.read_parameters(folder, config)["embedding"], tensors["model.embed_tokens.weight"])
    bias = {"model.layers.1.self_attn.q_proj.bias": np.ones(32, dtype=np.float32)}
    numpy_file({**tensors, **bias}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"no place for the tensor 'model\.layers\.1\.self_attn\.q_proj\.bias'"):
        pretrained.read_parameters(folder, config)


@pytest.mark.parametrize(
    ("text", "vision"),
    [("language_model.model.", "vision_tower."), ("model.language_model.", "model.vision_tower.")],
)
def test_the_text_model_of_gemma_3_with_images_is_read(tmp_path: Path, text: str, vision: str) -> None:
    description = tiny_description()
    config = replace(
        description.config, family="gemma3", norms="both", query_key_norm="head", scaled_embeddings=True,
        activation="gelu_tanh", attention_scalar=8.0, window=4, window_pattern=(True, False), window_rope_theta=1e3,
    )  # fmt: skip
    parameters = parameters_of(create(config, 1))
    export(tmp_path, replace(description, config=config), parameters)
    tensors = {text + name.removeprefix("model."): value for name, value in unstack(config, parameters)}
    assert float(np.max(tensors[f"{text}norm.weight"])) == 0.0  # Gemma's norms are published less one
    numpy_file({**tensors, f"{vision}x": np.ones(3, dtype=np.float32)}, tmp_path / "model.safetensors")
    inner = json.loads((tmp_path / "config.json").read_text())
    outer = {"model_type": "gemma3", "text_config": inner, "vision_config": {"hidden_size": 8}, "eos_token_id": [2, 0]}
    (tmp_path / "config.json").write_text(json.dumps(outer))
    assert pretrained.describe(tmp_path).config == config
    assert _same(pretrained.read_parameters(tmp_path, config), parameters)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(UserError, match=file):
        pretrained.describe(folder)


def test_broken_files_are_user_errors(folder: Path) -> None:
    config = pretrained.describe(folder).config
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="can't read the weights"):
        pretrained.read_parameters(folder, config)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="can't be read as a tokenizer"):
        pretrained.describe(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="can't read a model's settings"):
        pretrained.describe(folder)


def test_a_missing_tensor_is_named(folder: Path) -> None:
    config = pretrained.describe(folder).config
    with pytest.raises(UserError, match=r"lack 'model\.layers\.2\.input_layernorm\.weight'"):
        pretrained.read_parameters(folder, replace(config, layers=3))


def test_a_tensor_of_another_shape_is_named(folder: Path) -> None:
    config = pretrained.describe(folder).config
    with pytest.raises(UserError, match=r"'model\.layers\.0\.self_attn\.k_proj\.weight' is \(16, 32\).*\(32, 32\)"):
        pretrained.read_parameters(folder, replace(config, key_value_heads=4))


def test_large_models_are_written_in_several_files(tmp_path: Path) -> None:
    description = tiny_description()
    parameters = parameters_of(create(description.config, 3))
    export(tmp_path, description, parameters, file_bytes=20_000)
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(files) > 3
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(files)
    assert _same(pretrained.read_parameters(tmp_path, description.config), parameters)
    export(tmp_path, description, parameters)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model.safetensors"]
    assert not (tmp_path / "model.safetensors.index.json").exists()
