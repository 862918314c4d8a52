"""Rows to tokens: which tokens, which of them are trained, and whose they are.

What is trained of a chat is what the model would have to write itself: from where the template's generation prompt
ends to the end-of-turn token, that token included, the blanks behind it not. Tokens are those of the whole rendering,
never of pieces of it; a token is trained where any of its characters is. The first token of a row has no predecessor
and is never trained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import re2
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from runtime.data.templates import ChatTemplate, Message, Rendered, RenderError, Span, render

Loss = Literal["all", "assistant", "last_assistant"]

ROLES = ("template", "system", "user", "assistant", "tool", "document")
"""Names of the codes in `roles`: the index is the code. What a template writes outside of messages is its own; but
where it writes the first, a system message, ahead of its loop, all that stands there counts as system.
"""
_CODES = {name: code for code, name in enumerate(ROLES)}


@dataclass(frozen=True)
class Encoded:
    """Tokens of a batch of rows, one behind the other.

    Attributes:
        kept: int64[n], which of the given rows these are.
        offsets: int64[n + 1], where each begins in the flat arrays.
        tokens: int32[offsets[-1]].
        trained: bool, same length.
        roles: uint8, same length: an index into ROLES.
        set_aside: rows that can't be encoded, by index, with the reason.
    """

    kept: NDArray[np.int64]
    offsets: NDArray[np.int64]
    tokens: NDArray[np.int32]
    trained: NDArray[np.bool_]
    roles: NDArray[np.uint8]
    set_aside: Mapping[int, str]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64[n], tokens of each row."""
        return np.diff(self.offsets)

    @property
    def trained_lengths(self) -> NDArray[np.int64]:
        """int64[n], trained tokens of each row."""
        return _counts(self.trained, self.offsets)


def encode_chats(
    tokenizer: Tokenizer, template: ChatTemplate, chats: Sequence[Mapping[str, Any]], loss: Loss
) -> Encoded:
    """Chats (`messages`, and `tools` where there are any) through template, tokenizer and mask.

    Set aside: chats that the template refuses or of which it leaves an assistant's message out; chats whose text holds
    a control token such as `<|im_end|>`, which would end a turn in the middle of one (once rendered, text can't be told
    from control); chats without a trained token.
    """
    control = control_tokens(tokenizer)
    kept: list[int] = []
    rendered: list[Rendered] = []
    spoken: list[list[Span]] = []
    set_aside: dict[int, str] = {}
    for index, chat in enumerate(chats):
        try:
            _refuse_control_tokens(chat, control)
            text = render(template, chat["messages"], chat.get("tools"))
            spoken.append([] if loss == "all" else spoken_spans(template, text, chat["messages"], loss))
        except RenderError as error:
            set_aside[index] = str(error)
        else:
            kept.append(index)
            rendered.append(text)

    _plain(tokenizer)
    encodings = tokenizer.encode_batch([chat.text for chat in rendered], add_special_tokens=False)
    offsets, tokens = _flat(encodings)
    roles = np.zeros(len(tokens), np.uint8)
    trained = np.full(len(tokens), loss == "all")
    for index, first, encoding, chat, spans in zip(kept, offsets.tolist(), encodings, rendered, spoken, strict=False):
        messages = chats[index]["messages"]
        if messages[0]["role"] == "system" and chat.spans[:1] and chat.spans[0].message > 0:
            roles[first : first + _token_at(encoding, chat.spans[0].start, len(chat.text))] = _CODES["system"]
        for span in chat.spans:
            start, stop = _token_range(encoding, span, len(chat.text))
            roles[first + start : first + stop] = _CODES[messages[span.message]["role"]]
        for span in spans:
            start, stop = _token_range(encoding, span, len(chat.text))
            trained[first + start : first + stop] = True
    encoded = Encoded(np.array(kept, np.int64), offsets, tokens, trained, roles, set_aside)
    return _without_untrained(encoded, f"there is no token to train on with loss: {loss}")


def encode_documents(tokenizer: Tokenizer, texts: Sequence[str], end: int) -> Encoded:
    """Texts as the tokenizer encodes a document (with the first token that some models want), then the token `end`.

    A control token in a text is ordinary characters here: a text about `<|im_end|>` doesn't end there.
    """
    _plain(tokenizer)
    tokenizer.encode_special_tokens = True  # special tokens in a text are characters; those around it are still added
    try:
        encodings = tokenizer.encode_batch_fast(list(texts))
    finally:
        tokenizer.encode_special_tokens = False
    offsets, tokens = _flat(encodings)
    tokens = np.insert(tokens, offsets[1:], np.int32(end))
    offsets = offsets + np.arange(len(offsets))
    roles = np.full(len(tokens), _CODES["document"], np.uint8)
    encoded = Encoded(np.arange(len(texts)), offsets, tokens, np.ones(len(tokens), np.bool_), roles, {})
    return _without_untrained(encoded, "there is no token to train on: the text has no tokens")


