"""Writes what torch's and transformers' optimizers make of a few arrays, for the tests of ours to compare with.

Run it in an environment with torch, transformers and this repository's root on the path:

    python -m tests.parity.make_optimizer_references
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parent / "optimizers.npz"
COMMAND = "python -m tests.parity.make_optimizer_references"

UPDATES = 8
LEARNING_RATE, WEIGHT_DECAY, MOMENTUM, OTHER_RATE = 1e-2, 0.1, 0.9, 3e-3
SHAPES = {
    "layers.attention.query.weight": (2, 6, 8),
    "layers.feed_forward.up.weight": (2, 130, 140),  # large enough for Adafactor to keep rows and columns
    "layers.attention_norm.scale": (2, 6),
    "embedding": (10, 6),
    "norm.scale": (6,),
}
"""Of the decoder's kind: layers on axis 0, matrices `[inputs, outputs]`."""

FACTORED = ("layers.feed_forward.up.weight", "layers.attention_norm.scale", "norm.scale")
"""Where Adafactor is compared: transformers factors small matrices too, as the paper does, and ours doesn't."""


def arrays(number: int) -> dict[str, np.ndarray]:
    """The parameters (0), and the gradients of the updates from 1."""
    random = np.random.default_rng(number)
    scale = 0.1 if number == 0 else 10.0 ** random.uniform(-2, 0)
    return {name: (scale * random.standard_normal(shape)).astype(np.float32) for name, shape in SHAPES.items()}


def kept(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What stands in the file: of the large array, a part."""
    return {name: value[..., ::17, ::13] if value.size > 1000 else value for name, value in values.items()}


def references() -> dict[str, np.ndarray]:
    """By `OPTIMIZER/PARAMETER`, its values after all updates."""
    import torch
    from transformers.optimization import Adafactor

    def adamw(matrices: list[Any], scales: list[Any]) -> list[Any]:
        return [torch.optim.AdamW(_groups(matrices, scales), lr=LEARNING_RATE, betas=(0.9, 0.95), eps=1e-8)]

    def sgd(matrices: list[Any], scales: list[Any]) -> list[Any]:
        return [torch.optim.SGD(_groups(matrices, scales), lr=LEARNING_RATE)]

    def nesterov(matrices: list[Any], scales: list[Any]) -> list[Any]:
        return [torch.optim.SGD(_groups(matrices, scales), lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True)]

    def momentum(matrices: list[Any], scales: list[Any]) -> list[Any]:
        return [torch.optim.SGD(_groups(matrices, scales), lr=LEARNING_RATE, momentum=MOMENTUM)]

    def adafactor(matrices: list[Any], scales: list[Any]) -> list[Any]:
        groups = _groups(matrices, scales)
        return [Adafactor(groups, lr=LEARNING_RATE, scale_parameter=False, relative_step=False, warmup_init=False)]

    def muon(matrices: list[Any], scales: list[Any]) -> list[Any]:
        # The last matrix is the embedding.
        hidden = torch.optim.Muon(matrices[:-1], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, momentum=MOMENTUM)
        others = torch.optim.AdamW(_groups(matrices[-1:], scales), lr=OTHER_RATE, betas=(0.9, 0.95), eps=1e-8)
        return [hidden, others]

    made: dict[str, np.ndarray] = {}
    for name, make in {
        "adamw": adamw,
        "sgd": sgd,
        "momentum": momentum,
        "nesterov": nesterov,
        "adafactor": adafactor,
        "muon_bfloat16": muon,
    }.items():
        made |= {f"{name}/{parameter}": value for parameter, value in _after(make).items()}
    # torch orthogonalises in bfloat16; in float32 its formula shows.
    with torch.no_grad():
        narrow, torch.Tensor.bfloat16 = torch.Tensor.bfloat16, torch.Tensor.float
        try:
            made |= {f"muon/{parameter}": value for parameter, value in _after(muon).items()}
        finally:
            torch.Tensor.bfloat16 = narrow
    return made


def _groups(matrices: list[Any], scales: list[Any]) -> list[dict[str, Any]]:
    return [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": scales, "weight_decay": 0.0}]


def _after(make: Callable[[list[Any], list[Any]], list[Any]]) -> dict[str, np.ndarray]:
    """The parameters after all updates; in torch each layer has a tensor of its own, and matrices are transposed."""
    import torch

    def parts(values: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        return {
            name: [torch.from_numpy(x.T.copy()) for x in (value if name.startswith("layers") else [value])]
            for name, value in values.items()
        }

    parameters = {name: [torch.nn.Parameter(x) for x in each] for name, each in parts(arrays(0)).items()}
    flat = [x for each in parameters.values() for x in each]
    optimizers = make([x for x in flat if x.ndim == 2], [x for x in flat if x.ndim == 1])
    for update in range(1, UPDATES + 1):
        for name, each in parts(arrays(update)).items():
            for parameter, gradient in zip(parameters[name], each, strict=True):
                parameter.grad = gradient
        for optimizer in optimizers:
            optimizer.step()
    whole = {name: np.stack([x.detach().numpy().T for x in each]) for name, each in parameters.items()}
    return kept({name: value if name.startswith("layers") else value[0] for name, value in whole.items()})


def made_by() -> dict[str, str]:
    """The command and the versions, which the file carries."""
    packages = ("torch", "transformers", "numpy")
    return {"command": COMMAND, "python": platform.python_version()} | {name: version(name) for name in packages}


def main() -> int:
    np.savez_compressed(FILE, made_by=np.asarray(json.dumps(made_by())), **references())
    return 0


if __name__ == "__main__":
    sys.exit(main())
