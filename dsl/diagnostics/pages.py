"""The page of each code: what it means, why it matters, an example, and what to write instead."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SECTIONS = ("What it means", "Why it matters", "Example", "Instead")
_FOLDER = Path(__file__).parent / "codes"


@dataclass(frozen=True, slots=True)
class Page:
    """`codes/MIXdddd.md`: a title and four sections of Markdown."""

    code: str
    title: str
    sections: dict[str, str]


def codes() -> list[str]:
    """Every code that has a page, in order."""
    return sorted(path.stem for path in _FOLDER.glob("MIX*.md"))


def read_page(code: str) -> Page | None:
    """The page of a code, or None if there is no such code. Raises ValueError on a page without its sections."""
    if code not in codes():
        return None
    title, *parts = re.split(r"^## (.+)\n", (_FOLDER / f"{code}.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = {heading: body.strip() for heading, body in zip(parts[::2], parts[1::2], strict=True)}
    if tuple(sections) != SECTIONS or not title.startswith(f"# {code}: "):
        raise ValueError(f"{code}.md needs '# {code}: TITLE' and the sections {', '.join(SECTIONS)}, in this order")
    return Page(code, title.removeprefix(f"# {code}: ").strip(), sections)
