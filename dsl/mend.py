"""What someone meant who wrote a scalar in another form: the right text, where there is one and it surely parses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from dsl.scalar_values import UNITS, ScalarError
from dsl.scalars import ScalarKind, parse_text
from dsl.values import Unit

_DIGITS = re.compile(r"(?P<digits>[0-9][0-9_, ]*(?:\.[0-9]+)?) *(?P<suffix>[kKmMbBgGtT]i?)?(?![A-Za-z])(?P<rest>.*)")
_BYTES = re.compile(r"([0-9.]+) *([KMGT])i?[bB](?:ytes?)?")
_TIME = re.compile(r"([0-9.]+) *(hours?|h|days?|d|seconds?|s|min|m)")
_WORDS = {"thousand": "k", "million": "M", "billion": "B", "trillion": "T", "mln": "M", "bn": "B"}
_MINUTES = {"h": 60, "d": 1440, "m": 1}
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")
_OTHER_UNITS: dict[Unit, tuple[str, ...]] = {
    "steps": ("batches", "iterations", "updates", "it", "its"),
    "examples": ("samples", "rows", "documents", "docs", "chats", "records"),
    "epochs": ("passes", "pass", "rounds"),
}
_SIGNS = {
    "&&": "and",
    "||": "or",
    "≥": ">=",
    "≤": "<=",
    "≠": "!=",
    "\N{EN DASH}": "..",
    "…": "..",
    "->": "|>",
    "=>": ">=",
    "=<": "<=",
}


def mended(kind: ScalarKind, text: str, units: tuple[Unit, ...] = ()) -> list[str]:
    """What can be written instead of `text` where a field takes `kind` (in one of `units`): most likely first."""
    found = (one for way in _WAYS.get(kind, ()) for one in way(text, units))
    return [one for one in dict.fromkeys(found) if one != text and _fits(kind, one, units)]


def _fits(kind: ScalarKind, text: str, units: tuple[Unit, ...]) -> bool:
    try:
        value = parse_text(kind, text)
    except ScalarError:
        return False
    return not units or getattr(value, "unit", None) in units


def _counts(text: str, units: tuple[Unit, ...]) -> Iterator[str]:
    """`1,000 steps`, `8_000`, `32 k tokens`, `8K tokens`."""
    if not (match := _DIGITS.fullmatch(text.strip())):
        return
    digits = re.sub("[_, ]", "", match["digits"])
    word, _, after = match["rest"].strip().partition(" ")
    if word in _WORDS:
        yield f"{digits}{_WORDS[word]} {after}".strip()
    rest = f" {match['rest'].strip()}" if match["rest"].strip() else ""
    suffix = match["suffix"] or ""
    for each in ("k", "Ki") if suffix == "K" else ("M",) if suffix == "m" else (suffix, suffix.upper()):
        yield f"{digits}{each}{rest}"


def _quantities(text: str, units: tuple[Unit, ...]) -> Iterator[str]:
    """`512`, `80GB`, `1.5 hours`, `10 token`: a count without its unit, or in another."""
    if match := _BYTES.fullmatch(text.strip()):
        yield f"{match[1]}{match[2]}iB"
    if match := _TIME.fullmatch(text.strip()):
        minutes = float(match[1]) * _MINUTES.get(match[2][0], 1 / 60)
        yield f"{minutes:g} minutes"
    yield from (f"{text} {unit}" for unit in units if unit != "bytes")
    if "bytes" in units:
        yield f"{text}GiB"
    for each in _counts(text, units):
        yield each
        yield from (f"{each} {unit}" for unit in units)
    yield from _units(text, units)


def _units(text: str, units: tuple[Unit, ...]) -> Iterator[str]:
    """`500 iterations`, `every 32 rows`, `2 passes`, `3M toks`: a unit by another name."""
    before, _, unit = text.strip().rpartition(" ")
    for right, others in _OTHER_UNITS.items():
        if unit in others:
            yield f"{before} {right}"
    if unit.startswith("tok") and unit not in UNITS:
        yield f"{before} tokens"


def _ranges(text: str, units: tuple[Unit, ...]) -> Iterator[str]:
    """`3`, `0..80%`, `1-4`, `1...4`, `[1, 4]`."""
    text = text.strip(" []()")
    if _NUMBER.fullmatch(text):
        yield f"{text}..{text}"
    yield _PERCENT.sub(lambda match: f"{float(match[1]) / 100:g}", text)
    yield re.sub(" *(\\.{3}|…|\N{EN DASH}|\N{EM DASH}|-|,| to ) *", "..", text, count=1)


def _percents(text: str, units: tuple[Unit, ...]) -> Iterator[str]:
    """`0.8` for 80%."""
    if _NUMBER.fullmatch(text) and 0 < float(text) <= 1:
        yield f"{float(text) * 100:g}%"
    elif _NUMBER.fullmatch(text):
        yield f"{text}%"


def _numbers(text: str, units: tuple[Unit, ...]) -> Iterator[str]:
    """`90%` for 0.9; `.5`; `1,5`."""
    if match := _PERCENT.fullmatch(text):
        yield f"{float(match[1]) / 100:g}"
    if re.fullmatch(r"\.[0-9]+", text):
        yield f"0{text}"
    yield text.replace(",", ".")


def _booleans(text: str, units: tuple[Unit, ...]) -> Iterator[str]:
    word = text.lower()
    if word in ("yes", "on", "true", "y", "1"):
        yield "true"
    if word in ("no", "off", "false", "n", "0"):
        yield "false"


def _signs(text: str, units: tuple[Unit, ...]) -> Iterator[str]:
    """The signs of other languages: `&&`, `!x`, `≥`, `->`, a single `=`, labels in single quotes."""
    for wrong, right in _SIGNS.items():
        text = text.replace(wrong, right)
    yield text
    text = re.sub(r"!(?!=) *", "not ", text)
    yield text
    yield re.sub(r"(?<![<>=!])=(?!=)", "==", text)
    yield re.sub(r"'([^']*)'", r'"\1"', text)
    yield re.sub(r"\[ *([0-9.]+) *, *([0-9.]+) *\]", r"\1..\2", text)


def _flows(text: str, units: tuple[Unit, ...]) -> Iterator[str]:
    yield re.sub(r" *(?:->|=>|→|(?<!\|)\|(?!>)|(?<!\|)>) *", " |> ", text)


def _moments(text: str, units: tuple[Unit, ...]) -> Iterator[str]:
    """`every 1,000 steps`, `every 500`, `25 %`."""
    text = re.sub(r"(?<=[0-9])[_,](?=[0-9]{3})|(?<=[0-9]) +(?=%)", "", text)
    if "," in text:
        yield f"[{text}]"
    yield text
    if re.fullmatch(r"(?:every )?[0-9.]+[kMBT]?", text):
        yield f"{text} steps"


_WAYS: dict[ScalarKind, tuple[Callable[[str, tuple[Unit, ...]], Iterator[str]], ...]] = {
    "count": (_counts,),
    "quantity": (_quantities,),
    "amount": (_counts, _percents, _units),
    "range": (_ranges,),
    "percent": (_percents,),
    "number": (_numbers, _counts),
    "boolean": (_booleans,),
    "predicate": (_signs,),
    "claim": (_signs,),
    "flow": (_flows,),
    "when": (_moments, _units),
}
