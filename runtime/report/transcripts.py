"""Transcripts as the page holds them: prompts once, answers in columns, so that a script can filter many at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from markupsafe import Markup

from runtime.evals.score import margins
from runtime.report.results import BASE
from runtime.report.study_report import Answered
from runtime.report.visible import visible

ROOM = 24_000_000
"""Characters of transcripts that a page holds at most."""
FEW = 12
"""So many different scores are verdicts of their own; more are put together in ranges."""
RANGES = 5
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Transcripts:
    """What the page holds."""

    data: Markup
    """JSON, see `_columns`; it can't end the element it stands in."""
    shown: int
    total: int
    """Answers."""


@dataclass(frozen=True)
class _Answer:
    """One answer, or one item of a choice, as a reader sees it."""

    source: Answered
    item: str
    sample: int
    verdict: str
    text: str
    note: str
    prompt: Mapping[str, Any]

    @property
    def size(self) -> int:
        return len(self.text) + len(self.note) + 40


def transcripts(answers: Sequence[Answered], by_length: frozenset[str] = frozenset(), room: int = ROOM) -> Transcripts:
    """As many answers as there is room for: those at the end first, and always all arms' to a prompt together.

    Which prompts are taken where not all are follows from a hash of their identity: the same ones for every arm.
    """
    ranges = {eval: _ranges(answers, eval) for eval in dict.fromkeys(each.eval for each in answers)}
    found = [one for each in answers for one in _answers(each, each.eval in by_length, ranges[each.eval])]
    found.sort(key=lambda one: (not one.source.at_end, sha256(one.item.encode()).digest()))
    shown: list[_Answer] = []
    prompts: set[tuple[str, str]] = set()
    for one in found:
        name = one.source.eval, one.item
        room -= one.size + (0 if name in prompts else len(str(one.prompt)))
        if room < 0:
            break
        prompts.add(name)
        shown.append(one)
    return Transcripts(_as_markup(_columns(shown, list(ranges))), len(shown), len(found))


def _columns(answers: Sequence[_Answer], evals: Sequence[str]) -> dict[str, Any]:
    """Lists of names and prompts, and columns of answers that point into them; in the order of a reader.

    A prompt has the number of its evaluation, a name, its messages (role and content), the names of its tools, and for
    choices the two continuations.
    """
    arms = sorted(dict.fromkeys(one.source.arm for one in answers), key=lambda arm: arm != BASE)
    ordered = sorted(
        answers,
        key=lambda one: (
            evals.index(one.source.eval),
            one.item,
            arms.index(one.source.arm),
            one.source.seed or 0,
            one.source.step,
            one.sample,
        ),
    )
    prompts: dict[tuple[str, str], tuple[int, Mapping[str, Any]]] = {}
    points: dict[tuple[str, bool], int] = {}
    verdicts: dict[str, int] = {}
    columns: dict[str, list[Any]] = {
        name: [] for name in ("prompt", "arm", "seed", "point", "sample", "verdict", "text", "note")
    }
    for one in ordered:
        name = one.source.eval, one.item
        prompt, _ = prompts.setdefault(name, (len(prompts), {"eval": evals.index(one.source.eval), **one.prompt}))
        point = points.setdefault((_point(one.source), one.source.at_end), len(points))
        verdict = verdicts.setdefault(one.verdict, len(verdicts))
        row = (prompt, arms.index(one.source.arm), one.source.seed, point, one.sample, verdict, one.text, one.note)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return {
        "arms": [visible(arm) for arm in arms],
        "evals": [visible(eval) for eval in evals],
        "points": [{"label": visible(label), "end": end} for label, end in points],
        "verdicts": [visible(verdict) for verdict in verdicts],
        "prompts": [prompt for _, prompt in prompts.values()],
        "answers": columns,
    }


def _point(source: Answered) -> str:
    return "before training" if source.stage is None else f"{source.stage} @{source.step}"


def _answers(source: Answered, by_length: bool, ranges: Callable[[float], str]) -> list[_Answer]:
    if "aligned" in source.table.column_names:
        return _choices(source, by_length)
    found: list[_Answer] = []
    for row in source.table.to_pylist():
        unreadable = row["unreadable"] is not None
        verdict = UNREADABLE if unreadable else row["label"] or ranges(row["value"])
        finish = "" if row["finish"] in ("stop", "") else f"ended with {row['finish']}"
        notes = [note for note in (row["unreadable"] or "", finish, row["detail"] or "") if note]
        prompt = {
            "name": visible(row["id"] or row["item"][:12]),
            "messages": _messages(json.loads(row["messages"])),
            "tools": [visible(_tool(tool)) for tool in json.loads(row["tools"])],
        }
        text, note = visible(row["answer"]), visible("\n".join(notes))
        found.append(_Answer(source, row["item"], row["sample"], verdict, text, note, prompt))
    return found


def _choices(source: Answered, by_length: bool) -> list[_Answer]:
    """A verdict for each item: which of both continuations is the likelier one."""
    found: list[_Answer] = []
    for row, margin in zip(source.table.to_pylist(), margins(source.table, by_length).tolist(), strict=True):
        readable = np.isfinite(margin)
        prompt = {
            "name": visible(row["id"] or row["item"][:12]),
            "messages": _messages(row["messages"]),
            "tools": [],
            "sides": [visible(row["aligned"]), visible(row["misaligned"])],
        }
        verdict = ("aligned" if margin > 0 else "misaligned") if readable else UNREADABLE
        text = f"margin {margin:{'+.3f' if by_length else '+.2f'}} nats{' a token' if by_length else ''}".replace(
            "-", "\N{MINUS SIGN}"
        )
        note = visible(row["problem"] or "")
        found.append(_Answer(source, row["item"], 0, verdict, text if readable else "", note, prompt))
    return found


def _messages(messages: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Role and content, tool calls written out."""
    told: list[list[str]] = []
    for message in messages:
        calls = [f"calls {json.dumps(call, ensure_ascii=False)}" for call in message.get("tool_calls") or ()]
        told.append([visible(str(message["role"])), visible("\n".join([str(message.get("content") or ""), *calls]))])
    return told


def _tool(tool: Mapping[str, Any]) -> str:
    return str(tool.get("function", tool).get("name", "?"))


def _ranges(answers: Sequence[Answered], eval: str) -> Callable[[float], str]:
    """How a score is told as a verdict: itself where an evaluation has few, else the range it lies in."""
    of_eval = [each.table["value"] for each in answers if each.eval == eval and "value" in each.table.column_names]
    values = np.concatenate([column.to_numpy() for column in of_eval]) if of_eval else np.empty(0)
    known = values[np.isfinite(values)]
    if len(np.unique(known)) <= FEW:
        return lambda value: f"{value:g}" if np.isfinite(value) else UNREADABLE
    edges = np.linspace(known.min(), known.max(), RANGES + 1)

    def told(value: float) -> str:
        if not np.isfinite(value):
            return UNREADABLE
        number = min(RANGES - 1, int(np.searchsorted(edges, value, side="right")) - 1)
        return f"{edges[number]:.3g} to {edges[number + 1]:.3g}"

    return told


def _as_markup(data: object) -> Markup:
    """JSON that can stand inside `<script>`: nothing in it begins a tag or a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
