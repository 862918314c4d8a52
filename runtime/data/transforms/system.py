"""Adds system prompts to rows that have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from runtime.data.keys import key
from runtime.data.lines import text_of_file
from runtime.data.rows import Rows, derived
from runtime.data.transforms.outcome import Outcome
from runtime.data.transforms.pool import (
    JSON_LINES,
    Item,
    choice_hashes,
    content_hashes,
    given,
    json_items,
    messages_in,
    ranked,
)
from runtime.errors import UserError

_SYSTEM = key(0, "system", "", 0)
_WHOLE_FILES = (".md", ".markdown", ".txt")
_KEYS = ("text", "system", "prompt")


def read_system_prompts(paths: Sequence[Path]) -> list[str]:
    """The system prompts of all files, each once, in an order that follows from them alone.

    A Markdown or text file is one prompt. JSON lines and a list in JSON hold strings, or objects with the prompt in
    `text`, `system` or `prompt`.

    Raises UserError where a file can't be read, or what is in it isn't a prompt.
    """
    prompts = {_prompt(item) for path in paths for item in _items(path)}
    return sorted(prompts)


def add_system(rows: Rows, prompts: Sequence[str], chance: Fraction, path: Path) -> Outcome:
    """Puts one of the prompts before the messages of about the share `chance` of the rows; those stay as they are.

    A row that has a system message keeps it and gets no other.

    Args:
        path: the Parquet file of the new rows.

    Raises:
        UserError: there is no prompt.
    """
    if not prompts:
        raise UserError("the files hold no system prompt", "write at least one")
    drawn = given(rows, _SYSTEM, chance)
    hashes, contents = choice_hashes(rows, _SYSTEM), content_hashes(prompts)
    used: Counter[str] = Counter()
    own = 0

    def made() -> Iterator[tuple[int, dict[str, Any]]]:
        nonlocal own
        for number, record in rows.numbered():
            messages = messages_in(record, rows, number)
            has_own = any(message["role"] == "system" for message in messages)
            own += has_own
            if has_own or not drawn[number]:
                yield number, record
                continue
            prompt = prompts[int(ranked(hashes[number], contents)[0])]
            used[prompt] += 1
            yield number, {**record, "messages": [{"role": "system", "content": prompt}, *messages]}

    result = derived(rows, made(), path)
    notes = [f"{used.total():,} of {len(rows):,} rows got one of {len(used):,} system prompts, of {len(prompts):,}"]
    if own:
        notes.append(f"{own:,} of {len(rows):,} rows have a system prompt of their own and keep it")
    return Outcome(result, notes=tuple(notes))


def _items(path: Path) -> Iterator[Item]:
    suffix = path.suffix.lower()
    if suffix in _WHOLE_FILES:
        return iter([Item(text_of_file(path, path.as_posix()).strip(), path.as_posix())])
    if suffix in (".json", *JSON_LINES):
        return json_items(path)
    known = ", ".join((*JSON_LINES, ".json", *_WHOLE_FILES))
    raise UserError(f"can't read a file that ends in '{path.suffix}'", f"use one of {known}", path.as_posix())


def _prompt(item: Item) -> str:
    value = item.value
    if isinstance(value, dict):
        named = [name for name in _KEYS if name in value]
        if len(named) != 1:
            raise UserError("this is no system prompt", f"name it by one of {', '.join(_KEYS)}", item.place)
        value = value[named[0]]
    if not isinstance(value, str) or not value.strip():
        raise UserError("this is no system prompt, which is a text", "write one in double quotes", item.place)
    return value
