"""Writes what peft makes of a small model with a low-rank adapter, for the tests of ours to compare with.

Run it in an environment with torch, transformers, peft and this repository's root on the path:

    python -m tests.parity.make_peft_references
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from compiler.program.config import LoRA, Parameters
from compiler.program.decoder import adapter_shapes, parameter_shapes
from compiler.program.groups import leaves, mapped
from runtime.weights.huggingface import export
from runtime.weights.peft import write_adapter
from tests.tiny import tiny_description

FILE = Path(__file__).parent / "peft.npz"
COMMAND = "python -m tests.parity.make_peft_references"

LORAS = {
    "both": LoRA(rank=4, alpha=6.0, dropout=0.0, on=("attention", "mlp")),
    "attention": LoRA(rank=3, alpha=12.0, dropout=0.0, on=("attention",)),
}
UPDATES, LEARNING_RATE, WEIGHT_DECAY, BETAS, EPSILON, CLIP = 10, 1e-2, 0.1, (0.9, 0.95), 1e-8, 1.0


def drawn(shapes: Parameters, seed: int) -> Parameters:
    """Arrays that are nowhere zero: scales about one, all else with deviation 0.1."""
    random = np.random.default_rng(seed)
    sizes = {path: shape.shape for path, shape in leaves(shapes)}

    def array(path: tuple[str, ...]) -> np.ndarray:
        values = 0.1 * random.standard_normal(sizes[path])
        return (values + (path[-1] == "scale")).astype(np.float32)

    return mapped(shapes, array)


def base() -> Parameters:
    return drawn(parameter_shapes(tiny_description().config), 0)


def adapter(lora: LoRA) -> Parameters:
    return drawn(adapter_shapes(tiny_description().config, lora), 1)


def tokens() -> np.ndarray:
    return np.random.default_rng(2).integers(0, tiny_description().config.vocabulary, (3, 14), dtype=np.int32)


def on_peft(folder: Path, lora: LoRA) -> Any:
    """The model in peft, from our export of the base and our adapter's folder; the adapter is trained."""
    import torch
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    export(folder / "base", tiny_description(), base())
    write_adapter(folder / "adapter", adapter(lora), lora, base=str(folder / "base"))
    model = LlamaForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    return PeftModel.from_pretrained(model, folder / "adapter", is_trainable=True)


def log_probabilities(model: Any) -> np.ndarray:
    """Of each token but the first, float32 `[rows, length - 1]`."""
    import torch

    given = torch.from_numpy(tokens().astype(np.int64))
    with torch.no_grad():
        values = torch.log_softmax(model(given).logits[:, :-1], dim=-1)
    return torch.gather(values, 2, given[:, 1:, None])[..., 0].numpy()


def references(lora: LoRA) -> dict[str, np.ndarray]:
    """Log-probabilities, the gradient of every tensor of the adapter, and the losses of the updates."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        model = on_peft(Path(folder), lora)
    made = {"log_probabilities": log_probabilities(model)}
    named = {name: x for name, x in model.named_parameters() if x.requires_grad}
    optimizer = torch.optim.AdamW(named.values(), lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, weight_decay=WEIGHT_DECAY)
    given, losses = torch.from_numpy(tokens().astype(np.int64)), []
    for update in range(UPDATES):
        optimizer.zero_grad()
        loss = model(given, labels=given).loss
        loss.backward()
        if update == 0:
            made |= {f"gradient.{name.replace('.default', '')}": x.grad.numpy().copy() for name, x in named.items()}
        torch.nn.utils.clip_grad_norm_(named.values(), CLIP)
        optimizer.step()
        losses.append(loss.item())
    return made | {"losses": np.asarray(losses, dtype=np.float32)}


def made_by() -> dict[str, str]:
    """The command and the versions, which the file carries."""
    packages = ("torch", "transformers", "peft", "numpy")
    return {"command": COMMAND, "python": platform.python_version()} | {name: version(name) for name in packages}


def main() -> int:
    made = {f"{name}/{key}": value for name, lora in LORAS.items() for key, value in references(lora).items()}
    np.savez_compressed(FILE, made_by=np.asarray(json.dumps(made_by())), **made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
