"""Rules for sources, transforms and mixes beside those of conditions: what is wrong, and silence on what is right."""

from __future__ import annotations

import pytest

from dsl.check import check
from tests.dsl.loading import ROOT, checked, reader, spec

COMMON = """
model starter:
  from: hf://a/b
model writer:
  api: a/b
source documents:
  format: documents
  files: a
  holdout: 1%
source chats:
  format: chat
  files: b
source pairs:
  format: preference
  files: c
source requests:
  format: prompts
  files: d
train tune:
  objective: supervised
  loss: all
  sequence: 128 tokens
  batch: 2 examples
  optimizer: adamw(lr=1e-4)
"""
HEAD = "import:\n  c: c.mix\n"
ASKS = "with=c.writer, prompt=p.md"


def found(text: str) -> list[tuple[str, str]]:
    """Codes and places; that a spec may not use the import is of no concern."""
    return [one for one in checked(HEAD + text, c=COMMON) if one[0] != "MIX0341"]


def source(*apply: str, format: str = "chat", more: str = "") -> list[tuple[str, str]]:
    lines = "".join(f"    - {one}\n" for one in apply)
    return found(f"source s:\n  format: {format}\n  files: x\n{more}  apply:\n{lines}")


def messages(text: str) -> list[str]:
    files = {"main.mix": spec(HEAD + text), "c.mix": spec(COMMON)}
    diagnostics = check([ROOT / "main.mix"], root=ROOT, read=reader(files))
    return [one.message for one in diagnostics if one.code != "MIX0341"]


@pytest.mark.parametrize(
    ("apply", "place"),
    [
        (f'judge(as="with space", {ASKS}, answers=[yes, no])', '"with space"'),
        (f'judge(as="not", {ASKS}, answers=[yes, no])', '"not"'),
        (f'judge(as="1st", {ASKS}, answers=[yes, no])', '"1st"'),
        (f"judge(as=messages, {ASKS}, answers=[yes, no])", "messages"),
        (f"judge(as=turns, {ASKS}, answers=[yes, no])", "turns"),
        (f"score(as=text, {ASKS}, scale=1..10)", "text"),
        ("set(field=tokens, value=3)", "tokens"),
        (f"judge(as=bait, {ASKS}, answers=[yes])", "answers"),
        (f"score(as=bait, {ASKS}, scale=3..3)", "3..3"),
    ],
)
def test_new_fields_that_hide_others_or_tell_nothing(apply: str, place: str) -> None:
    assert source(apply) == [("MIX0358", place)]
    assert found(f"source s:\n  from: c.chats |> x\naugment x:\n  apply:\n    - {apply}\n") == [("MIX0358", place)]


def test_a_field_is_made_once_from_one_text() -> None:
    judge, score = f"judge(as=bait, {ASKS}, answers=[yes, no])", f"score(as=bait, {ASKS}, scale=1..3)"
    assert source(judge, "dedup", judge) == [("MIX0358", "bait")]
    assert source(judge, score) == [("MIX0358", "bait")]
    assert source("set(field=bait, value=x)", judge) == [("MIX0358", "bait")]
    assert source(judge, f"rewrite({ASKS})", judge) == []
    assert source(judge, more="  fields: {bait: took_bait}\n") == [("MIX0358", "bait")]
    assert source(f"judge(as=turns, {ASKS}, answers=[yes, no])", format="documents") == []


def test_a_condition_over_a_field_that_tells_nothing_is_no_second_mistake() -> None:
    assert source(f"judge(as=bait, {ASKS}, answers=[yes])", 'filter: bait == "yes"') == [("MIX0358", "answers")]
    assert source(f"score(as=bait, {ASKS}, scale=3..3)", "filter(bait > 3)") == [("MIX0358", "3..3")]
    assert source("set(field=tokens, value=x)", "filter(tokens > 3)") == [("MIX0358", "tokens")]


def test_a_field_made_in_the_origin_is_not_made_again() -> None:
    judge = f"judge(as=bait, {ASKS}, answers=[yes, no])"
    text = f"source a:\n  from: c.chats\n  apply:\n    - {judge}\nsource b:\n  from: a\n  apply:\n    - {judge}\n"
    assert found(text) == [("MIX0358", "bait")]


