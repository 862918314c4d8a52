"""All that is shown of a source: its stages, a few of its rows at each, and their tokens with the mask."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from compiler.passes.source import PlannedSource
from compiler.steps import Tokenize, Transform
from runtime.looking.rows import Stage, draw, stages_of
from runtime.looking.tokens import Run, runs_of_row
from runtime.looking.words import told
from runtime.steps.context import Context


@dataclass(frozen=True)
class Shown:
    """A row after one of the stages, as text for people."""

    stage: int
    text: str


@dataclass(frozen=True)
class Row:
    place: str
    versions: tuple[Shown, ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Looked:
    """What is shown. `reader` is the model whose tokens they are; `unmade` are steps that wait for a model."""

    name: str
    reader: str | None
    loss: str | None
    stages: tuple[Stage, ...]
    unmade: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def look(context: Context, planned: PlannedSource, name: str, count: int) -> Looked:
    """Looks at `count` rows of a source whose steps were run as far as they can be."""
    stages = stages_of(context, planned)
    tokens = None if planned.tokens is None else planned.plan.steps[planned.tokens]
    tokenized = None if planned.tokens is None else context.keys.results.get(planned.tokens)
    rows: list[Row] = []
    for seen in draw(context, planned, count):
        runs: list[Run] = []
        if isinstance(tokens, Tokenize) and tokenized is not None and planned.tokens is not None:
            tokenizer = context.model(tokens.weights).tokenizer.tokenizer
            runs = runs_of_row(context.folder(planned.tokens), tokenizer, seen.row)
        versions = tuple(Shown(version.stage, as_text(version.record)) for version in seen.versions)
        rows.append(Row(seen.place, versions, tuple(runs)))
    waiting = [planned.plan.steps[description] for description, _ in planned.rows[len(stages) :]]
    return Looked(
        name=name,
        reader=planned.plan.steps[tokens.weights].name if isinstance(tokens, Tokenize) else None,
        loss=tokens.loss if isinstance(tokens, Tokenize) else None,
        stages=tuple(stages),
        unmade=tuple(f"{told(step)} is still to be made" for step in waiting if isinstance(step, Transform)),
        rows=tuple(rows),
        notes=() if tokenized is None else tuple(tokenized.facts.get("notes", ())),
    )


def as_text(record: dict[str, Any]) -> str:
    """A record as people read it: messages by role, other columns by name, tools by theirs."""
    parts: list[str] = []
    for name, value in record.items():
        if name == "messages":
            parts.extend(_message(message) for message in value)
        elif name == "tools" and isinstance(value, list):
            parts.append("[tools] " + ", ".join(_tool_name(tool) for tool in value))
        elif name == "text":
            parts.append(str(value))
        else:
            parts.append(f"[{name}] {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return "\n".join(parts)


def to_json(looked: Looked) -> dict[str, Any]:
    """`sample --json`."""
    return asdict(looked)


def _message(message: dict[str, Any]) -> str:
    calls = "".join(f"\n  calls {json.dumps(call, ensure_ascii=False)}" for call in message.get("tool_calls") or ())
    thought = f"\n  thinks {message['reasoning_content']}" if message.get("reasoning_content") else ""
    return f"[{message['role']}] {message.get('content') or ''}{thought}{calls}"


def _tool_name(tool: dict[str, Any]) -> str:
    return str(tool.get("function", tool).get("name", "?"))
