"""Rows to tokens, piece by piece and on every core: measured, or written to a token store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.data.broken import SHOWN, check_broken
from runtime.data.encode import encode
from runtime.data.encoded import Encoded, Loss, Reasoning
from runtime.data.engine import Engine, engine_for
from runtime.data.rows import Format, Rows
from runtime.data.store import TokenStore, dropped_of, finish_store, pieces_done, set_aside_of, write_piece
from runtime.data.template_facts import template_facts
from runtime.data.templates import ChatTemplate, chat_template
from runtime.data.transforms.outcome import Tally
from runtime.errors import UserError
from runtime.weights.tokenizer import ModelTokenizer

PIECE = 1 << 20
"""Bytes of records that are tokenized at once and written as one: bounds memory, and what a killed process loses."""

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Consumer:
    """Who reads the tokens: a model's tokenizer and template, and what of a chat is trained."""

    model: ModelTokenizer
    loss: Loss
    template_args: Mapping[str, Any]
    reasoning: Reasoning = "train"


@dataclass(frozen=True)
class Measured:
    """Lengths of rows for a consumer.

    Attributes:
        kept: int64[n], numbers of the rows that the consumer can read.
        tokens, trained: int64[n], tokens of these rows, and trained tokens; of a pair those of both sides.
        longest: int64[n], tokens that each takes of a sequence: of a pair those of its longer side.
        set_aside: the others.
    """

    kept: NDArray[np.int64]
    tokens: NDArray[np.int64]
    trained: NDArray[np.int64]
    longest: NDArray[np.int64]
    set_aside: Tally


@dataclass(frozen=True)
class Tokenized:
    """A store of the rows that the consumer can read, the others, and what the template does to them in sentences."""

    store: TokenStore
    set_aside: Tally
    notes: tuple[str, ...]


