"""Diagnostics as they come up, in one list without doubles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dsl.diagnostics.diagnostic import Diagnostic
from dsl.source import SourceFile, Span

_Identity = tuple[str, str, Span, str]


@dataclass
class Reports:
    """What has been found so far. A code is told once a place: what two uses of it have in common is one mistake."""

    found: dict[_Identity, Diagnostic] = field(default_factory=dict[_Identity, Diagnostic])

    def error(
        self, code: str, message: str, source: SourceFile, span: Span, help: str | None = None, about: str = ""
    ) -> None:
        """Add an error; `about` tells apart several that one code can give at one place."""
        self.found.setdefault((code, source.path, span, about), Diagnostic(code, message, source, span, help))

    def warning(self, code: str, message: str, source: SourceFile, span: Span, help: str | None = None) -> None:
        self.add(Diagnostic(code, message, source, span, help, "warning"))

    def add(self, diagnostic: Diagnostic) -> None:
        """Add one that nothing else says in the same words at the same place."""
        one = diagnostic
        self.found.setdefault((one.code, one.source.path, one.span, one.message), one)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            self.add(diagnostic)

    def sorted(self) -> list[Diagnostic]:
        """All of them by file and place."""
        return sorted(self.found.values(), key=place_order)


def place_order(one: Diagnostic) -> tuple[str, int, int, str, str]:
    return one.source.path, one.span.start, one.span.end, one.code, one.message
