"""What `keep_short` does to rows: imported when they pass, and not before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mixc.plugins import Drop
from mixc_keep_short.declaration import KeepShort


def keep_short(records: Iterator[dict[str, Any]], fields: KeepShort) -> Iterator[dict[str, Any] | Drop]:
    """One result for each record: the record with a field more, or why it is left out."""
    ignored = set() if fields.ignore is None else set(fields.ignore.read_text(encoding="utf-8").split())
    for record in records:
        words = sum(word not in ignored for word in record["text"].split())
        yield {**record, "words": words} if words <= fields.most else Drop(f"more than {fields.most} words")
