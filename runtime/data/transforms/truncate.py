"""Cuts rows to a number of tokens: documents at the end of a token, chats behind a whole exchange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from runtime.data.encode import document_encodings, encode
from runtime.data.rows import Format, Rows, derived
from runtime.data.templates import ChatTemplate, Message, RenderError, render
from runtime.data.tokenize import Consumer, template_of
from runtime.data.transforms.outcome import Outcome, Tally
from runtime.errors import UserError

Record = Mapping[str, Any]


def truncate_rows(rows: Rows, format: Format, tokens: int, consumer: Consumer, path: Path) -> Outcome:
    """The rows, none longer than `tokens` for the consumer, its end token included.

    A document is cut at the end of a token. Of a chat the leading whole exchanges stay, as many as fit, so it ends with
    an answer; one whose first exchange doesn't fit is dropped. Prompts and pairs that are too long are dropped: half of
    one means something else. A row that the consumer can't read stays as it is, for whoever tokenizes it to count.

    Args:
        path: the Parquet file of the rows.

    Raises:
        UserError: no row is left.
    """
    tokenizer = consumer.model.tokenizer
    template = None if format == "documents" else template_of(consumer)
    dropped = Tally()
    cut = 0

    def shortened() -> Iterator[tuple[int, Record]]:
        nonlocal cut
        for first, records in rows.batches():
            lengths = _lengths(format, tokenizer, template, records, consumer)
            for number, (record, length) in enumerate(zip(records, lengths, strict=True), first):
                if length <= tokens:
                    yield number, record
                    continue
                shorter = _shorter(format, tokenizer, template, record, tokens)
                if shorter is None:
                    dropped.add(f"longer than {tokens:,} tokens", rows.place(number), f"{length:,} tokens")
                else:
                    cut += 1
                    yield number, shorter

    result = derived(rows, shortened(), path)
    if not len(result):
        raise UserError(
            f"none of {len(rows):,} rows is left by truncate({tokens:,} tokens)", "give the rows more tokens"
        )
    note = f"{cut:,} of {len(rows):,} rows were cut at {tokens:,} tokens"
    return Outcome(result, dropped=dropped, notes=(note,) if cut else ())


def fit_document(tokenizer: Tokenizer, text: str, tokens: int) -> str:
    """The beginning of a text that, with the end token behind it, has at most so many tokens; cut where one ends."""

    def too_long(part: str) -> bool:
        return len(document_encodings(tokenizer, [part])[0]) + 1 > tokens

    if not too_long(text):
        return text
    encoding = document_encodings(tokenizer, [text], places=True)[0]
    for token in range(min(tokens, len(encoding)) - 1, -1, -1):
        characters = encoding.token_to_chars(token)
        if characters is not None and not too_long(text[: characters[1]]):
            return text[: characters[1]]
    return ""


def fit_chat(
    tokenizer: Tokenizer,
    template: ChatTemplate,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None,
    tokens: int,
) -> Sequence[Message] | None:
    """The most leading whole exchanges of a chat that have at most so many tokens; None where not even one fits.

    An exchange ends with the assistant's last message before the user speaks again. Templates write a turn differently
    once another follows, so what is left is rendered anew.
    """

    def length(count: int) -> int:
        text = render(template, messages[:count], tools).text
        return len(tokenizer.encode(text, add_special_tokens=False))

    whole = render(template, messages, tools)
    encoding = tokenizer.encode(whole.text, add_special_tokens=False)
    if len(encoding) <= tokens:
        return messages
    for count in reversed(_exchange_ends(messages)):
        ends = [span.stop for span in whole.spans if span.message == count - 1]
        last = encoding.char_to_token(max(ends) - 1) if ends else None
        far_too_long = last is not None and last > tokens + _REWRITTEN
        if not far_too_long and length(count) <= tokens:
            return messages[:count]
    return None


_REWRITTEN = 64
"""Tokens by which a chat may get shorter when it is cut, as its last turn is written otherwise."""


def _exchange_ends(messages: Sequence[Message]) -> list[int]:
    """How many messages there are up to the end of each exchange."""
    followers = [message["role"] for message in messages[1:]] + ["user"]
    return [
        count
        for count, (message, follower) in enumerate(zip(messages, followers, strict=True), 1)
        if message["role"] == "assistant" and follower in ("user", "system")
    ]


def _lengths(
    format: Format, tokenizer: Tokenizer, template: ChatTemplate | None, records: Sequence[Record], consumer: Consumer
) -> list[int]:
    """Tokens that each row takes of a sequence; 0 for one that can't be encoded."""
    encoded = encode(format, tokenizer, template, records, "all", end=consumer.model.eos)
    lengths = [0] * len(records)
    for number, length in zip(encoded.kept.tolist(), encoded.longest.tolist(), strict=True):
        lengths[number] = length
    return lengths


def _shorter(
    format: Format, tokenizer: Tokenizer, template: ChatTemplate | None, record: Record, tokens: int
) -> Record | None:
    if "tokens" in record:
        cut = {name: record[name][:tokens] for name in ("tokens", "trained") if record.get(name) is not None}
        return {**record, **cut}
    if format == "documents":
        text = fit_document(tokenizer, record["text"], tokens)
        return {**record, "text": text} if text.strip() else None
    if format != "chat":
        return None
    assert template is not None
    try:
        messages = fit_chat(tokenizer, template, record["messages"], record.get("tools"), tokens)
    except RenderError:
        return None
    return None if messages is None else {**record, "messages": list(messages)}
