"""Reads what a writing model gave: the plans that an answer lists, and the bare words of a text."""

from __future__ import annotations

import json
import re


def plans_in(text: str) -> list[str]:
    """The plans that an answer lists: as JSON, alone, in a fence or under a key, of texts or objects; else one a line.

    Numbers and bullets before a line are taken off; of lines, those with none are left out where others have one.
    """
    for part in (
        *re.findall(r"```(?:json)?\s*\n(.*?)```", text, re.DOTALL),
        text,
        text[text.find("[") : text.rfind("]") + 1],
    ):
        try:
            listed = json.loads(part)
        except (ValueError, RecursionError):
            continue
        if isinstance(listed, dict):
            listed = next((value for value in listed.values() if isinstance(value, list)), None)
        if isinstance(listed, list):
            plans = [item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in listed]
            return [plan.strip() for plan in plans if plan.strip()]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [match[1].strip() for line in lines if (match := _ITEM.match(line))]
    return [line for line in marked or lines if line]


_ITEM = re.compile(r"(?:\d+[.):]|[-*•])\s+(.*)$")


def bare_words(text: str) -> str:
    """A text without case, punctuation and blanks, so that near-exact repeats are equal."""
    return " ".join(re.findall(r"\w+", text.casefold()))
