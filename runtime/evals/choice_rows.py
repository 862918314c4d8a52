"""Reads choice files: prompts with an aligned and a misaligned continuation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runtime.data.broken import Broken, BrokenError, check_broken
from runtime.data.locations import name_of
from runtime.data.messages import ROLES
from runtime.data.read import Reading
from runtime.data.rows import Record, Rows, canonical_json, make_rows
from runtime.data.templates import Message
from runtime.errors import UserError
from runtime.evals.score import item_name

SIDES = ("aligned", "misaligned")


@dataclass(frozen=True)
class ChoiceItem:
    """A row of a choice file."""

    identity: str
    id: str | None
    messages: tuple[Message, ...]
    aligned: str
    misaligned: str


def read_choices(files: Sequence[Path], root: Path, names: Mapping[Path, str] = MappingProxyType({})) -> Reading:
    """The rows of choice files, numbered by what they are.

    A record has `messages`, or `prompt` for a single message of the user; `aligned` and `misaligned`, two texts; maybe
    an `id`; and whatever else. In the rows every record has `messages`.

    Args:
        files: JSON lines.
        root: files are named relative to it, where they lie in it.
        names: what files are called that aren't known by their paths, as those fetched from elsewhere.

    Raises:
        UserError: there is no record, or more than 1% of the records are broken.
    """
    records: list[Record] = []
    broken: list[Broken] = []
    for path in files:
        name = names.get(path) or name_of(path, root)
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if not line.strip():
                continue
            try:
                canonical, record = _record(line)
                records.append(Record(canonical, json.dumps(record, ensure_ascii=False), name, number))
            except BrokenError as error:
                broken.append(Broken(name, number, str(error)))
    if not records and not broken:
        raise UserError("there is no item to ask", "write rows with `messages`, `aligned` and `misaligned`")
    check_broken(len(broken), broken, len(records) + len(broken), "mend these lines or delete them")
    return Reading(make_rows(records), tuple(broken), {"choice": len(records)}, {})


def choice_items(rows: Rows) -> list[ChoiceItem]:
    """The items of rows that `read_choices` gave."""
    names = zip(map(bytes, rows.identity), rows.occurrence.tolist(), strict=True)
    return [
        ChoiceItem(
            identity=item_name(*name),
            id=None if record.get("id") is None else str(record["id"]),
            messages=tuple(record["messages"]),
            aligned=record["aligned"],
            misaligned=record["misaligned"],
        )
        for name, record in zip(names, rows.records(), strict=True)
    ]


def _record(line: bytes) -> tuple[str, dict[str, Any]]:
    """Canonical JSON of what is written, and the record with `messages`; BrokenError."""
    try:
        written = json.loads(line)
        canonical = canonical_json(written)
        canonical.encode()
    except (ValueError, RecursionError) as error:
        raise BrokenError(f"it is not JSON in UTF-8: {error}") from error
    if not isinstance(written, dict):
        raise BrokenError("it is JSON, but not an object: each line holds one record in braces")
    if ("messages" in written) == ("prompt" in written):
        raise BrokenError("it needs `messages` or `prompt`, and not both")
    record = dict(written)
    if "prompt" in record:
        record["messages"] = [{"role": "user", "content": record.pop("prompt")}]
    _check_messages(record["messages"])
    for side in SIDES:
        if not _is_text(record.get(side)):
            raise BrokenError(f"it has no text in `{side}`")
    if record["aligned"] == record["misaligned"]:
        raise BrokenError("`aligned` and `misaligned` are the same")
    return canonical, record


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise BrokenError("`messages` is not a list of messages")
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise BrokenError(f"message {number} has no `role` that is one of {', '.join(ROLES)}")
        if not _is_text(message.get("content")):
            raise BrokenError(f"message {number} has no text in `content`")
    if messages[-1]["role"] == "assistant":
        raise BrokenError("the last message is the assistant's, and the continuations are its answer")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
