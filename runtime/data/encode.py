"""Rows to tokens: which tokens, which of them are trained, and whose they are.

What is trained of a chat is what the model would have to write itself: from where the template's generation prompt
ends to the end-of-turn token, that token included, the blanks behind it not. Tokens are those of the whole rendering,
never of pieces of it; a token is trained where any of its characters is. The first token of a row has no predecessor
and is never trained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from runtime.data.control_tokens import with_control_tokens
from runtime.data.encoded import (
    CODES,
    Encoded,
    Loss,
    Reasoning,
    flat,
    paired,
    to_last_trained,
    together,
    without_untrained,
)
from runtime.data.masks import left_out, trained_spans
from runtime.data.rows import Format
from runtime.data.templates import ChatTemplate, Rendered, RenderError, Span, render

Record = Mapping[str, Any]


def encode(
    format: Format,
    tokenizer: Tokenizer,
    template: ChatTemplate | None,
    records: Sequence[Record],
    loss: Loss,
    reasoning: Reasoning = "train",
    end: int | None = None,
) -> Encoded:
    """Records of any format. A record with `tokens` is encoded already, and stays as it is.

    Args:
        template: needed where a record has messages.
        loss, reasoning: what is trained; of documents it is always everything, of prompts nothing.
        end: the token that documents end with; needed where a record has a text.
    """
    ready = [number for number, record in enumerate(records) if "tokens" in record and format != "preference"]
    if not ready:
        return _encode_texts(format, tokenizer, template, records, loss, reasoning, end)
    others = [number for number in range(len(records)) if "tokens" not in records[number]]
    parts = [_numbered(encode_tokens(tokenizer, [records[number] for number in ready]), ready)]
    if others:
        texts = [records[number] for number in others]
        parts.append(_numbered(_encode_texts(format, tokenizer, template, texts, loss, reasoning, end), others))
    return together(parts)


def _encode_texts(
    format: Format,
    tokenizer: Tokenizer,
    template: ChatTemplate | None,
    records: Sequence[Record],
    loss: Loss,
    reasoning: Reasoning,
    end: int | None,
) -> Encoded:
    if format == "documents":
        assert end is not None
        return encode_documents(tokenizer, [record["text"] for record in records], end)
    assert template is not None
    match format:
        case "chat":
            return encode_chats(tokenizer, template, records, loss, reasoning)
        case "prompts":
            return encode_prompts(tokenizer, template, records)
        case "preference":
            return encode_preferences(tokenizer, template, records, reasoning)


def encode_chats(
    tokenizer: Tokenizer,
    template: ChatTemplate,
    chats: Sequence[Record],
    loss: Loss,
    reasoning: Reasoning = "train",
) -> Encoded:
    """Chats (`messages`, and `tools` where there are any) through template, tokenizer and mask.

    Set aside: chats that the template refuses or of which it leaves an assistant's message out; chats whose text holds
    a control token such as `<|im_end|>`, which would end a turn in the middle of one (once rendered, text can't be told
    from control); chats without a trained token.
    """
    return _encode_read(tokenizer, _read(tokenizer, template, chats, loss, reasoning), loss, reasoning)


@dataclass(frozen=True)
class _Chats:
    """Chats as texts: of those that aren't set aside the number, the rendering and the trained characters."""

    chats: Sequence[Record]
    kept: list[int]
    rendered: list[Rendered]
    trained: list[list[Span]]
    set_aside: dict[int, str]
    dropped: Counter[str]


def _read(
    tokenizer: Tokenizer, template: ChatTemplate, chats: Sequence[Record], loss: Loss, reasoning: Reasoning
) -> _Chats:
    """Renders chats. Set aside and counted as `encode_chats` tells."""
    read = _Chats(chats, [], [], [], with_control_tokens(tokenizer, chats), Counter())
    for index, chat in enumerate(chats):
        if index in read.set_aside:
            continue
        messages, tools = chat["messages"], chat.get("tools")
        try:
            text = render(template, messages, tools)
            spans = trained_spans(template, text, messages, loss, reasoning)
            missing = left_out(text, messages, tools)
        except RenderError as error:
            read.set_aside[index] = str(error)
        else:
            read.kept.append(index)
            read.rendered.append(text)
            read.trained.append(spans)
            read.dropped.update(missing)
    return read


