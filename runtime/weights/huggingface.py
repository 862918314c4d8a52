"""Reads and writes models as Hugging Face folders."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby, islice
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
from runtime.weights.families import read_settings, text_settings, written_settings
from runtime.weights.layout import Tensor, tensor_shapes, unstack
from runtime.weights.tensors import Tensors
from runtime.weights.tokenizer import ModelTokenizer

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


def describe(folder: Path) -> ModelDescription:
    """Configuration and tokenizer, without reading the weights.

    Raises:
        UserError: a file is missing or broken, or the model isn't one that the decoder serves.
    """
    written = _json(folder / "config.json")
    config = read_settings(written, folder / "config.json")
    return ModelDescription(config, _tokenizer(text_settings(written), folder))


def read_tokenizer(folder: Path) -> ModelTokenizer:
    """The tokenizer of a folder, which needs no model in it. Raises UserError where it is missing or broken."""
    settings = folder / "config.json"
    return _tokenizer(text_settings(_json(settings)) if settings.exists() else {}, folder)


@contextmanager
def opened(folder: Path, config: DecoderConfig) -> Iterator[Tensors]:
    """The tensors of one or several safetensors files.

    Raises:
        UserError: a file or tensor is missing or broken, or the decoder has no place for one.
    """
    shapes = tensor_shapes(config)
    with ExitStack() as files_opened:
        files = {name: _weights_file(folder / name, files_opened) for name in sorted(set(_weight_map(folder).values()))}
        stored = {tensor: file for file in files.values() for tensor in file.keys()}  # noqa: SIM118 (not a mapping)
        slices = {_text_name(name): file.get_slice(name) for name, file in stored.items()}
        if missing := [name for name in shapes if name not in slices]:
            raise UserError(f"the weights lack '{missing[0]}'", "use a complete model", str(folder))
        if strange := [name for name in slices if name not in shapes and not _needless(name, config)]:
            raise UserError(
                f"the decoder has no place for the tensor '{strange[0]}'",
                f"use a plain model of the family '{config.family}'",
                str(folder),
            )
        yield _Safetensors(slices)


class _Safetensors(Tensors):
    def __init__(self, slices: dict[str, Any]) -> None:
        self._slices = slices

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._slices[name].get_shape())

    def part(self, name: str, index: tuple[slice, ...]) -> Tensor:
        return np.asarray(self._slices[name][index]).astype(np.float32)


def export(
    folder: Path, description: ModelDescription, parameters: Parameters, file_bytes: int = 5_000_000_000
) -> None:
    """Writes a model that transformers' `AutoModelForCausalLM` and `AutoTokenizer` load, weights in float32.

    Args:
        folder: made if it isn't there; files of the same names are replaced.
        description: configuration and tokenizer.
        parameters: the decoder's parameters; NumPy's or JAX's.
        file_bytes: how large a file of weights may be; there are as many as it takes.

    Raises:
        UserError: the files of the model's family can't say what it is.
    """
    settings = written_settings(description.config)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = description.tokenizer
    tokens = {"bos_token_id": tokenizer.bos, "eos_token_id": tokenizer.eos, "pad_token_id": tokenizer.pad}
    _write(folder / "config.json", settings | tokens)
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
    _save(folder, description.config, parameters, file_bytes)


def _save(folder: Path, config: DecoderConfig, parameters: Parameters, file_bytes: int) -> None:
    """Writes the tensors into files of at most `file_bytes` (or one tensor), and their index where there are several.

    Only one file's tensors are in memory at a time, beside the parameter that they come from.
    """
    for old in (*folder.glob("model-*-of-*.safetensors"), folder / _SINGLE, folder / _INDEX):
        old.unlink(missing_ok=True)
    shapes = tensor_shapes(config)
    holder, filled = list[int](), 0
    for shape in shapes.values():
        size = 4 * math.prod(shape)
        new = not holder or filled + size > file_bytes
        filled = size if new else filled + size
        holder.append((holder[-1] if holder else 0) + new)
    count = holder[-1]
    files = [_SINGLE if count == 1 else f"model-{number:05}-of-{count:05}.safetensors" for number in holder]
    tensors = unstack(config, parameters)
    for file, group in groupby(files):
        save_file(dict(islice(tensors, len(list(group)))), folder / file, metadata={"format": "pt"})
        copymode(folder / "config.json", folder / file)  # safetensors lets its owner alone read it
    if count > 1:
        total = 4 * sum(math.prod(shape) for shape in shapes.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(zip(shapes, files, strict=True))}
        _write(folder / _INDEX, index)


def _text_name(name: str) -> str:
    """A tensor's name in the text model alone: in Gemma 3 with images it stands below `language_model`."""
    if name.startswith("model.language_model."):
        return "model." + name.removeprefix("model.language_model.")
    return name.removeprefix("language_model.")


def _needless(name: str, config: DecoderConfig) -> bool:
    """Whether the model is whole without the tensor: a copy, a table that follows from the settings, or vision."""
    vision = name.removeprefix("model.").startswith(("vision_tower.", "multi_modal_projector."))
    tied = config.tied_embeddings and name == "lm_head.weight"
    return tied or name.endswith(".rotary_emb.inv_freq") or (vision and config.family == "gemma3")


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
