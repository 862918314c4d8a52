"""Reads and writes Llama-family models as Hugging Face folders."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from shutil import copymode
from typing import Any

import ml_dtypes  # noqa: F401  (with it NumPy knows bfloat16, in which most weights are published)
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from compiler.program.config import DecoderConfig, Parameters
from runtime.errors import UserError
from runtime.weights.description import ModelDescription
from runtime.weights.layout import Tensor, stack, tensor_shapes, unstack
from runtime.weights.tokenizer import ModelTokenizer

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


def describe(folder: Path) -> ModelDescription:
    """Configuration and tokenizer, without reading the weights.

    Raises:
        UserError: a file is missing or broken, or the model isn't one that the decoder serves.
    """
    written = _json(folder / "config.json")
    return ModelDescription(_config(written, folder), _tokenizer(written, folder))


def read_parameters(folder: Path, config: DecoderConfig) -> Parameters:
    """The weights as float32 NumPy arrays in the decoder's layout, from one or several safetensors files.

    Raises:
        UserError: a file or tensor is missing, broken, or has another shape.
    """
    with ExitStack() as opened:
        files = {name: _weights_file(folder / name, opened) for name in sorted(set(_weight_map(folder).values()))}
        holder = {tensor: file for file in files.values() for tensor in file.keys()}  # noqa: SIM118 (not a mapping)
        if missing := [name for name in tensor_shapes(config) if name not in holder]:
            raise UserError(f"the weights lack '{missing[0]}'", "use a complete Llama-family model", str(folder))

        def tensor(name: str) -> Tensor:
            return np.asarray(holder[name].get_tensor(name)).astype(np.float32)

        return stack(config, tensor)


def export(folder: Path, description: ModelDescription, parameters: Parameters) -> None:
    """Writes a model that transformers' `LlamaForCausalLM` and `AutoTokenizer` load, weights in float32.

    Args:
        folder: made if it isn't there; files of the same names are replaced.
        description: configuration and tokenizer.
        parameters: the decoder's parameters; NumPy's or JAX's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = description.tokenizer
    tokens = {"bos_token_id": tokenizer.bos, "eos_token_id": tokenizer.eos, "pad_token_id": tokenizer.pad}
    _write(folder / "config.json", _written_config(description.config) | tokens)
    _write(folder / "generation_config.json", tokens | {"eos_token_id": list(tokenizer.stops)})
    names = {
        "bos_token": tokenizer.text(tokenizer.bos),
        "eos_token": tokenizer.text(tokenizer.eos),
        "pad_token": tokenizer.text(tokenizer.pad),
        "unk_token": tokenizer.text(tokenizer.unknown),
    }
    _write(
        folder / "tokenizer_config.json",
        {name: text for name, text in names.items() if text is not None}
        | {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": description.config.context,
            "clean_up_tokenization_spaces": False,
        },
    )
    if tokenizer.chat_template is not None:
        (folder / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
    tokenizer.tokenizer.save(str(folder / "tokenizer.json"))
    save_file(dict(unstack(description.config, parameters)), folder / _SINGLE, metadata={"format": "pt"})
    copymode(folder / "config.json", folder / _SINGLE)  # safetensors lets its owner alone read it


def _config(written: dict[str, Any], folder: Path) -> DecoderConfig:
    rope = written.get("rope_parameters") or written.get("rope_scaling") or {}
    unsupported = {
        "model_type": written.get("model_type") != "llama",
        "hidden_act": written.get("hidden_act", "silu") != "silu",
        "attention_bias": bool(written.get("attention_bias")),
        "mlp_bias": bool(written.get("mlp_bias")),
        "rope_scaling": rope.get("rope_type", rope.get("type", "default")) != "default",
    }
    if bad := [name for name, is_unsupported in unsupported.items() if is_unsupported]:
        raise UserError(
            f"'{bad[0]}: {written.get(bad[0])}' isn't supported",
            "use a model of the Llama family, without biases and with plain rotary positions",
            str(folder / "config.json"),
        )
    try:
        heads = written["num_attention_heads"]
        return DecoderConfig(
            vocabulary=written["vocab_size"],
            layers=written["num_hidden_layers"],
            hidden=written["hidden_size"],
            intermediate=written["intermediate_size"],
            heads=heads,
            key_value_heads=written.get("num_key_value_heads") or heads,
            head_size=written.get("head_dim") or written["hidden_size"] // heads,
            rope_theta=float(written.get("rope_theta") or rope.get("rope_theta", 10000.0)),
            norm_epsilon=float(written["rms_norm_eps"]),
            tied_embeddings=bool(written.get("tie_word_embeddings", False)),
            context=written["max_position_embeddings"],
        )
    except KeyError as error:
        raise UserError(
            f"the configuration lacks {error}", "use a complete model", str(folder / "config.json")
        ) from error


def _written_config(config: DecoderConfig) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocabulary,
        "num_hidden_layers": config.layers,
        "hidden_size": config.hidden,
        "intermediate_size": config.intermediate,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_size,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_epsilon,
        "tie_word_embeddings": config.tied_embeddings,
        "max_position_embeddings": config.context,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "dtype": "float32",
    }


def _tokenizer(written: dict[str, Any], folder: Path) -> ModelTokenizer:
    settings = _json(folder / "tokenizer_config.json")
    generation = _json(folder / "generation_config.json") if (folder / "generation_config.json").exists() else {}
    path = folder / "tokenizer.json"
    if not path.exists():
        raise UserError("the folder has no tokenizer.json", "export the tokenizer with the model", str(folder))
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise UserError(f"can't be read as a tokenizer: {error}", "export the tokenizer again", str(path)) from error

    def token(name: str) -> int | None:
        text = settings.get(f"{name}_token")
        text = text["content"] if isinstance(text, dict) else text
        return written.get(f"{name}_token_id") if text is None else tokenizer.token_to_id(text)

    eos = token("eos")
    generated_until = generation.get("eos_token_id", written.get("eos_token_id"))
    stops = generated_until if isinstance(generated_until, list) else [generated_until]
    return ModelTokenizer(
        tokenizer=tokenizer,
        chat_template=_chat_template(settings, folder),
        bos=token("bos"),
        eos=eos,
        pad=token("pad"),
        unknown=token("unk"),
        stops=tuple(sorted({stop for stop in [eos, *stops] if stop is not None})),
    )


def _chat_template(settings: dict[str, Any], folder: Path) -> str | None:
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):  # several, by name
        return {entry["name"]: entry["template"] for entry in template}.get("default")
    return template


def _weight_map(folder: Path) -> dict[str, str]:
    if (folder / _INDEX).exists():
        return _json(folder / _INDEX)["weight_map"]
    return {"": _SINGLE}


def _weights_file(path: Path, opened: ExitStack) -> Any:
    try:
        return opened.enter_context(safe_open(path, framework="np"))
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(f"can't read the weights: {error}", "export the model again", str(path)) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError) as error:
        raise UserError(f"can't read a model's settings: {error}", "give a Hugging Face folder", str(path)) from error


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