def test_a_column_that_no_condition_reads() -> None:
    assert source("dedup", more="  fields: {turns: n}\n") == [("MIX0358", "n")]
    assert source("dedup", format="documents", more="  fields: {text: story, turns: n}\n") == []


@pytest.mark.parametrize(
    ("apply", "format", "expected"),
    [
        (f"rewrite(turns=assistant, {ASKS})", "documents", [("MIX0318", "assistant")]),
        (f"rewrite(turns=all, {ASKS})", "documents", [("MIX0318", "all")]),
        (f"rewrite({ASKS})", "documents", []),
        (f"rewrite(turns=user, {ASKS})", "chat", []),
        ("dedup(by=exact, threshold=0.9)", "chat", [("MIX0318", "0.9")]),
        ("dedup(threshold=0.9)", "chat", [("MIX0318", "0.9")]),
        ("dedup(by=minhash, threshold=0.9)", "chat", []),
        ("take(5M trained tokens)", "prompts", [("MIX0303", "take(5M trained tokens)")]),
        ("take(5M trained tokens)", "chat", []),
        ("take(5M tokens)", "prompts", []),
        ("sample(with=c.writer)", "chat", []),
        ("tools(files=x, count=1..2)", "documents", [("MIX0303", "tools(files=x, count=1..2)")]),
    ],
)
def test_transforms_mean_something_there(apply: str, format: str, expected: list[tuple[str, str]]) -> None:
    assert source(apply, format=format) == expected
    assert source("filter(tokens > 3)", apply, format=format) == expected


def test_the_transform_of_an_augment_that_breaks_it_is_pointed_at() -> None:
    generate = "generate(with=c.writer, prompt=p, count=3 examples)"
    text = f"augment x:\n  apply:\n    - dedup\n    - tools(files=f, count=1..2)\n    - {generate}\n"
    assert found(text) == [("MIX0303", generate)]


def test_places_of_transforms_written_as_mappings() -> None:
    mapping = "{judge: {as: text, with: c.writer, prompt: p, answers: [yes, no]}}"
    assert source(mapping) == [("MIX0358", "text")]
    assert source(f"rewrite: {{{ASKS.replace('=', ': ')}, turns: all}}", format="documents") == [("MIX0318", "all")]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("c.documents.holdout", []),
        ("[c.documents.holdout, c.chats]", []),
        ("[c.documents, c.requests]", [("MIX0307", "c.requests")]),
        ("c.pairs", [("MIX0307", "c.pairs")]),
    ],
)
def test_a_loss_is_of_text(loss: str, expected: list[tuple[str, str]]) -> None:
    assert found(f"eval e:\n  loss: {loss}\n") == expected


@pytest.mark.parametrize(
    ("mix", "expected"),
    [
        ("phases: []", [("MIX0304", "phases")]),
        (
            "budget: 1k examples\n  phases:\n    - {for: 50%, parts: {c.chats: 100%}}\n"
            "    - {for: 600 examples, parts: {c.chats: 100%}}",
            [("MIX0305", "phases")],
        ),
        (
            "budget: 1k examples\n  phases:\n    - {for: 50%, parts: {c.chats: 100%}}\n"
            "    - {for: 500 examples, parts: {c.chats: 100%}}",
            [],
        ),
        (
            "budget: 1k examples\n  phases:\n    - {for: 400 examples, parts: {c.chats: 100%}}\n"
            "    - {for: 500 examples, parts: {c.chats: 100%}}",
            [("MIX0305", "phases")],
        ),
        (
            "phases:\n    - {for: 50%, parts: {c.chats: 100%}}\n    - {for: 600 examples, parts: {c.chats: 100%}}",
            [],
        ),
        (
            "budget: 1k examples\n  phases:\n    - {for: 50%, parts: {c.chats: 300 examples, c.documents: 50%}}\n"
            "    - {for: 50%, parts: {c.chats: 100%}}",
            [("MIX0305", "parts")],
        ),
        (
            "phases:\n    - {for: 1k examples, parts: {c.chats: 500 examples, c.documents: 60%}}\n"
            "    - {for: 500 examples, parts: {c.chats: 100%}}",
            [("MIX0305", "parts")],
        ),
    ],
)
def test_phases_add_up(mix: str, expected: list[tuple[str, str]]) -> None:
    assert found(f"mix m:\n  {mix}\n") == expected


