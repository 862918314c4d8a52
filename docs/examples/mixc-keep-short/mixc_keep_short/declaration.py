"""What a spec can say of `keep_short`. Checkers and editors import this file, so it imports nothing else."""

from __future__ import annotations

from pathlib import Path

from mixc.plugins import Count, Location, Transform, field


class KeepShort(Transform):
    """Drops documents of more than so many words, and gives the others a field `words`."""

    takes = ("documents",)
    makes = ("words",)
    runs = "mixc_keep_short.rows:keep_short"

    most: int = field(Count(low=1), "The most words that a document may have.", positional=True)
    ignore: Path | None = field(Location(), "A file of words that don't count, one a line.", default=None)