def measure(
    rows: Rows,
    format: Format,
    consumer: Consumer,
    engine: Engine | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Measured:
    """Tokenizes without writing: what `filter` and `take` ask for. Arguments and errors as in `tokenize`."""
    _check(format, consumer)
    cuts = rows.pieces(PIECE)
    parts = (rows.select(np.arange(first, last)) for first, last in cuts)
    pieces: list[_Lengths] = []
    with closing(_of(engine, rows).map(partial(_lengths, format, consumer), parts)) as measured:
        for (_, last), piece in zip(cuts, measured, strict=True):
            pieces.append(piece)
            progress(last)
    firsts = [first for first, _ in cuts]
    return Measured(
        kept=np.concatenate([_NONE, *(first + piece.kept for first, piece in zip(firsts, pieces, strict=True))]),
        tokens=np.concatenate([_NONE, *(piece.tokens for piece in pieces)]),
        trained=np.concatenate([_NONE, *(piece.trained for piece in pieces)]),
        longest=np.concatenate([_NONE, *(piece.longest for piece in pieces)]),
        set_aside=_set_aside(rows, zip(firsts, (piece.set_aside for piece in pieces), strict=True)),
    )


def tokenize(
    rows: Rows,
    format: Format,
    consumer: Consumer,
    folder: Path,
    engine: Engine | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Tokenized:
    """Writes the rows' tokens into a folder.

    What a killed process left in the folder is kept, and the rest is done; the store doesn't depend on it, nor on who
    did which piece.

    Args:
        folder: empty, or of an earlier try at the same rows for the same consumer.
        engine: where it is done; None is every core of this machine, where that is worth it.
        progress: told the rows that are through, again and again; what it raises ends the work.

    Raises:
        UserError: more than 1% of the rows can't be read by the consumer, or it has no template or no end token.
    """
    _check(format, consumer)
    cuts = rows.pieces(PIECE)
    done = pieces_done(folder)
    missing = [(number, *cut) for number, cut in enumerate(cuts) if number not in done]
    parts = ((number, rows.select(np.arange(first, last))) for number, first, last in missing)
    with closing(_of(engine, rows).map(partial(_write, format, consumer, folder), parts)) as written:
        for (_, _, last), _ in zip(missing, written, strict=True):
            progress(last)
    unread = [(first, set_aside_of(folder, number)) for number, (first, _) in enumerate(cuts)]
    set_aside = _set_aside(rows, unread)
    dropped: Counter[str] = Counter()
    for number in range(len(cuts)):
        dropped.update(dropped_of(folder, number))
    return Tokenized(finish_store(folder, len(cuts)), set_aside, _notes(rows, format, consumer, dropped))


def template_of(consumer: Consumer) -> ChatTemplate:
    """The consumer's chat template, given its special tokens as text. UserError where there is none."""
    model = consumer.model
    named = {"bos_token": model.bos, "eos_token": model.eos, "pad_token": model.pad, "unk_token": model.unknown}
    special = {name: text for name, token in named.items() if (text := model.text(token)) is not None}
    return chat_template(model.chat_template, special, consumer.template_args)


def _check(format: Format, consumer: Consumer) -> None:
    """UserError where the consumer can't read rows of the format at all."""
    if format != "documents":
        template_of(consumer)
    elif consumer.model.eos is None:
        raise UserError("the model names no end token, which documents end with", "use a model that has one")


def _of(engine: Engine | None, rows: Rows) -> Engine:
    return engine_for(int(rows.sizes.sum())) if engine is None else engine


def _encode(format: Format, consumer: Consumer, rows: Rows) -> Encoded:
    template = None if format == "documents" else template_of(consumer)
    tokenizer, end = consumer.model.tokenizer, consumer.model.eos
    return encode(format, tokenizer, template, list(rows.records()), consumer.loss, consumer.reasoning, end)


def _lengths(format: Format, consumer: Consumer, rows: Rows) -> _Lengths:
    encoded = _encode(format, consumer, rows)
    return _Lengths(encoded.kept, encoded.lengths, encoded.trained_lengths, encoded.longest, encoded.set_aside)


@dataclass(frozen=True)
class _Lengths:
    """`Measured` of a piece; rows are numbered within it."""

    kept: NDArray[np.int64]
    tokens: NDArray[np.int64]
    trained: NDArray[np.int64]
    longest: NDArray[np.int64]
    set_aside: Mapping[int, str]


def _write(format: Format, consumer: Consumer, folder: Path, piece: tuple[int, Rows]) -> None:
    number, rows = piece
    write_piece(folder, number, _encode(format, consumer, rows), rows.identity, rows.occurrence)


def _set_aside(rows: Rows, pieces: Iterable[tuple[int, Mapping[int, str]]]) -> Tally:
    """The rows that pieces couldn't read, each piece given with the number of its first row; too many raise."""
    tally = Tally()
    first_few: list[str] = []
    for first, reasons in pieces:
        for number, reason in sorted(reasons.items()):
            place = rows.place(first + number)
            tally.add(reason, place)
            if len(first_few) < SHOWN:
                first_few.append(f"{place}: {reason}")
    check_broken(tally.total, first_few, len(rows), _mend(tally))
    return tally


def _mend(set_aside: Tally) -> str:
    if any("no token to train on" in reason for reason in set_aside.counts):
        return "take chats without an assistant's message out with `filter(turns >= 1)`"
    if any("control token" in reason for reason in set_aside.counts):
        return "write such tokens in another way in the data, or take these records out"
    if any("tool call that is all" in reason or "no attribute 'content'" in reason for reason in set_aside.counts):
        return (
            "name a template that writes tool calls with `template:`, or leave such chats out: `filter(not has_tools)`"
        )
    return "name a template that can write these chats with `template:`, or take them out with `filter`"


def _notes(rows: Rows, format: Format, consumer: Consumer, dropped: Mapping[str, int]) -> tuple[str, ...]:
    """What the template does to these rows. Looks into a record only where its text says that it may matter."""
    if format == "documents":
        return ()
    has_tools = has_system = lacks_system = False
    for text in rows.texts():
        if not has_tools and '"tools"' in text:
            has_tools = bool(json.loads(text).get("tools"))
        if not (has_system and lacks_system):
            system = '"system"' in text and any(
                each["role"] == "system" for each in json.loads(text).get("messages", ())
            )
            has_system, lacks_system = has_system or system, lacks_system or not system
    return template_facts(template_of(consumer)).notes(has_tools, has_system, lacks_system, dropped)
