"""What installed packages offer under a group of entry points: looked up, never imported."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Offer:
    """An entry point: `word` is what a spec writes, `target` what it stands for, as MODULE:NAME."""

    word: str
    package: str
    version: str
    target: str

    def __str__(self) -> str:
        return f"'{self.word}' of {self.package} {self.version}"


def offered(group: str) -> dict[str, tuple[Offer, ...]]:
    """The offers of a group by word. More than one of a word can't be told apart."""
    from importlib.metadata import entry_points  # not needed without a plug-in, and slow to import

    found: dict[str, set[Offer]] = {}
    for entry in entry_points(group=group):
        package = entry.dist.name if entry.dist else None
        version = entry.dist.version if entry.dist else None
        offer = Offer(entry.name, str(package or "a package"), str(version or "without a version"), entry.value)
        found.setdefault(entry.name, set()).add(offer)
    return {word: tuple(sorted(found[word], key=lambda one: (one.package, one.target))) for word in sorted(found)}


def version_with(offer: Offer, module: str) -> str:
    """The version of the package, and the start of the SHA-256 of the module that is run: who works on a plug-in has
    no stale results. What that module imports counts by the package's version alone."""
    try:
        spec = find_spec(module)
        source = Path(spec.origin).read_bytes() if spec and spec.origin else b""
    except (ImportError, ValueError, OSError):
        source = b""  # it fails when it is run, which tells the reason
    return f"{offer.version}+{hashlib.sha256(source).hexdigest()[:16]}"
