"""Rows to tokens, in batches: measured, or written to a token store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.data.encode import Encoded, Loss, encode_chats, encode_documents
from runtime.data.read import Broken, check_broken
from runtime.data.rows import Format, Rows
from runtime.data.store import TokenStore, write_store
from runtime.data.template_facts import template_facts
from runtime.data.templates import ChatTemplate, chat_template
from runtime.errors import UserError
from runtime.weights.tokenizer import ModelTokenizer

BATCH = 1024
"""Rows that go through the tokenizer at once."""


@dataclass(frozen=True)
class Consumer:
    """Who reads the tokens: a model's tokenizer and template, and what of a chat is trained."""

    model: ModelTokenizer
    loss: Loss
    template_args: Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """Lengths of rows for a consumer.

    Attributes:
        kept: int64[n], numbers of the rows that the consumer can read.
        tokens, trained: int64[n], tokens of these rows, and trained tokens.
        set_aside: the others.
    """

    kept: NDArray[np.int64]
    tokens: NDArray[np.int64]
    trained: NDArray[np.int64]
    set_aside: tuple[Broken, ...]


@dataclass(frozen=True)
class Tokenized:
    """A store of the rows that the consumer can read, the others, and what the template does to them in sentences."""

    store: TokenStore
    set_aside: tuple[Broken, ...]
    notes: tuple[str, ...]


def measure(rows: Rows, format: Format, consumer: Consumer) -> Measured:
    """Tokenizes without writing: what `filter` and `take` ask for. Errors as in `tokenize`."""
    set_aside: list[Broken] = []
    pieces = [(piece.kept + first, piece) for first, piece in _pieces(rows, format, consumer, set_aside)]
    return Measured(
        kept=np.concatenate([kept for kept, _ in pieces]),
        tokens=np.concatenate([piece.lengths for _, piece in pieces]),
        trained=np.concatenate([piece.trained_lengths for _, piece in pieces]),
        set_aside=tuple(set_aside),
    )


def tokenize(rows: Rows, format: Format, consumer: Consumer, folder: Path) -> Tokenized:
    """Writes the rows' tokens into an empty folder.

    Raises:
        UserError: more than 1% of the rows can't be read by the consumer, or it has no template or no end token.
    """
    set_aside: list[Broken] = []
    store = write_store(folder, rows, _pieces(rows, format, consumer, set_aside))
    return Tokenized(store, tuple(set_aside), _notes(rows, format, consumer))


def count_reasons(broken: tuple[Broken, ...]) -> Mapping[str, int]:
    """How many were set aside, by the reason."""
    return Counter(item.reason for item in broken)


def template_of(consumer: Consumer) -> ChatTemplate:
    """The consumer's chat template, given its special tokens as text. UserError where there is none."""
    model = consumer.model
    named = {"bos_token": model.bos, "eos_token": model.eos, "pad_token": model.pad, "unk_token": model.unknown}
    special = {name: text for name, token in named.items() if (text := model.text(token)) is not None}
    return chat_template(model.chat_template, special, consumer.template_args)


def _pieces(rows: Rows, format: Format, consumer: Consumer, set_aside: list[Broken]) -> Iterator[tuple[int, Encoded]]:
    """Batches with the number of their first row; fills `set_aside`, and raises at the end where that is too much."""
    tokenizer, end = consumer.model.tokenizer, consumer.model.eos
    if format == "documents" and end is None:
        raise UserError("the model names no end token, which documents end with", "use a model that has one")
    template = template_of(consumer) if format == "chat" else None
    for first in range(0, len(rows), BATCH):
        records = list(rows.records(first, min(first + BATCH, len(rows))))
        if template is None:
            assert end is not None
            piece = encode_documents(tokenizer, [record["text"] for record in records], end)
        else:
            piece = encode_chats(tokenizer, template, records, consumer.loss)
        for number, reason in sorted(piece.set_aside.items()):
            file, _, line = rows.place(first + number).rpartition(":")
            set_aside.append(Broken(file, int(line), reason))
        yield first, piece
    check_broken(set_aside, len(rows), _mend(set_aside))


def _mend(set_aside: list[Broken]) -> str:
    if any("no token to train on" in item.reason for item in set_aside):
        return "take chats without an assistant's message out with `filter(turns >= 1)`"
    if any("control token" in item.reason for item in set_aside):
        return "write such tokens in another way in the data, or take these records out"
    return "name a template that can write these chats with `template:`, or take them out with `filter`"


def _notes(rows: Rows, format: Format, consumer: Consumer) -> tuple[str, ...]:
    if format == "documents":
        return ()
    tools = system = 0
    for record in rows.records():
        tools += bool(record.get("tools"))
        system += any(message["role"] == "system" for message in record["messages"])
    facts = template_facts(template_of(consumer))
    return facts.notes(has_tools=tools > 0, has_system=system > 0, lacks_system=system < len(rows))
