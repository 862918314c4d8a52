"""Adapters as peft's folders: what is written is read again, and what can't be served is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compiler.program.config import LoRA, Parameters
from compiler.program.groups import leaves
from runtime.errors import UserError
from runtime.weights.peft import SETTINGS, WEIGHTS, read_adapter, write_adapter
from tests.parity.make_peft_references import adapter
from tests.tiny import tiny_description

CONFIG = tiny_description().config
LORA = LoRA(rank=4, alpha=6.5, dropout=0.25, on=("mlp",))
QUERY_A = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"


def same(one: Parameters, other: Parameters) -> bool:
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in pairs)


@pytest.mark.parametrize("lora", [LORA, replace(LORA, on=("attention", "mlp"), alpha=8.0, dropout=0.0)])
def test_what_is_written_is_read_again(tmp_path: Path, lora: LoRA) -> None:
    write_adapter(tmp_path, adapter(lora), lora, base="some/model")
    read, values = read_adapter(tmp_path, CONFIG)
    assert read == lora
    assert same(values, adapter(lora))
    settings = json.loads((tmp_path / SETTINGS).read_text())
    assert settings["base_model_name_or_path"] == "some/model"
    assert set(settings["target_modules"]) >= {"gate_proj", "up_proj", "down_proj"}


def test_tensors_are_named_and_laid_out_as_in_peft(tmp_path: Path) -> None:
    lora = replace(LORA, on=("attention",))
    write_adapter(tmp_path, adapter(lora), lora, base=None)
    tensors = load_file(tmp_path / WEIGHTS)
    assert len(tensors) == 2 * 4 * 2
    np.testing.assert_array_equal(tensors[QUERY_A], adapter(lora)["layers"]["attention"]["query"]["down"][1].T)


def test_matrices_that_peft_left_out_are_zero(tmp_path: Path) -> None:
    lora = replace(LORA, on=("attention",))
    _write(
        tmp_path, lora, tensors=lambda found: {name: x for name, x in found.items() if "layers.1.self_attn.q" in name}
    )
    read, values = read_adapter(tmp_path, CONFIG)
    assert read.on == ("attention",)
    kept = {path for path, value in leaves(values) if value.any()}
    assert kept == {("layers", "attention", "query", part) for part in ("down", "up")}
    assert not values["layers"]["attention"]["query"]["down"][0].any()


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    _write(tmp_path, LORA, tensors=lambda found: {name: x.astype(ml_dtypes.bfloat16) for name, x in found.items()})
    _, values = read_adapter(tmp_path, CONFIG)
    assert {value.dtype for _, value in leaves(values)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("use_dora", True),
        ("use_rslora", True),
        ("bias", "all"),
        ("rank_pattern", {"q_proj": 2}),
        ("modules_to_save", ["lm_head"]),
        ("peft_type", "IA3"),
        ("init_lora_weights", "pissa"),
        ("something_new", 1),
    ],
)
def test_settings_that_change_the_maths_are_refused(tmp_path: Path, field: str, value: object) -> None:
    _write(tmp_path, LORA, settings={field: value})
    with pytest.raises(UserError, match=f"'{field}: .*isn't supported") as caught:
        read_adapter(tmp_path, CONFIG)
    assert caught.value.place == str(tmp_path / SETTINGS)


def test_settings_that_change_nothing_are_passed_over(tmp_path: Path) -> None:
    _write(tmp_path, LORA, settings={"use_dora": False, "megatron_core": "megatron.core", "loftq_config": {}})
    assert read_adapter(tmp_path, CONFIG)[0] == LORA


Tensors = dict[str, np.ndarray]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: {name.replace("layers.1.", "layers.9."): x for name, x in found.items()}, "layers.9.*no place"),
        (lambda found: found | {"base_model.model.lm_head.lora_A.weight": np.zeros((4, 32))}, "lm_head.*no place"),
        (lambda found: {name: x[:, :-1] for name, x in found.items()}, r"is \(4, 63\) where .* \(4, 64\)"),
        (lambda found: {}, "no tensors"),
    ],
)
def test_tensors_of_another_model_are_refused(
    tmp_path: Path, change: Callable[[Tensors], Tensors], message: str
) -> None:
    _write(tmp_path, LORA, tensors=change)
    with pytest.raises(UserError, match=message):
        read_adapter(tmp_path, CONFIG)


@pytest.mark.parametrize("name", [SETTINGS, WEIGHTS])
@pytest.mark.parametrize("content", [None, b"{broken"])
def test_missing_and_broken_files_are_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    _write(tmp_path, LORA)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_adapter(tmp_path, CONFIG)
    assert caught.value.place == str(tmp_path / name)


def _write(
    folder: Path,
    lora: LoRA,
    settings: dict[str, Any] | None = None,
    tensors: Callable[[Tensors], Tensors] | None = None,
) -> None:
    """An adapter's folder with some settings and tensors changed."""
    write_adapter(folder, adapter(lora), lora, base=None)
    if settings is not None:
        path = folder / SETTINGS
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    if tensors is not None:
        save_file(
            {n: np.ascontiguousarray(x) for n, x in tensors(load_file(folder / WEIGHTS)).items()}, folder / WEIGHTS
        )
