"""A chart with its legend and what it shows in words."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Figure:
    """As the page shows it."""

    chart: Markup
    caption: str
    legend: tuple[tuple[Markup, str], ...] = ()
    """What stands before a label, and the label."""


def minus(text: str) -> str:
    """Numbers as text with the typographer's minus."""
    return text.replace("-", "\N{MINUS SIGN}")
