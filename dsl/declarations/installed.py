"""Plug-ins of installed packages: found by the word that a spec writes, and never looked for without one."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from functools import cache
from typing import Any

from dsl.declarations.base import Written
from dsl.declarations.entry_points import Offer, offered
from dsl.declarations.plug_ins import PlugIn, mistakes
from dsl.declarations.transforms import TRANSFORMS, Transform

GROUP = "mixc.transforms"
"""The group of entry points under which a package names its transforms."""

_WORD = re.compile(r"[a-z][a-z0-9_]*")


class PlugInError(Exception):
    """An installed plug-in can't be used; `help` is what to do about it."""

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message)
        self.message = message
        self.help = help


class WithPlugIns(Mapping[str, type[Written]]):
    """Built-ins by their words; asked for another word, it looks among the plug-ins.

    Those it doesn't list: that would import every package that has some. `everything` does.
    """

    def __init__(self, built_in: Mapping[str, type[Written]]) -> None:
        self._built_in = built_in

    def __getitem__(self, word: str) -> type[Written]:
        if word in self._built_in:
            return self._built_in[word]
        try:
            return plug_in(word)
        except PlugInError as error:
            raise KeyError(word) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._built_in)

    def __len__(self) -> int:
        return len(self._built_in)

    def everything(self) -> dict[str, type[Written]]:
        """The built-ins, and after them every plug-in that can be used."""
        return {**self._built_in, **{word: self[word] for word in offers() if word in self}}


def plug_in(word: str) -> type[PlugIn]:
    """The class of an installed plug-in. Raises KeyError where no package has one, PlugInError where it can't be used.

    The class's module is imported; what the plug-in runs is not.
    """
    found = _loaded(word)
    if isinstance(found, PlugInError):
        raise found
    return found


def mistake(word: str) -> PlugInError | None:
    """Why a plug-in that some package offers can't be used; None where it can, or there is none."""
    found = _loaded(word) if word in offers() else None
    return found if isinstance(found, PlugInError) else None


@cache
def offers() -> dict[str, tuple[Offer, ...]]:
    """What installed packages offer, by word; nothing is imported."""
    return offered(GROUP)


def offer_of(model: type[PlugIn]) -> Offer:
    """The entry point that a class was found by."""
    return _OFFERS[model]


def word_of(transform: Transform) -> str:
    """What a spec calls a transform."""
    if isinstance(transform, PlugIn):
        return offer_of(type(transform)).word
    return type(transform).__name__.lower()


def forget() -> None:
    """Looks again at what is installed, when asked next."""
    offers.cache_clear()
    _loaded.cache_clear()


_OFFERS: dict[type[PlugIn], Offer] = {}


@cache
def _loaded(word: str) -> type[PlugIn] | PlugInError:
    match offers().get(word, ()):
        case ():
            raise KeyError(word)
        case (offer,):
            return _load(offer)
        case several:
            packages = " and ".join(one.package for one in several)
            return PlugInError(f"'{word}' is a transform of {packages}", "uninstall all of them but one")


def _load(offer: Offer) -> type[PlugIn] | PlugInError:
    if offer.word in TRANSFORMS:
        return PlugInError(f"{offer} has the name of a built-in", "it is never used: its package must rename it")
    if not _WORD.fullmatch(offer.word):
        help = "its package must rename it: small letters, digits and '_', a letter first"
        return PlugInError(f"{offer} has a name that no spec can write", help)
    try:
        model: Any = _named(offer.target)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0]
        help = f"mend its package, or install another version of it: `import {offer.target.partition(':')[0]}` fails"
        return PlugInError(f"{offer} can't be imported: {reason}", help)
    for one in mistakes(model):
        return PlugInError(
            f"{offer} is not well declared: {offer.target} {one}", "mend its package: see docs/plugins.md"
        )
    if (other := _OFFERS.setdefault(model, offer)).word != offer.word:
        return PlugInError(f"{offer} is the same class as {other}", "its package must leave one of the two out")
    return model


def _named(target: str) -> object:
    """The object at MODULE:NAME. What its module prints goes to stderr: stdout may be an editor's, or JSON."""
    from importlib import import_module

    module, _, path = target.partition(":")
    with redirect_stdout(sys.stderr):
        found: object = import_module(module.strip())
    for name in path.split("[")[0].strip().split("."):
        found = getattr(found, name)
    return found
