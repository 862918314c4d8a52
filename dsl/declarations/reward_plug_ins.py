"""Rewards of installed packages: found by the word that `verify:` writes, known without being imported."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

GROUP = "mixc.rewards"
"""The group of entry points under which a package names its rewards: a word, and `MODULE:FUNCTION`."""


@dataclass(frozen=True, slots=True)
class RewardOffer:
    """An entry point: `word` is what a spec writes, `target` the function as MODULE:FUNCTION."""

    word: str
    package: str
    version: str
    target: str

    def __str__(self) -> str:
        return f"'{self.word}' of {self.package} {self.version}"


@cache
def reward_offers() -> dict[str, tuple[RewardOffer, ...]]:
    """What installed packages offer, by word; nothing is imported. More than one of a word can't be told apart."""
    from importlib.metadata import entry_points  # not needed without a check, and slow to import

    found: dict[str, set[RewardOffer]] = {}
    for entry in entry_points(group=GROUP):
        package = entry.dist.name if entry.dist else None
        version = entry.dist.version if entry.dist else None
        offer = RewardOffer(entry.name, str(package or "a package"), str(version or "without a version"), entry.value)
        found.setdefault(entry.name, set()).add(offer)
    return {word: tuple(sorted(found[word], key=lambda one: (one.package, one.target))) for word in sorted(found)}


def version_of(offer: RewardOffer) -> str:
    """The version of the package, and the start of the SHA-256 of the module: who works on a reward has no stale runs.
    What that module imports counts by the package's version alone."""
    try:
        spec = find_spec(offer.target.partition(":")[0])
        source = Path(spec.origin).read_bytes() if spec and spec.origin else b""
    except (ImportError, ValueError, OSError):
        source = b""  # it fails when it is run, which tells the reason
    return f"{offer.version}+{hashlib.sha256(source).hexdigest()[:16]}"


def forget() -> None:
    """Looks again at what is installed, when asked next."""
    reward_offers.cache_clear()