def _encode_read(tokenizer: Tokenizer, read: _Chats, loss: Loss, reasoning: Reasoning) -> Encoded:
    encodings = _encodings(tokenizer, read.rendered)
    offsets, tokens = _flat(encodings)
    roles = np.zeros(len(tokens), np.uint8)
    trained = np.zeros(len(tokens), np.bool_)
    for index, first, encoding, chat, spans in zip(
        read.kept, offsets.tolist(), encodings, read.rendered, read.trained, strict=False
    ):
        places: dict[int, tuple[int, int]] = {}
        _mark_roles(roles, first, encoding, chat, read.chats[index]["messages"], places)
        for span in spans:
            start, stop = _token_range(encoding, span, len(chat.text), places)
            trained[first + start : first + stop] = True
    kept = np.array(read.kept, np.int64)
    encoded = Encoded(kept, offsets, tokens, trained, roles, read.set_aside, read.dropped)
    masked = ", reasoning: mask" if reasoning == "mask" else ""
    return without_untrained(encoded, f"there is no token to train on with loss: {loss}{masked}")


def encode_prompts(tokenizer: Tokenizer, template: ChatTemplate, prompts: Sequence[Record]) -> Encoded:
    """Prompts as a model is asked them, with the generation prompt. Nothing is trained. Set aside as of chats."""
    set_aside = with_control_tokens(tokenizer, prompts)
    kept: list[int] = []
    rendered: list[Rendered] = []
    for index, prompt in enumerate(prompts):
        if index in set_aside:
            continue
        try:
            rendered.append(render(template, prompt["messages"], prompt.get("tools"), generation_prompt=True))
            kept.append(index)
        except RenderError as error:
            set_aside[index] = str(error)
    encodings = _encodings(tokenizer, rendered)
    offsets, tokens = _flat(encodings)
    roles = np.zeros(len(tokens), np.uint8)
    for index, first, encoding, chat in zip(kept, offsets.tolist(), encodings, rendered, strict=False):
        _mark_roles(roles, first, encoding, chat, prompts[index]["messages"], {})
    return Encoded(np.array(kept, np.int64), offsets, tokens, np.zeros(len(tokens), np.bool_), roles, set_aside)


def encode_preferences(
    tokenizer: Tokenizer, template: ChatTemplate, pairs: Sequence[Record], reasoning: Reasoning = "train"
) -> Encoded:
    """Of each pair the prompt with the chosen answer, then that with the rejected one, each up to its end of turn.

    What is trained is the answers. Set aside where either side is; where the template writes both sides alike, or the
    prompt before one answer otherwise than before the other.
    """
    sides = [_read(tokenizer, template, _answered(pairs, name), "last_assistant", reasoning) for name in SIDES]
    unequal = _unequal(*sides)
    encoded = [to_last_trained(_encode_read(tokenizer, side, "last_assistant", reasoning)) for side in sides]
    reasons = {
        number: f"its {name} answer: {reason}"
        for name, side in zip(reversed(SIDES), reversed(encoded), strict=True)
        for number, reason in side.set_aside.items()
    }
    set_aside = {**reasons, **unequal}
    chosen, rejected = (side.select(~np.isin(side.kept, list(set_aside))) for side in encoded)
    return replace(paired(chosen, rejected), set_aside=set_aside, dropped=encoded[0].dropped)


SIDES = ("chosen", "rejected")


def _answered(pairs: Sequence[Record], name: str) -> list[Record]:
    return [{**pair, "messages": [*pair["messages"], {"role": "assistant", "content": pair[name]}]} for pair in pairs]


def _unequal(chosen: _Chats, rejected: _Chats) -> dict[int, str]:
    """The pairs that are none once they are rendered, with the reason."""
    reasons: dict[int, str] = {}
    others = dict(zip(rejected.kept, rejected.rendered, strict=True))
    for number, one in zip(chosen.kept, chosen.rendered, strict=True):
        other = others.get(number)
        if other is None:
            continue
        if one.text == other.text:
            reasons[number] = "the chat template writes its chosen and rejected answers alike"
        elif _prompt(one) != _prompt(other):
            reasons[number] = "the chat template writes its prompt otherwise before the chosen than the rejected answer"
    return reasons


def _prompt(chat: Rendered) -> str:
    """What stands before the last message."""
    return chat.text[: chat.spans[-1].start] if chat.spans else ""


def encode_documents(tokenizer: Tokenizer, texts: Sequence[str], end: int) -> Encoded:
    """Texts as the tokenizer encodes a document (with the first token that some models want), then the token `end`.

    A control token in a text is ordinary characters here: a text about `<|im_end|>` doesn't end there.
    """
    encodings = document_encodings(tokenizer, texts)
    offsets, tokens = _flat(encodings)
    tokens = np.insert(tokens, offsets[1:], np.int32(end))
    offsets = offsets + np.arange(len(offsets))
    roles = np.full(len(tokens), CODES["document"], np.uint8)
    encoded = Encoded(np.arange(len(texts)), offsets, tokens, np.ones(len(tokens), np.bool_), roles, {})
    return without_untrained(encoded, "there is no token to train on: the text has no tokens")


