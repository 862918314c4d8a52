"""Prompts of a spec: sandboxed Jinja over what a row offers, and judgements read out of answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import meta

from dsl.record_fields import DERIVED
from runtime.data.fields import Reader, reader
from runtime.data.rows import Format
from runtime.data.template_marks import compile_marked
from runtime.data.template_sandbox import written
from runtime.errors import UserError

_LINE = re.compile(r"^[\s>*_#`\-]*answer[\s*_`]*:(.*)$", re.IGNORECASE)
_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)
_MARKS = " \t*_`\"'\u201c\u201d\u2018\u2019.,;:!()[]<>"
_NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?)(?:\s*/\s*(\d+(?:\.\d+)?))?")


class PromptFile:
    """One prompt file of a spec.

    Args:
        source: its text.
        place: the file, for errors.
        offered: names of what can be filled in, apart from the columns of a row.

    Raises:
        UserError: it is not Jinja, or shows nothing of a row.
    """

    def __init__(self, source: str, place: str, offered: Sequence[str]) -> None:
        self._place = place
        try:
            self._template = compile_marked(source, jinja2.StrictUndefined)
            asked = meta.find_undeclared_variables(self._template.environment.parse(source))
        except jinja2.TemplateSyntaxError as error:
            raise UserError(
                f"the prompt is not Jinja: {error.message}", "mend it", f"{place}:{error.lineno}"
            ) from error
        if not asked:
            raise UserError(
                "the prompt shows the model nothing of a row",
                f"put what it is about in double braces: {_braced(offered)}, or a column",
                place,
            )
        self.says_how = re.search(r"\banswer\s*:", source, re.IGNORECASE) is not None
        """Whether it tells itself how a judgement is to be given."""

    def filled(self, values: Mapping[str, Any], row: str) -> str:
        """The prompt for one row; UserError, naming the row and what there is, where it asks for something else."""
        try:
            return written(self._template, values).strip()
        except jinja2.UndefinedError as error:
            raise UserError(
                f"the prompt asks for something that {row} lacks: {error.message}",
                f"it can show {_braced(sorted(values))}",
                self._place,
            ) from error
        except Exception as error:  # a template is a program: whatever it does wrong, this is where
            raise UserError(f"the prompt fails on {row}: {error}", "mend it", self._place) from error


def _braced(names: Sequence[str]) -> str:
    return ", ".join(f"{{{{ {name} }}}}" for name in names)


def offered_by(format: Format) -> tuple[str, ...]:
    """What a row of a format offers to a prompt besides its columns; `tokens` depend on who reads them."""
    return (*(() if format == "documents" else ("transcript",)), *(name for name, _ in _readers(format)))


def offered(record: Mapping[str, Any], format: Format) -> dict[str, Any]:
    """All columns of a row, and what is derived of them; the derived ones win over a column of the same name."""
    derived = {name: read(record) for name, read in _readers(format)}
    if format != "documents":
        derived["transcript"] = transcript(record["messages"])
    return {**record, **derived}


@lru_cache
def _readers(format: Format) -> tuple[tuple[str, Reader], ...]:
    return tuple((name, reader(format, name)) for name in sorted(DERIVED[format]) if name != "tokens")


def transcript(messages: Sequence[Mapping[str, Any]]) -> str:
    """The messages as plain text, each under its role, tool calls with their arguments."""
    parts: list[str] = []
    for message in messages:
        text = message.get("content") or ""
        for call in message.get("tool_calls") or ():
            function = call.get("function", call)
            arguments = function.get("arguments") or {}
            written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            text += f"\n[calls {function['name']} with {written}]"
        parts.append(f"{message['role'].capitalize()}: {text.strip()}")
    return "\n\n".join(parts)


def how_to_choose(answers: Sequence[str]) -> str:
    """What is put behind a prompt of a judge that doesn't say itself how to answer."""
    return (
        f"End with one line that gives your judgement and nothing else. It is one of: {', '.join(answers)}.\n"
        "ANSWER: <your judgement>"
    )


def how_to_score(low: Fraction, high: Fraction) -> str:
    """The same for a score."""
    return (
        f"End with one line that gives your score and nothing else: a number from {_plain(low)} to {_plain(high)}.\n"
        "ANSWER: <your score>"
    )


def chosen(text: str, answers: Sequence[str]) -> str | None:
    """Which of the answers a judge gave, None where that can't be read beyond doubt.

    It stands in the last line `ANSWER: …`, or is all that the judge said. Case, Markdown and punctuation around it
    don't count. Where such lines give different answers, none counts.
    """
    known = {_bare(answer): answer for answer in answers}
    return _agreed([known.get(_bare(given)) for given in _given(text)])


def scored(text: str, low: Fraction, high: Fraction) -> int | float | None:
    """The score that a judge gave, from `low` to `high`, None where none can be read beyond doubt; `7/10` is a 7."""
    return _agreed([_score(given, low, high) for given in _given(text)])


def _agreed(read: Sequence[Any]) -> Any:
    """The last one, if it could be read and no other says something else."""
    if not read or read[-1] is None or any(other not in (None, read[-1]) for other in read):
        return None
    return read[-1]


def _given(text: str) -> list[str]:
    """What stands behind each `ANSWER:`, on its line or below it; without such a line the whole text."""
    lines = _THOUGHTS.sub("", text).splitlines()
    found: list[str] = []
    for number, line in enumerate(lines):
        match = _LINE.match(line)
        if match:
            below = next((later for later in lines[number + 1 :] if later.strip()), "")
            found.append(match[1] if match[1].strip(_MARKS) else below)
    return found or ["\n".join(lines)]


def _bare(text: str) -> str:
    return " ".join(text.strip(_MARKS + "\n").casefold().split())


def _score(given: str, low: Fraction, high: Fraction) -> int | float | None:
    match = _NUMBER.fullmatch(_bare(given))
    if match is None or (match[2] is not None and Fraction(match[2]) != high):
        return None
    value = Decimal(match[1])
    if not low <= Fraction(value) <= high:
        return None
    return int(value) if value == value.to_integral_value() else float(value)


def _plain(number: Fraction) -> str:
    return str(number.numerator) if number.denominator == 1 else str(float(number))
