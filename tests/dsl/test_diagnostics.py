"""Diagnostics as they are printed, each code's page and fixtures, and suggestions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from dsl.check import check
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.diagnostics.pages import SECTIONS, codes, read_page
from dsl.diagnostics.render import render, to_json
from dsl.diagnostics.suggest import nearest
from dsl.files import read_text
from dsl.source import SourceFile, Span

GOLDEN = Path(__file__).parents[1] / "golden" / "diagnostics"
FIXTURES = sorted(GOLDEN.glob("MIX*.mix"))
MANY = sorted(GOLDEN.glob("many*.mix"))
"""Each with ten mistakes, and a `.mended` beside it: the same text with those lines right."""

PLAN_FIXTURES = sorted((GOLDEN.parent / "plan_diagnostics").glob("MIX*.mix"))
"""Those of the codes that need data; tests/compiler/test_plan_diagnostics.py plans them."""

Line = tuple[str, int]
"""A file, as it is printed, and the number of a line of it."""


@pytest.mark.parametrize("path", [*FIXTURES, *MANY], ids=lambda path: path.stem)
def test_what_is_printed(path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.chdir(GOLDEN)
    printed = render(check([Path(path.name)]))
    expected = path.with_suffix(".txt")
    if request.config.getoption("--update-golden"):
        expected.write_text(printed, encoding="utf-8")
    assert printed == expected.read_text(encoding="utf-8")
    assert path in MANY or f"[{path.name[:7]}]" in printed


@pytest.mark.parametrize("path", MANY, ids=lambda path: path.stem)
def test_ten_mistakes_give_ten_diagnostics(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    broken, mended = broken_and_mended(path)
    lines = mistakes(broken, mended)
    assert len(lines) == 10
    assert lines_told(path, broken) == lines


@pytest.mark.parametrize("path", MANY, ids=lambda path: path.stem)
def test_none_of_ten_diagnostics_follows_from_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    broken, mended = broken_and_mended(path)
    assert lines_told(path, mended) == []
    for name, number in mistakes(broken, mended):
        one_left = [*mended[name][: number - 1], broken[name][number - 1], *mended[name][number:]]
        assert lines_told(path, mended | {name: one_left}) == [(name, number)]


def broken_and_mended(path: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The lines of a file with ten mistakes, and of one that it imports if some stand there, by name; and mended."""
    imported = [one for one in sorted(GOLDEN.glob("imports/*.mended")) if f"imports/{one.stem}.mix" in path.read_text()]
    mended = [path.with_suffix(".mended"), *imported]
    names = [str(one.with_suffix(".mix").relative_to(GOLDEN)) for one in mended]
    return (
        {name: (GOLDEN / name).read_text().split("\n") for name in names},
        {name: one.read_text().split("\n") for name, one in zip(names, mended, strict=True)},
    )


def mistakes(broken: dict[str, list[str]], mended: dict[str, list[str]]) -> list[Line]:
    """The lines that the mended files have otherwise."""
    return sorted(
        (name, number)
        for name, lines in broken.items()
        for number, (line, right) in enumerate(zip(lines, mended[name], strict=True), 1)
        if line != right
    )


def lines_told(path: Path, lines: dict[str, list[str]]) -> list[Line]:
    """Where the diagnostics of a file stand if these files have these lines."""
    texts = {(GOLDEN / name).resolve(): "\n".join(text) for name, text in lines.items()}
    found = check([path.name], read=lambda file: texts[file] if file in texts else read_text(file))
    return sorted((one.source.path, one.source.position(one.span.start)[0]) for one in found)


def test_every_code_has_a_page_and_two_fixtures() -> None:
    fixtures = Counter(path.name[:7] for path in [*FIXTURES, *PLAN_FIXTURES])
    assert fixtures.keys() == set(codes())
    assert [code for code, count in fixtures.items() if count < 2] == []


