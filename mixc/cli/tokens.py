"""Tokens on a terminal: what is trained stands out."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from runtime.looking.tokens import Run


def coloured(runs: Iterable[Run], console: Console) -> Text:
    """Trained tokens in green, the others dim; where there is no colour, trained ones stand between ⟦ and ⟧."""
    plain = console.no_color or not console.is_terminal
    text = Text()
    for run in runs:
        if plain:
            text.append(f"⟦{run.text}⟧" if run.trained else run.text)
        else:
            text.append(run.text, style="green" if run.trained else "dim")
    return text
