"""Published shapes: each has the number of parameters that its model is published with."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from compiler.program.config import DecoderConfig, parameter_count
from compiler.program.shapes import REPOSITORIES, SHAPES, of_location, published

PUBLISHED = {
    "llama2_7b": 6_738_415_616,
    "llama2_70b": 68_976_648_192,
    "llama3_8b": 8_030_261_248,
    "llama3_1_70b": 70_553_706_496,
    "llama3_1_405b": 405_853_388_800,
    "llama3_2_1b": 1_235_814_400,
    "llama3_2_3b": 3_212_749_824,
    "mistral_7b": 7_241_732_096,
    "mistral_7b_v0_3": 7_248_023_552,
    "qwen2_5_0_5b": 494_032_768,
    "qwen2_5_7b": 7_615_616_512,
    "qwen2_5_72b": 72_706_203_648,
    "qwen3_0_6b": 596_049_920,
    "qwen3_8b": 8_190_735_360,
    "smollm2_135m": 134_515_008,
    "smollm2_1_7b": 1_711_376_384,
    "gemma2_2b": 2_614_341_888,
    "gemma2_27b": 27_227_128_320,
    "gemma3_1b": 999_885_952,
    "olmo2_7b": 7_298_617_344,
}
"""Elements of the weights as they are published, tied ones once; of Gemma 3 those of the text model."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_shape_has_as_many_parameters_as_its_model(name: str) -> None:
    assert parameter_count(published(name)) == PUBLISHED[name]


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_survives_json(name: str) -> None:
    config = published(name)
    assert DecoderConfig(**json.loads(json.dumps(asdict(config)))) == config


def test_repositories_have_shapes() -> None:
    assert set(REPOSITORIES.values()) == set(SHAPES)


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("hf://Qwen/Qwen3-8B@9c925d64d72725edaf899c6cb9c377fd0709d9c5", "qwen3_8b"),
        ("hf://Qwen/Qwen3-8B", "qwen3_8b"),
        ("hf://google/gemma-2-9b-it@main/model.safetensors", "gemma2_9b"),
        ("hf://Qwen/Qwen3-9B", None),
        ("Qwen/Qwen3-8B", None),
        ("gs://Qwen/Qwen3-8B", None),
    ],
)
def test_a_repository_is_known_without_looking(location: str, name: str | None) -> None:
    assert of_location(location) == (None if name is None else published(name))
