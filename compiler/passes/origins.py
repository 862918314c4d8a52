"""What flows begin with: weights at a location, random ones of a shape, or a served model."""

from __future__ import annotations

import json
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from compiler.operations import Asked
from compiler.passes.build import Build
from compiler.program.config import DecoderConfig
from compiler.program.shapes import config_of, published
from compiler.steps import Weights
from dsl.declarations.models import Architecture, Model


def weights(build: Build, model: Model, seed: int) -> str:
    """The `weights` step of a model that isn't made from another. `seed` is of random weights."""
    tokenizer = None if model.tokenizer is None else build.location(model.tokenizer)
    template = None if model.template is None else build.location(model.template)
    if isinstance(model.from_, str):
        return build.add(
            Weights(
                name=model.name,
                place=build.place(model, "from"),
                location=build.location(model.from_),
                tokenizer=tokenizer,
                template=template,
            )
        )
    assert model.architecture is not None, "the checker reports where a served model would have to have weights"
    return build.add(
        Weights(
            name=model.name,
            place=build.place(model, "architecture"),
            architecture=_fields(model.architecture),
            seed=seed,
            tokenizer=tokenizer,
            template=template,
        )
    )


def served(model: Model, temperature: Fraction | None = None, max_tokens: int | None = None) -> Asked:
    """A model that is asked, without its weights: what who asks says of sampling goes before what the model says."""
    temperature = model.temperature if temperature is None else temperature
    return Asked(
        name=model.name,
        api=model.api,
        temperature=None if temperature is None else str(temperature),
        top_p=None if model.top_p is None else str(model.top_p),
        max_tokens=model.max_tokens if max_tokens is None else max_tokens,
        spend=None if model.spend is None else str(model.spend.count),
        price=None if model.price is None else (str(model.price.input.count), str(model.price.output.count)),
    )


def _fields(architecture: str | Architecture) -> dict[str, Any]:
    """The fields of the decoder, as JSON holds them."""
    config = published(architecture) if isinstance(architecture, str) else _written(architecture)
    return json.loads(json.dumps(asdict(config)))


def _written(shape: Architecture) -> DecoderConfig:
    return config_of(
        {
            "family": shape.family,
            "vocabulary": shape.vocabulary,
            "layers": shape.layers,
            "hidden": shape.hidden,
            "intermediate": shape.intermediate,
            "heads": shape.heads,
            "key_value_heads": shape.key_value_heads or shape.heads,
            "head_size": shape.head_size or shape.hidden // shape.heads,
            "rope_theta": float(shape.rope_theta),
            "norm_epsilon": float(shape.norm_epsilon),
            "tied_embeddings": shape.tied_embeddings,
            "window": shape.window,
            "context": shape.context,
        }
    )