@pytest.mark.parametrize(
    ("mix", "expected"),
    [
        ("max_epochs: 1\n  parts: {c.documents: 3 epochs}", [("MIX0359", "3 epochs")]),
        ("max_epochs: 3\n  parts: {c.documents: 3 epochs}", []),
        ("max_epochs: 1\n  underfill: allow\n  parts: {c.documents: 3 epochs}", []),
        ("max_epochs: 0.5\n  parts: {c.documents: all}", [("MIX0359", "all")]),
        (
            "max_epochs: 1\n  phases:\n    - {for: 50%, parts: {c.chats: all}}\n"
            "    - {for: 50%, parts: {c.chats: 0.5 epochs, c.documents: rest}}",
            [("MIX0359", "0.5 epochs")],
        ),
        ("max_epochs: 1\n  parts: {c.documents: all, c.documents.holdout: all}", []),
        ("parts: [c.documents, c.documents]\n  shares: proportional", [("MIX0327", "c.documents")]),
        ("parts: {c.documents: 50%, c.documents.holdout: 50%}", []),
        (
            "phases:\n    - {for: 50%, parts: {c.chats: all}}\n    - {for: 50%, parts: {c.chats: all}}",
            [],
        ),
    ],
)
def test_mixes_that_contradict_themselves(mix: str, expected: list[tuple[str, str]]) -> None:
    assert found(f"mix m:\n  {mix}\n") == expected


def test_two_aliases_of_one_file_name_the_same_rows() -> None:
    text = "import:\n  c: c.mix\n  d: c.mix\nmix m:\n  parts: {c.chats: 50%, d.chats: 50%}\n"
    assert checked(text, c=COMMON) == [("MIX0327", "50%")]
    lib = "let:\n  file: a\nsource s:\n  format: chat\n  files: $file\n"
    other = "import:\n  c: lib.mix\n  d: {file: lib.mix, let: {file: b}}\nmix m:\n  parts: {c.s: 50%, d.s: 50%}\n"
    assert checked(other, lib=lib) == []


SHARES = "mix a:\n  parts: {c.chats: 50%, c.documents: 50%}\n"


@pytest.mark.parametrize(
    ("outer", "expected"),
    [
        ("parts: {a: 100%}", ["MIX0334"]),
        ("parts: {a: all}", ["MIX0334"]),
        ("parts: {a: 2 epochs, c.documents.holdout: all}", ["MIX0334"]),
        ("phases:\n    - {for: 100%, parts: {a: 100%}}", ["MIX0334"]),
        ("parts: {a: 5M tokens}", []),
        ("parts: {a: 50%, c.documents.holdout: all}", []),
        ("budget: 5M tokens\n  parts: {a: 100%}", []),
        ("parts: {c.chats: 100%}", []),
    ],
)
def test_an_epoch_of_nested_shares(outer: str, expected: list[str]) -> None:
    model = "model z:\n  from: c.starter |> c.tune(data=b, for=2 epochs)\n"
    codes = [code for code, _ in found(f"{SHARES}mix b:\n  {outer}\n{model}")]
    assert [code for code in codes if code != "MIX0340"] == expected


def test_sums_are_told_in_enough_digits() -> None:
    def parts(second: str) -> list[str]:
        return messages(f"mix m:\n  parts: {{c.chats: 50%, c.documents: {second}}}\n")

    assert parts("50.0001%") == ["the parts of mix m add up to 100.0001%"]
    assert parts("49.999999999999%") == ["the parts of mix m add up to 99.999999999999%, not 100%"]
    assert parts(f"50.{'0' * 36}1%") == [f"the parts of mix m add up to 100.{'0' * 36}1%"]
    assert parts("60%") == ["the parts of mix m add up to 110%"]
    assert messages("mix m:\n  budget: 3k examples\n  parts: {c.chats: 1k examples, c.documents: 1k examples}\n") == [
        "the parts of mix m add up to 66.6667%, not 100%"
    ]
