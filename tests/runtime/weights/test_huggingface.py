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
        ("attention_bias", True),
        ("mlp_bias", True),
        ("hidden_act", "gelu"),
        ("rope_scaling", {"rope_type": "llama3", "factor": 8.0}),
    ],
)
def test_another_model_is_refused_by_what_differs(folder: Path, name: str, value: object) -> None:
    _edit(folder / "config.json", lambda c: c.update({name: value}))
    with pytest.raises(UserError, match=f"{name}.*isn't supported"):
        pretrained.describe(folder)


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