def document_encodings(tokenizer: Tokenizer, texts: Sequence[str], places: bool = False) -> Sequence[Encoding]:
    """Texts as the tokenizer encodes documents, without an end token; with `places`, tokens know their characters."""
    _plain(tokenizer)
    tokenizer.encode_special_tokens = True  # special tokens in a text are characters; those around it are still added
    try:
        return (tokenizer.encode_batch if places else tokenizer.encode_batch_fast)(list(texts))
    finally:
        tokenizer.encode_special_tokens = False


def encode_tokens(tokenizer: Tokenizer, records: Sequence[Record]) -> Encoded:
    """Rows that were encoded elsewhere: `tokens`, and perhaps `trained`, as long. Nothing is added.

    Set aside: rows with an id that the tokenizer doesn't have, and those without a trained token.
    """
    vocabulary = tokenizer.get_vocab_size(with_added_tokens=True)
    set_aside: dict[int, str] = {}
    rows: dict[int, NDArray[np.int32]] = {}
    trained: list[NDArray[np.bool_]] = []
    for number, record in enumerate(records):
        tokens = np.array(record["tokens"], np.int64)
        wrong = tokens[(tokens < 0) | (tokens >= vocabulary)]
        if len(wrong):
            set_aside[number] = f"the tokenizer has no token {wrong[0]}: its tokens are 0 to {vocabulary - 1}"
            continue
        rows[number] = tokens.astype(np.int32)
        marks = record.get("trained")
        trained.append(np.ones(len(tokens), np.bool_) if marks is None else np.array(marks, np.bool_))
    offsets, tokens = flat(list(rows.values()))
    roles = np.full(len(tokens), CODES["document"], np.uint8)
    mask = np.concatenate(trained) if trained else np.zeros(0, np.bool_)
    encoded = Encoded(np.array(list(rows), np.int64), offsets, tokens, mask, roles, set_aside)
    return without_untrained(encoded, "there is no token to train on: it marks none behind the first")


def _numbered(encoded: Encoded, numbers: Sequence[int]) -> Encoded:
    """What was made of the rows with these numbers, by those numbers."""
    set_aside = {numbers[index]: reason for index, reason in encoded.set_aside.items()}
    return replace(encoded, kept=np.array(numbers, np.int64)[encoded.kept], set_aside=set_aside)


def _encodings(tokenizer: Tokenizer, rendered: Sequence[Rendered]) -> Sequence[Encoding]:
    """Nothing is added to what the template wrote: a first token that it wants stands there already."""
    _plain(tokenizer)
    return tokenizer.encode_batch([chat.text for chat in rendered], add_special_tokens=False)


def _mark_roles(
    roles: NDArray[np.uint8],
    first: int,
    encoding: Encoding,
    chat: Rendered,
    messages: Sequence[Mapping[str, Any]],
    places: dict[int, tuple[int, int]],
) -> None:
    """Fills in whose the tokens of a chat are, which begins at `first`."""
    if messages[0]["role"] == "system" and chat.spans[:1] and chat.spans[0].message > 0:
        start, _ = _token_range(encoding, chat.spans[0], len(chat.text), places)
        roles[first : first + start] = CODES["system"]
    for span in chat.spans:
        start, stop = _token_range(encoding, span, len(chat.text), places)
        roles[first + start : first + stop] = CODES[messages[span.message]["role"]]


def _token_range(encoding: Encoding, span: Span, length: int, places: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """The tokens that carry any character of the span, in a text of `length` characters.

    `places` keeps what was looked up: where one span ends, the next begins.
    """
    return _place(encoding, span.start, length, places)[0], _place(encoding, span.stop, length, places)[1]


def _place(encoding: Encoding, position: int, length: int, places: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """The first token that carries the character or one behind it, and the first that carries none before it."""
    place = places.get(position)
    if place is None:
        token = behind = _token_at(encoding, position, length) if position else 0
        characters = encoding.token_to_chars(token) if token < len(encoding) else None
        if characters is not None and characters[0] < position:
            behind += 1
        place = places[position] = token, behind
    return place


def _token_at(encoding: Encoding, position: int, length: int) -> int:
    """The token that carries the character, or else the next; a look-up in Rust, as `offsets` makes a slow list."""
    for character in range(position, length):
        token = encoding.char_to_token(character)
        if token is not None:
            return token
    return len(encoding)


def _plain(tokenizer: Tokenizer) -> None:
    """A tokenizer file may carry a serving configuration that cuts or pads texts; nothing is cut unseen here."""
    tokenizer.no_truncation()
    tokenizer.no_padding()


def _flat(encodings: Sequence[Encoding]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    return flat([np.array(encoding.ids, np.int32) for encoding in encodings])
