"""The nearest right word to a wrong one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `word`, or None where none is near."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    near = get_close_matches(word.lower(), by_lower, n=1, cutoff=_ALMOST)
    inside = sorted((one for one in by_lower if _shares_most(word.lower(), one)), key=len, reverse=True)
    matches = near or inside or get_close_matches(word.lower(), by_lower, n=1, cutoff=_ALIKE)
    return by_lower[matches[0]] if matches else None


def _shares_most(word: str, candidate: str) -> bool:
    """Whether one is a part of the other, and not a chance one: `deduplicate` and `dedup`."""
    shorter, longer = sorted((word, candidate), key=len)
    return len(shorter) >= _LEAST_SHARED and shorter in longer


_ALMOST, _ALIKE = 0.75, 0.6
_LEAST_SHARED = 4
