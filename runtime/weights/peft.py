"""Reads and writes low-rank adapters as peft's folders: `adapter_config.json` and `adapter_model.safetensors`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from shutil import copymode
from typing import Any, Literal

import ml_dtypes  # noqa: F401  (with it NumPy knows bfloat16, in which some adapters are published)
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from compiler.program.config import DecoderConfig, LoRA, Parameters
from compiler.program.decoder import adapter_shapes
from compiler.program.groups import leaves, mapped
from compiler.program.linear import adapted_matrices
from runtime.errors import UserError

SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_MODULES = {
    ("attention", "query"): "self_attn.q_proj",
    ("attention", "key"): "self_attn.k_proj",
    ("attention", "value"): "self_attn.v_proj",
    ("attention", "output"): "self_attn.o_proj",
    ("feed_forward", "gate"): "mlp.gate_proj",
    ("feed_forward", "up"): "mlp.up_proj",
    ("feed_forward", "down"): "mlp.down_proj",
}
"""A layer's matrices and what transformers calls them, the same in all families."""

_BLOCKS: tuple[tuple[Literal["attention", "mlp"], str], ...] = (("attention", "attention"), ("mlp", "feed_forward"))

_TENSOR = re.compile(r"base_model\.model\.(?:\w+\.)*layers\.(\d+)\.(\w+\.\w+)\.lora_(A|B)\.weight")

_READ = {
    *("peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "init_lora_weights"),
    # What follows says nothing that the tensors don't, or nothing about the maths.
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "base_model_name_or_path"),
    *("revision", "inference_mode", "auto_mapping", "peft_version", "megatron_core", "qalora_group_size"),
}
"""Fields of peft's configuration that may say anything; any other one that is set changes the maths."""


def write_adapter(folder: Path, adapter: Parameters, lora: LoRA, base: str | None) -> None:
    """Writes an adapter that `PeftModel.from_pretrained` loads, in float32.

    Args:
        folder: made if it isn't there; files of the same names are replaced.
        adapter: NumPy's arrays or JAX's.
        lora: its shape.
        base: where the model is that it lies on, as transformers takes it; None if that isn't known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    modules: list[str] = []
    for _, block, name in adapted_matrices(lora):
        module = _MODULES[block, name]
        modules.append(module.split(".")[1])
        matrix = adapter["layers"][block][name]
        for letter, part in ("A", "down"), ("B", "up"):
            for layer, each in enumerate(np.asarray(matrix[part], dtype=np.float32)):
                tensors[_name(layer, module, letter)] = np.ascontiguousarray(each.T)
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": modules,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
    }
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    copymode(folder / SETTINGS, folder / WEIGHTS)  # safetensors lets its owner alone read it


def read_adapter(folder: Path, config: DecoderConfig) -> tuple[LoRA, Parameters]:
    """An adapter's shape and its float32 NumPy arrays, in the decoder's layout.

    peft may have adapters beside any matrices; here they are beside all of attention's or the feed-forward's. Those
    that the folder lacks are zero, which changes nothing, and has no gradient.

    Args:
        folder: as peft saves it.
        config: of the model that the adapter lies on.

    Raises:
        UserError: a file is missing or broken, the adapter has settings that aren't supported, or isn't for this model.
    """
    settings = _settings(folder)
    tensors = _tensors(folder)
    names = {module: matrix for matrix, module in _MODULES.items()}
    found: dict[tuple[str, str, str, int], np.ndarray[Any, Any]] = {}
    for name, tensor in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None or match[2] not in names or int(match[1]) >= config.layers:
            raise UserError(
                f"the adapter's tensor '{name}' has no place in the model",
                "use an adapter of attention's and the feed-forward's matrices, made for this model",
                str(folder / WEIGHTS),
            )
        found[*names[match[2]], "down" if match[3] == "A" else "up", int(match[1])] = tensor
    if not found:
        raise UserError("the adapter holds no tensors", "save it again", str(folder / WEIGHTS))
    blocks = {block for block, *_ in found}
    lora = LoRA(
        rank=settings["r"],
        alpha=float(settings["lora_alpha"]),
        dropout=float(settings.get("lora_dropout", 0.0)),
        on=tuple(on for on, block in _BLOCKS if block in blocks),
    )
    shapes = dict(leaves(adapter_shapes(config, lora)))

    def stacked(path: tuple[str, ...]) -> np.ndarray[Any, Any]:
        array = np.zeros(shapes[path].shape, dtype=np.float32)
        for layer in range(config.layers):
            _, block, name, part = path
            tensor = found.get((block, name, part, layer))
            if tensor is None:
                continue
            if tensor.shape != array.shape[:0:-1]:
                raise UserError(
                    f"the adapter's tensor '{_name(layer, _MODULES[block, name], 'A' if part == 'down' else 'B')}' is "
                    f"{tensor.shape} where the model and its rank say {array.shape[:0:-1]}",
                    "use an adapter made for this model, with one rank for all matrices",
                    str(folder / WEIGHTS),
                )
            array[layer] = tensor.T.astype(np.float32)
        return array

    return lora, mapped(adapter_shapes(config, lora), stacked)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"can't read an adapter's settings: {error}", "give a folder saved by peft", str(path)
        ) from error
    if not isinstance(settings, dict) or not {"peft_type", "r", "lora_alpha"} <= settings.keys():
        raise UserError("these aren't the settings of a LoRA adapter", "give a folder saved by peft", str(path))
    unknown = [
        name
        for name, value in settings.items()
        if (name not in _READ and value not in (None, False, "none", {}, []))
        or (name == "peft_type" and value != "LORA")
        or (name == "init_lora_weights" and not (isinstance(value, bool) or value == "gaussian"))
    ]
    if unknown:
        raise UserError(
            f"'{unknown[0]}: {settings[unknown[0]]}' of an adapter isn't supported",
            "merge the adapter into its model with peft's merge_and_unload, and use that",
            str(path),
        )
    return settings


def _tensors(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    path = folder / WEIGHTS
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"can't read the adapter: {error}", "save it again with peft", str(path)) from error


def _name(layer: int, module: str, letter: str) -> str:
    return f"base_model.model.model.layers.{layer}.{module}.lora_{letter}.weight"
