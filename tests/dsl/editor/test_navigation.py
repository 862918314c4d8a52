"""Where names are declared, and where they are used."""

from __future__ import annotations

import pytest

from dsl.editor.navigation import definition, is_free, named_at, uses
from dsl.editor.outline import outline
from tests.dsl.editor.cursor import ROOT, marked, opened

MAIN = """\
source own:
  from: common.chats
  apply:
    - take(2 examples)

mix parts:
  budget: $dose
  parts:
    own: 50%
    common.chats.holdout: rest

model tuned:
  from: common.start |> common.finetune(data=parts)
    |> common.finetune(data=own)

study s:
  base: common.start
  evals: [common.all_of_them]
  arms:
    plain: base |> common.finetune(data=own)
    other: tuned
  expect:
    - common.margin(plain) > common.all_of_them.margin(other)
    - "common.margin(plain) < 3"
"""


def went(old: str, new: str, **others: str) -> str | None:
    """Where one gets from the cursor in `new`, which takes the place of `old`."""
    assert MAIN.count(old) >= 1
    view, offset, _ = opened(MAIN.replace(old, new, 1), **others)
    return marked(definition(view, offset))


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("from: common.chats", "from: common.ch‸ats", "common.mix:21 chats"),
        ("from: common.chats", "from: com‸mon.chats", "main.mix:4 common"),
        ("    own: 50%", "    ow‸n: 50%", "main.mix:9 own"),
        ("chats.holdout", "chats.hold‸out", "common.mix:25 holdout"),
        ("$dose", "$‸dose", "main.mix:7 dose"),
        ("finetune(data=parts)", "fine‸tune(data=parts)", "common.mix:13 finetune"),
        ("data=parts", "data=par‸ts", "main.mix:14 parts"),
        ("|> common.finetune(data=own)\n\n", "|> common.finetune(data=ow‸n)\n\n", "main.mix:9 own"),
        ("plain: base", "plain: ba‸se", "main.mix:25 base"),
        ("other: tuned", "other: tun‸ed", "main.mix:20 tuned"),
        ("margin(plain) >", "margin(pla‸in) >", "main.mix:28 plain"),
        ("common.margin(plain) >", "common.mar‸gin(plain) >", "common.mix:27 margin"),
        ("them.margin(", "them.mar‸gin(", "common.mix:27 margin"),
        ('"common.margin(plain) <', '"common.margin(pl‸ain) <', "main.mix:28 plain"),
        ("[common.all_of_them]", "[common.all_of_‸them]", "common.mix:31 all_of_them"),
    ],
)
def test_definitions(old: str, new: str, place: str):
    assert went(old, new) == place


def test_definitions_that_are_not_there():
    assert went("data=parts", "da‸ta=parts") is None
    assert went("data=parts", "data=nowh‸ere") is None
    assert went("50%", "5‸0%") is None


def test_levels_and_factors():
    study = (
        "study s:\n  matrix:\n    - first:\n        none: none\n        long: common.finetune\n"
        "  expect:\n    - common.margin({}) > 1\n"
    )
    for word, place in (("fir‸st=long", "main.mix:11 first"), ("first=lo‸ng", "main.mix:13 long")):
        view, offset, _ = opened(study.format(word))
        assert marked(definition(view, offset)) == place


def test_files_and_constants_of_an_import():
    other = "edition: 2026\nimport:\n  main: {file: main.mix, let: {dose: 3}}\n"
    view, _, project = opened("train a:\n  for: $dose\n", other=other)
    seen = project.view(ROOT / "other.mix")
    assert seen is not None
    assert marked(definition(seen, other.index("dose") + 1)) == "main.mix:7 dose"
    assert marked(named_at(seen, other.index("dose") + 1)) == "main.mix:7 dose"
    place = named_at(view, view.source.text.index("$dose") + 1)
    assert place is not None
    assert [marked(at) for at in uses(project.views_with("dose", ROOT), place)] == [
        "main.mix:7 dose",
        "main.mix:10 dose",
        "other.mix:3 dose",
    ]


@pytest.mark.parametrize(
    ("cursor", "lines"),
    [
        ("source ‸own", ["main.mix:9", "main.mix:17", "main.mix:22", "main.mix:28"]),
        ("pla‸in", ["main.mix:28", "main.mix:31", "main.mix:32"]),
        ("$do‸se", ["main.mix:7", "main.mix:15"]),
        ("common.fine‸tune", ["common.mix:13", "main.mix:21", "main.mix:22", "main.mix:28"]),
        ("common.mar‸gin", ["common.mix:27", "common.mix:32", "main.mix:31", "main.mix:31", "main.mix:32"]),
    ],
)
def test_uses(cursor: str, lines: list[str]):
    view, offset, project = opened(MAIN.replace(cursor.replace("‸", ""), cursor, 1))
    place = named_at(view, offset)
    assert place is not None
    word = place.source.text[place.span.start : place.span.end]
    found = [marked(at) for at in uses(project.views_with(word, ROOT), place)]
    assert sorted(found) == sorted(f"{line} {word}" for line in lines)


def test_uses_are_what_is_meant_not_what_is_spelt_alike():
    view, offset, project = opened(
        "model m‸argin:\n  api: a/margin\n  doc: margin\n\neval e:\n  judge: margin  # margin\n  metric: mean(margin)\n"
    )
    place = named_at(view, offset)
    assert place is not None
    assert [marked(at) for at in uses(project.views_with("margin", ROOT), place)] == [
        "main.mix:9 margin",
        "main.mix:14 margin",
    ]


def test_new_names():
    view, offset, _ = opened(MAIN.replace("source own", "source o‸wn", 1))
    assert is_free(view, offset, "mine")
    for taken in ("parts", "common", "base", "Not A Name", ""):
        assert not is_free(view, offset, taken)


def test_outline():
    view, _, _ = opened(MAIN + "lost line\nmodel later:\n  api: a/b\n  doc: Words.\n")
    symbols = outline(view.document)
    assert [(one.sort, one.name) for one in symbols] == [
        ("import", "common"), ("constant", "dose"), ("declaration", "own"), ("declaration", "parts"),
        ("declaration", "tuned"), ("declaration", "s"), ("declaration", "later"),
    ]  # fmt: skip
    assert symbols[-1].detail == "model: Words."
    study = symbols[5]
    assert [one.name for one in study.children] == ["base", "evals", "arms", "expect"]
    assert [one.name for one in study.children[2].children] == ["plain", "other"]
    assert all(one.span.start <= one.name_span.start <= one.name_span.end <= one.span.end for one in symbols)
