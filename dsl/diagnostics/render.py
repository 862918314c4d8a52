"""Diagnostics as people and programs read them: text with the source line and a caret, and JSON."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from dsl.diagnostics.diagnostic import Diagnostic
from dsl.source import Span

_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "place": "\x1b[1;34m", "help": "\x1b[1;36m"}
_RESET = "\x1b[0m"
_TAB = "    "
_UNSHOWN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_MOST, _MOST_MARKED = 120, 100  # characters of a source line that are shown, and of the place in it


def render(diagnostics: Sequence[Diagnostic], *, colour: bool = False) -> str:
    """Every diagnostic with its place in the source and its mend, and a line that counts them; '' if there are none."""
    if not diagnostics:
        return ""
    blocks = [_block(diagnostic, colour) for diagnostic in diagnostics]
    return "\n\n".join([*blocks, summary(diagnostics)]) + "\n"


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """`2 errors, 1 warning`."""
    severities = [diagnostic.severity for diagnostic in diagnostics]
    counts = [(severities.count("error"), "error"), (severities.count("warning"), "warning")]
    return ", ".join(f"{count} {what}{'s' * (count > 1)}" for count, what in counts if count)


def to_json(diagnostics: Iterable[Diagnostic]) -> list[dict[str, str | int | None]]:
    """Lines and columns count from 1, columns in code points; the end is exclusive."""
    records: list[dict[str, str | int | None]] = []
    for diagnostic in diagnostics:
        line, column = diagnostic.source.position(diagnostic.span.start)
        end_line, end_column = diagnostic.source.position(diagnostic.span.end)
        records.append(
            {
                "code": diagnostic.code,
                "severity": diagnostic.severity,
                "message": diagnostic.message,
                "file": diagnostic.source.path,
                "line": line,
                "column": column,
                "end_line": end_line,
                "end_column": end_column,
                "help": diagnostic.help,
            }
        )
    return records


def _block(diagnostic: Diagnostic, colour: bool) -> str:
    def painted(text: str, kind: str) -> str:
        return f"{_COLOURS[kind]}{text}{_RESET}" if colour else text

    line, column = diagnostic.source.position(diagnostic.span.start)
    margin, bar = " " * len(str(line)), painted("|", "place")
    before, marked, after = _excerpt(diagnostic.source.line(line), column - 1, diagnostic.span)
    caret = " " * _width(before) + painted("^" * max(1, _width(marked)), diagnostic.severity)
    rows = [
        f"{painted(f'{diagnostic.severity}[{diagnostic.code}]', diagnostic.severity)}: {diagnostic.message}",
        f"{margin}{painted('-->', 'place')} {diagnostic.source.path}:{line}:{column}",
        f"{margin} {bar}",
        f"{painted(str(line), 'place')} {bar} {before}{marked}{after}".rstrip(),
        f"{margin} {bar} {caret}",
    ]
    if diagnostic.help:
        rows.append(f"{painted('help', 'help')}: {diagnostic.help}")
    return "\n".join(rows)


def _excerpt(line: str, start: int, span: Span) -> tuple[str, str, str]:
    """A source line as it is shown: what is before the place, the place, what is after; long lines are cut."""
    end = min(start + max(1, span.end - span.start), len(line))
    before, marked, after = _shown(line[:start]), _shown(line[start:end]), _shown(line[end:])
    if len(marked) > _MOST_MARKED:
        marked, after = marked[:_MOST_MARKED] + "…", ""
    room = _MOST - len(marked)
    most_after = max(room - len(before), room // 3)
    most_before = room - min(len(after), most_after)
    if len(before) > most_before:
        before = "…" + before[-most_before:]
    if len(after) > most_after:
        after = after[:most_after] + "…"
    return before, marked, after


def _shown(text: str) -> str:
    """Text with tabs as blanks, and a mark for what a terminal wouldn't show or would obey."""
    return "".join(
        _TAB if character == "\t" else "\ufffd" if unicodedata.category(character) in _UNSHOWN else character
        for character in text
    )


def _width(text: str) -> int:
    """Columns that text takes on a terminal: wide characters two, combining ones none."""
    return sum(
        0 if unicodedata.category(character) in ("Mn", "Me") else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )
