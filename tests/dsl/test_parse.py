"""The structure parser: the tree that YAML gives, and every mistake of a file in one pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.diagnostics.diagnostic import Diagnostic
from dsl.parse import parse, parse_again
from dsl.source import SourceFile
from dsl.tree import Document, Mapping, Node, Scalar, Sequence
from tests.dsl.strategies import SNIPPETS, documents, mutations
from tests.dsl.trees import check_against_yaml, plain

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.mix"))


def parsed(text: str) -> tuple[Document, list[Diagnostic]]:
    return parse(SourceFile("test.mix", text))


def mistakes(text: str) -> list[tuple[str, int]]:
    """Code and line of each mistake."""
    return [(each.code, each.source.position(each.span.start)[0]) for each in parsed(text)[1]]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_taken_and_read_as_yaml_reads_them(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert mistakes(text) == []
    check_against_yaml(text)


@settings(max_examples=150, deadline=None)
@given(documents())
def test_generated_documents_are_taken_and_read_as_yaml_reads_them(text: str) -> None:
    assert mistakes(text) == []
    check_against_yaml(text)


@settings(max_examples=400, deadline=None)
@given(mutations([path.read_text(encoding="utf-8") for path in EXAMPLES]))
def test_mutated_examples(text: str) -> None:
    check_against_yaml(text)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(SNIPPETS), max_size=12).map(lambda pieces: "k: " + "".join(pieces)))
def test_snippets_of_syntax(text: str) -> None:
    check_against_yaml(text)


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_arbitrary_text(text: str) -> None:
    check_against_yaml(text)


def texts(node: Node | None) -> list[Scalar]:
    match node:
        case Scalar():
            return [node]
        case Sequence():
            return [scalar for item in node.items for scalar in texts(item)]
        case Mapping():
            return [scalar for entry in node.entries for scalar in (entry.key, *texts(entry.value))]
        case None:
            return []


@settings(max_examples=100, deadline=None)
@given(documents())
def test_every_code_point_of_a_scalar_has_its_place(text: str) -> None:
    """Where a scalar's text is as written, its offsets point at the very same characters."""
    for scalar in texts(parsed(text)[0].root):
        places = [scalar.offset(index) for index in range(len(scalar.text) + 1)]
        assert places == sorted(places)
        assert scalar.span.start <= places[0] <= places[-1] == scalar.span.end
        for index, character in enumerate(scalar.text):
            assert text[places[index]] == character or text[places[index]] in "\\\r\n '"


def test_nothing_after_a_colon_is_no_value() -> None:
    document, _ = parsed("a:\nb: {c: , d: ''}\n")
    first, second = document.root.entries
    assert first.value is None
    assert isinstance(second.value, Mapping)
    assert [entry.value and plain(entry.value) for entry in second.value.entries] == [None, ""]


def test_comments_are_kept_with_their_places() -> None:
    document, _ = parsed("# one\na: 1  # two\nb: [  # three\n    1,\n  ]\n")
    assert [(comment.text, comment.own_line) for comment in document.comments] == [
        ("# one", True), ("# two", False), ("# three", False),
    ]  # fmt: skip
    assert all(document.source.text[each.span.start : each.span.end] == each.text for each in document.comments)