def test_there_are_two_hundred_broken_specs() -> None:
    assert len([*FIXTURES, *MANY, *PLAN_FIXTURES]) >= 200


@pytest.mark.parametrize("code", codes())
def test_pages_have_their_sections(code: str) -> None:
    page = read_page(code)
    assert page is not None
    assert page.title
    assert all(page.sections[section] for section in SECTIONS)


def test_there_is_no_page_for_an_unknown_code() -> None:
    assert read_page("MIX9999") is None
    assert read_page("../secret") is None


def printed(line: str, start: int, end: int) -> list[str]:
    """The source line and the line with the caret."""
    diagnostic = Diagnostic("MIX0100", "message", SourceFile("a.mix", line), Span(start, end))
    return [row[4:] for row in render([diagnostic]).split("\n")[3:5]]


def test_a_whole_diagnostic() -> None:
    source = SourceFile("a.mix", "edition: 2026\ntrain a:\n  lenght: 4\n")
    start = source.text.index("lenght")
    diagnostic = Diagnostic(
        "MIX0203", "unknown field 'lenght'", source, Span(start, start + 6), "did you mean 'length'?"
    )
    assert (
        render([diagnostic])
        == """\
error[MIX0203]: unknown field 'lenght'
 --> a.mix:3:3
  |
3 |   lenght: 4
  |   ^^^^^^
help: did you mean 'length'?

1 error
"""
    )


def test_carets_stand_under_what_they_point_at() -> None:
    assert printed("日本 x", 3, 4) == ["日本 x", "     ^"]
    assert printed("日本 x", 0, 2) == ["日本 x", "^^^^"]
    assert printed("e\u0301 x", 3, 4) == ["e\u0301 x", "  ^"]
    assert printed("\tx", 1, 2) == ["    x", "    ^"]
    assert printed("a\x1b[31mb", 1, 2) == ["a\ufffd[31mb", " ^"]


def test_places_without_width_and_over_lines_have_a_caret() -> None:
    assert printed("ab", 2, 2) == ["ab", "  ^"]
    assert printed("ab\ncd", 1, 5) == ["ab", " ^"]
    assert printed("", 0, 0) == ["", "^"]


def test_long_lines_are_cut_around_the_place() -> None:
    line, caret = printed("a" * 500 + "X" + "b" * 500, 500, 501)
    assert line[caret.index("^")] == "X"
    assert len(line) < 130


def test_the_summary_counts_errors_and_warnings() -> None:
    source = SourceFile("a.mix", "x")
    error = Diagnostic("MIX0100", "one", source, Span(0, 1))
    warning = Diagnostic("MIX0101", "two", source, Span(0, 1), severity="warning")
    assert render([]) == ""
    assert render([error, warning, error]).endswith("\n\n2 errors, 1 warning\n")
    assert render([warning]).endswith("\n\n1 warning\n")


def test_colour_only_when_asked_for() -> None:
    diagnostic = Diagnostic("MIX0100", "message", SourceFile("a.mix", "x"), Span(0, 1), "help")
    assert "\x1b" not in render([diagnostic])
    assert "\x1b[1;31merror[MIX0100]\x1b[0m" in render([diagnostic], colour=True)


def test_json_counts_from_one_and_ends_exclusively() -> None:
    source = SourceFile("a.mix", "a: 1\nb: 日本\n")
    assert to_json([Diagnostic("MIX0100", "message", source, Span(8, 10), "mend")]) == [
        {
            "code": "MIX0100", "severity": "error", "message": "message", "file": "a.mix",
            "line": 2, "column": 4, "end_line": 2, "end_column": 6, "help": "mend",
        }
    ]  # fmt: skip


def test_nearest() -> None:
    assert nearest("lenght", ["length", "loss", "batch"]) == "length"
    assert nearest("Loss", ["length", "loss"]) == "loss"
    assert nearest("zzz", ["length", "loss"]) is None
    assert nearest("x", []) is None