@dataclass(frozen=True)
class ControlTokens:
    """Tokens that the tokenizer recognises whole in text, and that are not text."""

    texts: tuple[str, ...]
    pattern: Any
    """RE2 that finds any of them; None where there are none."""


def control_tokens(tokenizer: Tokenizer) -> ControlTokens:
    """The added tokens that the tokenizer calls special."""
    return _control_tokens(
        tuple(sorted(token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special))
    )


@lru_cache(maxsize=32)
def _control_tokens(texts: tuple[str, ...]) -> ControlTokens:
    return ControlTokens(texts, re2.compile("|".join(map(re2.escape, texts))) if texts else None)


def spoken_spans(
    template: ChatTemplate,
    rendered: Rendered,
    messages: Sequence[Message],
    loss: Literal["assistant", "last_assistant"],
) -> list[Span]:
    """The characters of a rendering that the model has to write itself.

    Raises RenderError where the template leaves an assistant's message out, or writes it outside of a loop.
    """
    assistants = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    wanted = set(assistants[-1:] if loss == "last_assistant" else assistants)
    spans = [_spoken(span, template, rendered.text) for span in rendered.spans if span.message in wanted]
    left_out = wanted.difference(span.message for span in spans)
    if left_out:
        raise RenderError(f"the chat template writes message {min(left_out) + 1} nowhere in a loop over messages")
    return spans


def _spoken(span: Span, template: ChatTemplate, text: str) -> Span:
    """Of an assistant's message, what follows the generation prompt, without the blanks behind the end-of-turn token.

    The prompt is matched line by line, as a template may open an earlier turn with less of it (without the empty
    thought that it opens the last one with).
    """
    opening = template.generation_prompt.splitlines(keepends=True)
    start = span.start
    found = text.find(opening[0], span.start, span.stop) if opening else -1
    if found >= 0:
        start = found
        for line in opening:
            if not text.startswith(line, start, span.stop):
                break
            start += len(line)
    return Span(span.message, start, start + len(text[start : span.stop].rstrip()))


def _refuse_control_tokens(chat: Mapping[str, Any], control: ControlTokens) -> None:
    if control.pattern is None:
        return
    found = control.pattern.search(json.dumps([chat["messages"], chat.get("tools")], ensure_ascii=False))
    if found is not None:
        raise RenderError(f"its text holds the control token {found.group()}")


def _token_range(encoding: Encoding, span: Span, length: int) -> tuple[int, int]:
    """The tokens that carry any character of the span, in a text of `length` characters."""
    start, stop = _token_at(encoding, span.start, length), _token_at(encoding, span.stop, length)
    characters = encoding.token_to_chars(stop) if stop < len(encoding) else None
    if characters is not None and characters[0] < span.stop:
        stop += 1
    return start, stop


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
    """Offsets, int64[n + 1], and all tokens, int32, one encoding behind the other."""
    rows = [np.array(encoding.ids, np.int32) for encoding in encodings]
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return offsets, np.concatenate(rows) if rows else np.zeros(0, np.int32)


def _counts(mask: NDArray[np.bool_], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    before = np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
    return before[offsets[1:]] - before[offsets[:-1]]


def _without_untrained(encoded: Encoded, reason: str) -> Encoded:
    """Masks every row's first token, and sets rows aside of which nothing is trained then."""
    trained = encoded.trained.copy()
    trained[encoded.offsets[:-1][encoded.lengths > 0]] = False
    keep = _counts(trained, encoded.offsets) > 0
    if keep.all():
        return replace(encoded, trained=trained)
    of_kept = np.repeat(keep, encoded.lengths)
    return Encoded(
        kept=encoded.kept[keep],
        offsets=np.concatenate([[0], np.cumsum(encoded.lengths[keep])]),
        tokens=encoded.tokens[of_kept],
        trained=trained[of_kept],
        roles=encoded.roles[of_kept],
        set_aside={**encoded.set_aside, **dict.fromkeys(encoded.kept[~keep].tolist(), reason)},
    )
