"""Reads labels that people gave answers by hand, and puts the labels of several readers together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

from compiler.evals import Judging
from runtime.data.broken import BrokenError
from runtime.data.lines import decoded, lines, opened
from runtime.data.messages import messages_of
from runtime.data.rows import Rows, canonical_json
from runtime.data.strict_json import Parser
from runtime.data.transforms.sample import prompt_of
from runtime.errors import UserError
from runtime.evals.score import item_name

_OWN = ("item", "prompt", "answer", "label", "score", "reader", "note")
"""Keys of a line that the judge isn't shown as columns of the row."""
_SHOWN = 5
"""Broken lines that an error names."""


@dataclass(frozen=True)
class HandLabelled:
    """An answer and what people say of it."""

    record: Mapping[str, Any]
    """The prompt's row: `messages`, and whatever columns it has beside them."""
    answer: str
    hand: str | float
    """The label that most readers gave; of scores their mean."""
    place: str
    """FILE:LINE of the first label."""


@dataclass(frozen=True)
class HandLabels:
    """All that a file of hand labels says."""

    labelled: tuple[HandLabelled, ...]
    """In the file's order."""
    divided: tuple[str, ...]
    """Places of answers that as many readers gave one label as another. They are in nothing else."""
    replaced: int
    """Labels that a later line of the same reader replaced."""
    between_readers: float | None
    """How well readers agree with each other: the share of equal labels among all pairs of readers of an answer, or how
    far apart their scores are on average. None where each answer has one reader."""


@dataclass(frozen=True)
class _Line:
    place: str
    record: Mapping[str, Any]
    answer: str
    given: str | float
    reader: str


def read_hand_labels(path: Path, name: str, judging: Judging, items: Sequence[Rows] = ()) -> HandLabels:
    """The hand labels of a JSONL file.

    A line is an object with the prompt (`messages`; or `prompt`, the text of one message; or `item`, which names a row
    of the evaluation by its identity or its own `id`), the `answer`, a `label` or a `score`, and perhaps the `reader`
    who gave it. Several readers may have labelled one answer; a later line of the same reader replaces an earlier one.
    Other columns are shown to the judge's prompt beside those of the evaluation's row with the same messages.

    Args:
        name: what the file is called in errors.
        items: rows of the evaluation's prompts.

    Raises:
        UserError: a line can't be used, or there is none.
    """
    parser, rows = Parser(), _EvaluationRows(items)
    found: list[_Line] = []
    broken: list[tuple[int, str]] = []
    with opened(path, name, None) as read:
        for number, content in lines(read):
            try:
                if isinstance(content, BrokenError):
                    raise content
                if text := decoded(content).strip():
                    found.append(_line(parser.record(text), f"{name}:{number}", judging, rows))
            except BrokenError as error:
                broken.append((number, str(error)))
    if broken:
        raise _unusable(broken, name, judging)
    if not found:
        raise UserError("there is no hand label in the file", _layout(judging), name)
    return _together(found)


def _line(written: Mapping[str, Any], place: str, judging: Judging, rows: _EvaluationRows) -> _Line:
    """What a line says; BrokenError."""
    answer, reader = written.get("answer"), written.get("reader", "")
    if not isinstance(answer, str) or not answer.strip():
        raise BrokenError("it has no text in `answer`")
    if not isinstance(reader, str):
        raise BrokenError(f"its `reader` is {canonical_json(reader)}, not a text")
    given = _label(written, judging.answers) if judging.answers else _score(written, judging)
    return _Line(place, rows.record(written), answer, given, reader)


def _label(written: Mapping[str, Any], answers: Sequence[str]) -> str:
    if "label" not in written:
        raise BrokenError("it has no `label`" + (", and the judge gives no score" if "score" in written else ""))
    label = written["label"]
    if label in answers:
        return label
    near = get_close_matches(str(label).casefold(), answers, 1)
    mend = f"; did you mean '{near[0]}'?" if near else ""
    raise BrokenError(f"its label {canonical_json(label)} is none of {', '.join(answers)}{mend}")


def _score(written: Mapping[str, Any], judging: Judging) -> float:
    assert judging.low is not None
    assert judging.high is not None
    if "score" not in written:
        raise BrokenError("it has no `score`" + (", and the judge gives no labels" if "label" in written else ""))
    score = written["score"]
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise BrokenError(f"its score {canonical_json(score)} is no number")
    if not Fraction(judging.low) <= Fraction(score) <= Fraction(judging.high):
        raise BrokenError(f"its score {score} lies outside the scale, {judging.low} to {judging.high}")
    return float(score)


