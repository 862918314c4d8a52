"""Specs with a cursor in them, `‸`, as an editor would have them open."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from dsl.editor.completion import completions
from dsl.editor.hover import hover
from dsl.editor.project import Project
from dsl.editor.target import At
from dsl.editor.view import View

ROOT = Path("/project")
CURSOR = "‸"

COMMON = """\
edition: 2026

let:
  rate: 1e-4

model start:
  doc: Where all begin.
  from: hf://a/b@c

model api:
  api: a/b

train finetune:
  doc: Chats, only assistant tokens count.
  objective: supervised
  loss: assistant
  sequence: 2048 tokens
  batch: 32 examples
  optimizer: adamw(lr=$rate, b2=0.95)

source chats:
  doc: Ordinary chats.
  format: chat
  files: data/*.jsonl
  holdout: 1%

eval margin:
  doc: How much it prefers the aligned answer.
  choice: evals/pairs.jsonl

eval all_of_them:
  suite: [margin]
"""
HEAD = "edition: 2026\n\nimport:\n  common: common.mix\n\nlet:\n  dose: 20M tokens\n\n"


def opened(text: str, **others: str) -> tuple[View, int, Project]:
    """`main.mix` with `HEAD` before the text, and the offset of the cursor; `common.mix` is beside it."""
    whole = HEAD + dedent(text)
    offset = whole.find(CURSOR)
    project = Project()
    project.put(ROOT / "main.mix", whole.replace(CURSOR, ""))
    for name, other in {"common": COMMON, **others}.items():
        project.put(ROOT / f"{name}.mix", other)
    view = project.view(ROOT / "main.mix")
    assert view is not None
    return view, offset, project


def offered(text: str, **others: str) -> dict[str, str]:
    """The labels that are offered at the cursor, with what each inserts."""
    view, offset, _ = opened(text, **others)
    return {one.label: one.insert for one in completions(view, offset)}


def completed(text: str, label: str) -> str:
    """The text after one of the candidates was taken, without the head."""
    view, offset, _ = opened(text)
    one = next(one for one in completions(view, offset) if one.label == label)
    whole = view.source.text
    return (whole[: one.span.start] + one.insert + whole[one.span.end :])[len(HEAD) :]


def told(text: str, **others: str) -> str | None:
    """What is told of the place of the cursor."""
    view, offset, _ = opened(text, **others)
    found = hover(view, offset)
    return found.text if found else None


def marked(at: At | None) -> str | None:
    """A place as `FILE:LINE WORD`."""
    if at is None:
        return None
    line, _ = at.source.position(at.span.start)
    return f"{at.path.name}:{line} {at.source.text[at.span.start : at.span.end]}"
