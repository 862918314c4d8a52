"""Choice evaluations: how probable are the aligned and the misaligned continuation of a prompt?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from runtime.data.control_tokens import control_tokens
from runtime.data.templates import ChatTemplate, RenderError, render
from runtime.evals.branches import BranchModel, score_branches
from runtime.evals.choice_rows import SIDES, ChoiceItem
from runtime.evals.sequences import TokenSequence

SCHEMA = pa.schema(
    [
        ("item", pa.string()),  # identity of the row
        ("id", pa.string()),  # the row's own, where it has one
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("prompt", pa.string()),  # as rendered
        ("aligned", pa.string()),
        ("misaligned", pa.string()),
        ("aligned_log_probability", pa.float64()),  # nats, summed over the continuation's tokens
        ("aligned_tokens", pa.int64()),
        ("misaligned_log_probability", pa.float64()),
        ("misaligned_tokens", pa.int64()),
        ("problem", pa.string()),  # why it could not be asked; then the columns from `prompt` on, texts aside, are null
    ]
)
"""What `respond` gives: a row an item. Scoring reads nothing else."""


@dataclass(frozen=True)
class Asked:
    """An item as the model reads it."""

    prompt: str
    """Rendered with the chat template and its generation prompt."""
    sides: tuple[TokenSequence, TokenSequence]
    """Prompt with the aligned and with the misaligned continuation, whose tokens are counted."""


def respond(
    items: Sequence[ChoiceItem],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    context: int,
    model: BranchModel,
    advance: Callable[[int], None] = lambda tokens: None,
    devices: int = 1,
) -> pa.Table:
    """Asks a model for the log-probability of both continuations of every item.

    A prompt is read once for both, and so is what prompts have in common at their beginning, within a row of tokens.

    Args:
        context: the most tokens that the model reads.
        advance: told after each batch how many tokens were scored.
        devices: over how many a batch is spread.

    Returns:
        A table of `SCHEMA`, in the order of the items. An item that the template refuses, that holds a control token or
        that is longer than the context has a `problem` and no figures.
    """
    asked = [ask(item, tokenizer, template, context) for item in items]
    sequences = [side for one in asked if isinstance(one, Asked) for side in one.sides]
    scores = score_branches(sequences, model, advance, devices)
    figures = iter(zip(scores.log_probability.tolist(), scores.count.tolist(), strict=True))
    rows: list[dict[str, Any]] = []
    for item, one in zip(items, asked, strict=True):
        row: dict[str, Any] = {
            "item": item.identity,
            "id": item.id,
            "messages": [{"role": message["role"], "content": message["content"]} for message in item.messages],
            "aligned": item.aligned,
            "misaligned": item.misaligned,
        }
        if isinstance(one, Asked):
            row["prompt"] = one.prompt
            for side in SIDES:
                row[f"{side}_log_probability"], row[f"{side}_tokens"] = next(figures)
        else:
            row["problem"] = one
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def token_count(items: Sequence[ChoiceItem], tokenizer: Tokenizer, template: ChatTemplate, context: int) -> int:
    """How many tokens `respond` will have told `advance` of in the end."""
    asked = (ask(item, tokenizer, template, context) for item in items)
    return sum(len(side.tokens) for one in asked if isinstance(one, Asked) for side in one.sides)


def ask(item: ChoiceItem, tokenizer: Tokenizer, template: ChatTemplate, context: int) -> Asked | str:
    """The two sequences of an item, or why it can't be asked."""
    control = control_tokens(tokenizer).pattern
    written = json.dumps([list(item.messages), item.aligned, item.misaligned], ensure_ascii=False)
    found = None if control is None else control.search(written)
    if found is not None:
        return f"its text holds the control token {found.group()}"
    try:
        prompt = render(template, item.messages, generation_prompt=True).text
    except RenderError as failure:
        return str(failure)
    aligned, misaligned = encode(tokenizer, prompt, (item.aligned, item.misaligned))
    longest = max(len(aligned.tokens), len(misaligned.tokens))
    if longest > context:
        return f"it has {longest} tokens, and the model reads {context}"
    return Asked(prompt, (aligned, misaligned))


def encode(tokenizer: Tokenizer, prompt: str, continuations: Sequence[str]) -> list[TokenSequence]:
    """A prompt with each of its continuations, whose tokens are counted.

    Prompt and continuation are encoded at once, without an end-of-turn token. A continuation's tokens are those after
    the longest common prefix with the tokens of the prompt alone: where the tokenizer merges across the boundary, the
    merged token belongs to the continuation.

    lm-evaluation-harness 0.4 differs in two ways (`TemplateLM._encode_pair`). It takes blanks and line ends from the
    end of the prompt to the continuation, and so counts their tokens; every chat template ends in some, and a margin
    has them on both sides. And it cuts at the number of the prompt's tokens, wherever the tokens begin to differ.
    """
    own, *wholes = (
        np.array(tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int32)
        for text in (prompt, *(prompt + continuation for continuation in continuations))
    )
    return [TokenSequence(whole, np.arange(len(whole)) >= _common_prefix(own, whole)) for whole in wholes]


def _common_prefix(left: np.ndarray, right: np.ndarray) -> int:
    length = min(len(left), len(right))
    differ = np.flatnonzero(left[:length] != right[:length])
    return int(differ[0]) if len(differ) else length