class _EvaluationRows:
    """The rows of an evaluation's prompts, found by what labels say of them."""

    def __init__(self, items: Sequence[Rows]) -> None:
        self._by_name: dict[str, Mapping[str, Any]] = {}
        self._by_messages: dict[str, Mapping[str, Any]] = {}
        twice: set[str] = set()
        for rows in items:
            identities = zip(map(bytes, rows.identity), rows.occurrence.tolist(), strict=True)
            for identity, written in zip(identities, rows.records(), strict=True):
                record = {**written, "messages": prompt_of(written)}
                self._by_name[item_name(*identity)] = record
                self._by_messages.setdefault(canonical_json(record["messages"]), record)
                if (own := record.get("id")) is not None:
                    twice |= {str(own)} & self._by_name.keys()
                    self._by_name.setdefault(str(own), record)
        for name in twice:
            del self._by_name[name]

    def record(self, written: Mapping[str, Any]) -> dict[str, Any]:
        """The prompt's row with the columns of a line; BrokenError."""
        columns = {name: value for name, value in written.items() if name not in _OWN and value is not None}
        if "messages" not in columns and "prompt" not in written:
            if "item" not in written:
                raise BrokenError("it has no prompt: `messages`, `prompt` or `item`")
            row = self._by_name.get(str(written["item"]))
            if row is None:
                raise BrokenError(f"its item {canonical_json(written['item'])} is no row of the evaluation's prompts")
            return {**row, **columns}
        if "messages" in columns:
            messages = messages_of(columns["messages"])
        elif isinstance(written["prompt"], str) and written["prompt"].strip():
            messages = [{"role": "user", "content": written["prompt"]}]
        else:
            raise BrokenError("it has no text in `prompt`")
        return {**self._by_messages.get(canonical_json(messages), {}), **columns, "messages": messages}


def _together(found: Sequence[_Line]) -> HandLabels:
    by_answer: dict[str, dict[str, _Line]] = {}
    first: dict[str, str] = {}
    replaced = 0
    for line in found:
        key = canonical_json([line.record["messages"], line.answer])
        readers = by_answer.setdefault(key, {})
        first.setdefault(key, line.place)
        before = readers.get(line.reader)
        if before is not None and before.given != line.given:
            if not line.reader:
                raise UserError(
                    f"{before.place} and {line.place} say '{before.given}' and '{line.given}' of the same answer",
                    "delete one of the lines, or name who gave each label with `reader`",
                    line.place,
                )
            replaced += 1
        readers[line.reader] = line
    labelled: list[HandLabelled] = []
    divided: list[str] = []
    for key, readers in by_answer.items():
        hand = _agreed([line.given for line in readers.values()])
        if hand is None:
            divided.append(first[key])
        else:
            line = next(iter(readers.values()))
            labelled.append(HandLabelled(line.record, line.answer, hand, first[key]))
    return HandLabels(tuple(labelled), tuple(divided), replaced, _between(by_answer.values()))


def _agreed(given: Sequence[str | float]) -> str | float | None:
    """The label that most gave, None where two share the lead; the mean of scores."""
    scores = [one for one in given if isinstance(one, float)]
    if scores:
        return sum(scores) / len(scores)
    counts = Counter(given).most_common(2)
    return None if len(counts) == 2 and counts[0][1] == counts[1][1] else counts[0][0]


def _between(by_answer: Iterable[Mapping[str, _Line]]) -> float | None:
    def compared() -> Iterator[float]:
        for readers in by_answer:
            for one, other in combinations([line.given for line in readers.values()], 2):
                if isinstance(one, float) and isinstance(other, float):
                    yield abs(one - other)
                else:
                    yield float(one == other)

    values = list(compared())
    return sum(values) / len(values) if values else None


def _unusable(broken: Sequence[tuple[int, str]], name: str, judging: Judging) -> UserError:
    number, reason = broken[0]
    others = "".join(f"\n  {name}:{line}: {why}" for line, why in broken[1:_SHOWN])
    more = f"\n  and {len(broken) - _SHOWN:,} more" if len(broken) > _SHOWN else ""
    return UserError(f"the line can't be used: {reason}{others}{more}", _layout(judging), f"{name}:{number}")


def _layout(judging: Judging) -> str:
    value = f'"label": "{judging.answers[0]}"' if judging.answers else f'"score": {judging.high}'
    return f'a line reads {{"prompt": "…", "answer": "…", {value}, "reader": "…"}}, the reader where there are several'
