"""The weights that flows begin with: at a location, or random ones of a shape."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from compiler.passes.build import Build, UnbuiltError, place_of
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
    if model.architecture is None:
        raise UnbuiltError("a served model", place_of(model, "api"))
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
