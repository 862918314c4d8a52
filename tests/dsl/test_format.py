"""The formatter: its laws on generated files, and its layout on small ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings

from dsl.format import format_source
from dsl.parse import parse
from dsl.source import SourceFile
from tests.dsl.strategies import documents
from tests.dsl.trees import plain

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.mix"))


def formatted(text: str) -> str:
    result, diagnostics = format_source(SourceFile("test.mix", text))
    assert diagnostics == []
    return result


@settings(max_examples=150, deadline=None)
@given(documents())
def test_generated_documents_keep_tree_and_comments_and_are_stable(text: str) -> None:
    result = formatted(text)
    before, _ = parse(SourceFile("", text))
    after, diagnostics = parse(SourceFile("", result))
    assert diagnostics == []
    assert plain(after.root) == plain(before.root) == yaml.load(result, yaml.BaseLoader)
    assert [comment.text for comment in after.comments] == [comment.text for comment in before.comments]
    assert formatted(result) == result


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_stay_as_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert formatted(text) == text


def test_a_file_with_mistakes_stays_as_it_is() -> None:
    text = "a:   b\na:  *c\n"
    result, diagnostics = format_source(SourceFile("test.mix", text))
    assert result == text
    assert [each.code for each in diagnostics] == ["MIX0108", "MIX0104"]


LONG = "x" * 30

LAYOUTS = {
    "indentation": ("a:\n    b:\n    - c\n    -   d: 1\n        e: 2\n", "a:\n  b:\n    - c\n    - d: 1\n      e: 2\n"),
    "blank lines": ("\na: 1\nb:\n\n\n  c: 1\n\n\n  d: 1\n\n\n\ne: 1\n\n", "a: 1\n\nb:\n  c: 1\n\n  d: 1\n\ne: 1\n"),
    "comments": (
        "#  top\na:   # one\n # two\n    b: 1 ## three\n".replace(" ##", "  ##") + "    # four\n# five\nc: 1\n",
        "#  top\na:  # one\n  # two\n  b: 1  ## three\n  # four\n\n# five\nc: 1\n",
    ),
    "comment before a value": ("a:  # one\n  # two\n  b\n", "# one\n# two\na: b\n"),
    "quotes": (
        "'a b': \"c\"\nd: 'it''s'\ne: '$f'\ng: [\"h, i\", \"j\"]\nk: \"l: m\"\nn: ''\n",
        "a b: c\n\nd: it's\n\ne: '$f'\n\ng: [\"h, i\", j]\n\nk: \"l: m\"\n\nn: ''\n",
    ),
    "flow collections": ("a: [ b,c ,d, ]\ne: {f : g,\n  h: }\n", "a: [b, c, d]\n\ne: {f: g, h: }\n"),
    "comments in a flow collection": (
        "a: [b, c,  # one\n  # two\n  {d: e}\n  ]  # three\n",
        "a: [\n    b,\n    c,  # one\n    # two\n    {d: e},\n  ]  # three\n",
    ),
    "a long flow collection": (
        f"a:\n  b: [{LONG}, {LONG}, {LONG}, {LONG}]\n",
        f"a:\n  b: [\n      {LONG},\n      {LONG},\n      {LONG},\n      {LONG},\n    ]\n",
    ),
    "a short flow is joined": ("a: b\n  |> c\n  |> d\n", "a: b |> c |> d\n"),
    "a long flow is broken": (
        f"a: {LONG} |> {LONG}\n    |> {LONG} |> {LONG}\n",
        f"a: {LONG}\n  |> {LONG}\n  |> {LONG}\n  |> {LONG}\n",
    ),
    "a long flow in a list": (
        f"a:\n  - {LONG} |> {LONG} |> {LONG} |> {LONG}\n",
        f"a:\n  - {LONG}\n    |> {LONG}\n    |> {LONG}\n    |> {LONG}\n",
    ),
    "long text keeps its lines": (f"a: {LONG} {LONG}\n     {LONG} {LONG}\n", f"a: {LONG} {LONG}\n  {LONG} {LONG}\n"),
    "short text is joined": ("a: b\n     c\n", "a: b c\n"),
    "a long call": (
        f"a: adamw(lr=1e-4, b={LONG}, c={LONG}, d=[1, 2], note={LONG})  # why\n",
        f"a:  # why\n  adamw:\n    lr: 1e-4\n    b: {LONG}\n    c: {LONG}\n    d: [1, 2]\n    note: {LONG}\n",
    ),
    "a long call beside a long key": (
        f"{LONG}: adamw(lr={LONG}, b2={LONG}, c=1)\n",
        f"{LONG}:\n  adamw: {{lr: {LONG}, b2: {LONG}, c: 1}}\n",
    ),
    "a long call in a list": (
        f"a:\n  - dedup(by={LONG}, threshold={LONG}, x={LONG})\n",
        f"a:\n  - dedup:\n      by: {LONG}\n      threshold: {LONG}\n      x: {LONG}\n",
    ),
    "a long call with a positional argument": (f"a: f({LONG * 4}, x=1)\n", f"a: f({LONG * 4}, x=1)\n"),
    "literal text": ("a: |\n     b\n\n      # c\nd: 1\n", "a: |\n  b\n\n   # c\n\nd: 1\n"),
    "literal text, indented first line": ("a:\n  b: |3\n      c\n", "a:\n  b: |2\n     c\n"),
    "literal text at the end": ("a: |\n  b", "a: |-\n  b\n"),
    "kept empty lines": ("a: >+\n    b\n\nc: 1\n", "a: >+\n  b\n\nc: 1\n"),
    "text in quotes over lines": ("a: \"b:\n       c \\\n     d #\"\n", "a: \"b:\n  c \\\n  d #\"\n"),
    "line ends": ("a: 1\r\nb: |\r\n  c\r\n", "a: 1\n\nb: |\n  c\n"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_layout(text: str, expected: str) -> None:
    assert formatted(text) == expected
    assert formatted(expected) == expected
