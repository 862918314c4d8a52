"""Whether patterns are RE2: linear in the text, so without look-around and back-references."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, cast

from dsl.checks.finding import Finding, at, title
from dsl.declarations.reward_plug_ins import reward_offers
from dsl.declarations.training import Reward
from dsl.hole import known


def pattern_mistake(pattern: str) -> str | None:
    """What RE2 has against a pattern, in its own words; None where it takes it."""
    re2 = cast(Any, import_module("re2"))  # here, so that files without patterns don't wait for it; it has no types
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        (reason,) = error.args
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    except UnicodeEncodeError:
        return "it has half of a surrogate pair"
    return None


def pattern_help(mistake: str) -> str:
    """What to do about it."""
    if _REFUSED.match(mistake):
        return "write it without look-around and back-references, which RE2 doesn't have"
    return "mend it: github.com/google/re2/wiki/Syntax has the syntax"


_WORD = re.compile(r"[a-z][a-z0-9_]*")
_REFUSED = re.compile(r"invalid perl operator: \(\?<?[=!]|invalid escape sequence: \\[1-9]")


def reward_pattern_is_readable(reward: Reward) -> Iterator[Finding]:
    """The pattern of `verify` is RE2, unless an installed package has a reward of that name."""
    pattern = known(reward.verify)
    if pattern is None:
        return
    offers = reward_offers().get(pattern, ()) if _WORD.fullmatch(pattern) else ()
    if len(offers) > 1:
        packages = " and ".join(one.package for one in offers)
        message = f"'{pattern}' is a reward of {packages}"
        yield Finding(message, at(reward, "verify"), "uninstall all of them but one")
    elif not offers and (mistake := pattern_mistake(pattern)):
        message = f"'verify' in {title(reward)} is not an RE2 pattern: {mistake}"
        yield Finding(message, at(reward, "verify"), pattern_help(mistake))
