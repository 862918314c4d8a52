"""Rewards of installed packages: found by the word that `verify:` writes, known without being imported."""

from __future__ import annotations

from functools import cache

from dsl.declarations.entry_points import Offer, offered, version_with

GROUP = "mixc.rewards"
"""The group of entry points under which a package names its rewards: a word, and `MODULE:FUNCTION`."""


@cache
def reward_offers() -> dict[str, tuple[Offer, ...]]:
    """What installed packages offer, by word; nothing is imported."""
    return offered(GROUP)


def version_of(offer: Offer) -> str:
    """The version of the package and of the module that is run."""
    return version_with(offer, offer.target.partition(":")[0])


def forget() -> None:
    """Looks again at what is installed, when asked next."""
    reward_offers.cache_clear()
