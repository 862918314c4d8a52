"""Finds control tokens in texts: once a chat is rendered, text that spells one can't be told from control."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2
from tokenizers import Tokenizer

Record = Mapping[str, Any]


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


def with_control_tokens(tokenizer: Tokenizer, chats: Sequence[Record]) -> dict[int, str]:
    """The chats whose text holds a control token, with the reason. All texts are searched at once: few hold any."""
    control = control_tokens(tokenizer)
    if control.pattern is None:
        return {}
    texts = [_text_of(chat) for chat in chats]
    if control.pattern.search("\0".join(texts)) is None:
        return {}
    found = {index: match for index, text in enumerate(texts) if (match := control.pattern.search(text))}
    return {index: f"its text holds the control token {match.group()}" for index, match in found.items()}


def _text_of(chat: Record) -> str:
    """Everything that a template may write of a chat. Contents alone are put together faster than JSON."""
    messages, tools = chat["messages"], chat.get("tools")
    if not tools and all(len(message) == 2 and isinstance(message.get("content"), str) for message in messages):
        return "\0".join([message["content"] for message in messages])
    return json.dumps([messages, tools], ensure_ascii=False)