def test_empty_files() -> None:
    for text in ("", "\n\n", "# only a comment", "   \n"):
        document, diagnostics = parsed(text)
        assert (document.root.entries, diagnostics) == ((), [])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a:\tb", "MIX0101"), ("\ufeffa: b", "MIX0102"), ("a: b\x85c", "MIX0102"), ("a: b\u2028c", "MIX0102"),
        ("a: b\u2029c", "MIX0102"), ("a: \x07", "MIX0102"), ("a: b\rc: d", "MIX0102"), ("a: \ud800", "MIX0102"),
        (" a: b", "MIX0103"), ("- a", "MIX0103"), ("a: b\n  c: d", "MIX0103"), ("a:\n    b: c\n  d: e", "MIX0103"),
        ("a: &b c", "MIX0104"), ("a: *b", "MIX0104"), ("*a : b", "MIX0104"), ("a: !!str b", "MIX0105"),
        ("---\na: b", "MIX0106"), ("a: b\n...", "MIX0106"), ("%YAML 1.2", "MIX0106"), ("? a", "MIX0107"),
        ("[a]: b", "MIX0107"), ("a: {[b]: c}", "MIX0107"), ("a: [[b]: c]", "MIX0107"), ("a: b\na: c", "MIX0108"),
        ("a: {b: c, b: d}", "MIX0108"), ("<<: *a", "MIX0109"), ("a: issue #57", "MIX0110"), ("a: # b", "MIX0110"),
        ("a: [f(b, c)]", "MIX0111"), ("a: {b: f(c=[d])}", "MIX0111"), ("a: {b:64}", "MIX0112"),
        ('a: {"b":64}', "MIX0112"), ("a: b: c", "MIX0113"), ("a: b:", "MIX0113"), ("a: {b: c d: e}", "MIX0113"),
        ("a: f(b", "MIX0114"), ("a: b)", "MIX0114"), ('a: b"', "MIX0114"), ("a: %b", "MIX0115"), ("a: @b", "MIX0115"),
        ("a: `b", "MIX0115"), ("a: |> b", "MIX0115"), ("a: [b?]", "MIX0115"), ('a: "b', "MIX0116"),
        ("a: 'b\nc: d'", "MIX0116"), ("a: 'b' c", "MIX0116"), ("a: [b] c", "MIX0116"), ("a: [b", "MIX0117"),
        ("a: [b}", "MIX0117"), ("a: [b,, c]", "MIX0117"), ("a: {b}", "MIX0117"), ("a: [b: c]", "MIX0117"),
        ('a: "\\d"', "MIX0118"), ('a: "\\ud800"', "MIX0118"), ("a", "MIX0119"), (": b", "MIX0119"),
        ("a: - b", "MIX0119"), ("k" * 2000 + ": b", "MIX0119"), ("a: {" + "k" * 1100 + ": b}", "MIX0119"),
        ("a: | b", "MIX0120"), ("a: >x", "MIX0120"),
        ("a:\n  -\n  - b", "MIX0121"), ("a: " + "[" * 60, "MIX0122"),
        ("\n".join(" " * depth + "a:" for depth in range(60)), "MIX0122"),
    ],
)  # fmt: skip
def test_each_mistake_has_one_diagnostic_of_its_code(text: str, code: str) -> None:
    _, diagnostics = parsed(text)
    assert [each.code for each in diagnostics] == [code]
    assert diagnostics[0].help


def test_independent_mistakes_are_all_reported_and_nothing_that_follows_from_them() -> None:
    text = """\
edition: 2026
let:
  dose 100M tokens
  step: *other
source chats
  format: chat
  files: [a, b
  apply:
    - take(3M tokens
    - filter: {a:1}
  holdout: 1% #not much
train finetune:
    loss: "all
    for: 2 epochs
   batch: 32 examples
   doc: Note: one
  sequence: 2048 tokens
mix m:
  parts:
  \tweb: 100%
  budget: 3M tokens
  budget: 4M tokens
"""
    assert mistakes(text) == [
        ("MIX0119", 3), ("MIX0104", 4), ("MIX0119", 5), ("MIX0117", 7), ("MIX0114", 9), ("MIX0112", 10),
        ("MIX0110", 11), ("MIX0116", 13), ("MIX0113", 16), ("MIX0101", 20), ("MIX0108", 22),
    ]  # fmt: skip


def test_the_tree_holds_what_could_be_made_out() -> None:
    document, _ = parsed("train a\n  loss all\n  for: 2 epochs\n   x: 1\ntrain b:\n  doc: 'c\n  loss: all\n")
    assert plain(document.root) == {
        "train a": {"loss": "all", "for": "2 epochs"},
        "train b": {"doc": "c", "loss": "all"},
    }


def test_deep_nesting_is_a_mistake_and_no_crash() -> None:
    for text in ("a: " + "[" * 100_000, "a:\n" + "- " * 10_000 + "b", "a: " + "{b: " * 10_000):
        assert [code for code, _ in mistakes(text)] == ["MIX0122"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_parsing_again_what_has_changed_gives_what_parsing_it_all_gives(data: st.DataObject) -> None:
    before = data.draw(mutations([path.read_text(encoding="utf-8") for path in EXAMPLES]) | documents())
    place = data.draw(st.integers(0, len(before)))
    put = data.draw(st.sampled_from(SNIPPETS))
    after = before[:place] + put + before[place + data.draw(st.sampled_from([0, 1, 5])) :]
    again = parse_again(SourceFile("test.mix", after), parse_again(SourceFile("test.mix", before), {}).blocks)
    assert (again.document, again.diagnostics) == parsed(after)
