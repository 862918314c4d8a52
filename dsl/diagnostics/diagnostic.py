"""One diagnostic: what is wrong, where, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dsl.source import SourceFile, Span


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """`code` is stable (`MIX0203`) and has a page in `codes/`; `help` is the mend, in a sentence."""

    code: str
    message: str
    source: SourceFile
    span: Span
    help: str | None = None
    severity: Literal["error", "warning"] = "error"
