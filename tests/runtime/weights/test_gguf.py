"""GGUF files that we write ourselves, and what is said of those that can't be read."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from compiler.program.config import RopeScaling
from runtime.errors import UserError
from runtime.weights import pretrained
from tests.runtime.weights.gguf_files import CONFIGS, random_parameters, write

LLAMA = CONFIGS["llama"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


@pytest.mark.parametrize("family", CONFIGS)
def test_what_is_written_is_read(path: Path, family: str) -> None:
    config, parameters = CONFIGS[family], random_parameters(CONFIGS[family])
    write(path, config, parameters)
    description = pretrained.describe(path)
    assert description.config == config
    assert description.tokenizer.stops == (2,)
    assert description.tokenizer.tokenizer.encode("<|im_start|>the").tokens == ["<|im_start|>", "t", "he"]
    read = pretrained.read_parameters(path, description.config)
    close = 1e-6 if family.startswith("gemma") else 0.0  # one is added to norms and taken away again
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=close), read, parameters)


@pytest.mark.slow
@pytest.mark.parametrize("family", [family for family in CONFIGS if family not in ("llama3", "olmo2")])
def test_transformers_reads_the_same_model(path: Path, family: str) -> None:
    """But for what it doesn't take from such files: OLMo, rotary factors. Its tensors are read, with our settings."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from compiler.program.decoder import assemble
    from runtime.weights.families import written_settings

    config, parameters = CONFIGS[family], random_parameters(CONFIGS[family])
    write(path, config, parameters)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent,
        gguf_file=path.name,
        config=AutoConfig.for_model(**written_settings(config)),
        dtype=torch.float32,
        attn_implementation="eager",
    )
    tokens = np.random.default_rng(0).integers(3, config.vocabulary, (1, 20))
    with torch.no_grad():
        expected = model(torch.from_numpy(tokens)).logits[0].numpy()
    decoder = assemble(config, pretrained.read_parameters(path, pretrained.describe(path).config))
    places = np.arange(20, dtype=np.int32)[None]
    hidden = decoder(jax.numpy.asarray(tokens, dtype=np.int32), np.ones_like(places), places)
    np.testing.assert_allclose(decoder.logits(hidden)[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"architecture": "gpt2"}, "architecture 'gpt2' isn't supported"),
        ({"tokenizer": "bert"}, "tokenizer model 'bert' isn't supported"),
        ({"pre": "default"}, "splitting rule 'default' isn't known"),
        ({"scaling": "yarn"}, "scaled by 'yarn' aren't supported"),
        ({"tensor": "blk.0.attn_q.bias"}, r"aren't those of a llama decoder: blk\.0\.attn_q\.bias"),
    ],
)
def test_another_model_is_refused(path: Path, changed: dict[str, str], message: str) -> None:
    write(path, LLAMA, random_parameters(LLAMA), **changed)
    with pytest.raises(UserError, match=message):
        pretrained.read_parameters(path, pretrained.describe(path).config)


def test_rotary_factors_that_nobody_published_are_refused(path: Path) -> None:
    config = replace(LLAMA, rope_scaling=RopeScaling("llama3", 5.0, 8192))
    write(path, config, random_parameters(config))
    with pytest.raises(UserError, match="isn't that of a published Llama 3"):
        pretrained.describe(path)


def test_windows_of_other_families_are_refused(path: Path) -> None:
    config = replace(CONFIGS["qwen3"], window=7)
    write(path, config, random_parameters(config))
    with pytest.raises(UserError, match="windows of attention aren't supported in 'qwen3' files"):
        pretrained.describe(path)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all, but long enough to look at"])
def test_a_broken_file_is_a_user_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match="can't be read as a GGUF file"):
        pretrained.describe(path)


def test_a_cut_file_is_a_user_error(path: Path) -> None:
    write(path, LLAMA, random_parameters(LLAMA))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="can't be read as a GGUF file"):
        pretrained.describe(path)


def test_without_the_package_it_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UserError) as caught:
        pretrained.describe(path)
    assert caught.value.help == "pip install 'mixc[local]'"
