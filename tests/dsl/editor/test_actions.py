"""Mends: each that is offered makes its diagnostic go away, and nothing else wrong."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from dsl.check import check
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.editor.actions import mends
from dsl.files import read_text
from dsl.parse import parse
from tests.dsl.editor.cursor import ROOT, opened

FIXTURES = sorted((Path(__file__).parents[2] / "golden" / "diagnostics").glob("MIX*.mix"))


def said(diagnostics: list[Diagnostic]) -> Counter[tuple[str, str]]:
    return Counter((one.code, one.message) for one in diagnostics)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_mend_mends(path: Path):
    before = check([path])
    for one in before:
        where = Path(os.path.realpath(one.source.path))
        for mend in mends(one, parse(one.source)[0]):
            text = one.source.text
            new = text[: mend.span.start] + mend.text + text[mend.span.end :]
            after = check([path], read=lambda each, where=where, new=new: new if each == where else read_text(each))
            assert said(after)[one.code, one.message] < said(before)[one.code, one.message], mend
            assert not said(after) - said(before), mend


def offered(text: str) -> list[tuple[str, str]]:
    """Titles of the mends of a spec, with the text of each place that they change."""
    view, _, project = opened(text)
    found = project.check()[ROOT / "main.mix"]
    return [
        (mend.title, view.source.text[mend.span.start : mend.span.end])
        for one in found
        for mend in mends(one, view.document)
    ]


def test_what_is_offered():
    unused = [("Leave it out", "  dose: 20M tokens\n"), ("Leave it out", "import:\n  common: common.mix\n")]
    assert sorted(offered("")) == sorted([("Leave it out", "let:\n  dose: 20M tokens\n"), unused[1]])
    used = "source own:\n  from: common.chats\n  apply:\n    - take($dose)\n"
    assert offered(used) == []
    assert offered(used + "train a:\n  lenght: 3\n") == []
    assert ("Write 'sequence'", "sequense") in offered(used + "train a:\n  sequense: 3 tokens\n")
    assert ("Write '$dose'", "$dosis") in offered(used.replace("$dose", "$dosis"))
    assert ("Write two spaces before '#'", "") in offered(used + "# a\ntrain a:\n  loss: all # why\n")


def test_a_key_that_is_there_already_is_not_offered():
    assert offered("train a:\n  loss: all\n  losss: all\n  batch: $dose\n  data: common.chats\n") == []


def test_a_line_that_can_not_be_made_out_is_left_alone():
    for line in ("optimize(lr=1e-4)", "batch:$ 3", "sequence"):
        assert ("Leave it out", "let:\n  dose: 20M tokens\n") in offered(f"train a:\n  {line}\n")
        assert not [title for title, _ in offered(f"train a:\n  {line}\n") if title != "Leave it out"]


def test_other_ways_to_mean_it_are_offered_beside_each_other():
    view, _, project = opened("train a:\n  sequence: 64k tokens\n  batch: $dose\n  data: common.chats\n")
    one = next(one for one in project.check()[ROOT / "main.mix"] if one.code == "MIX0314")
    assert [(mend.text, mend.is_preferred) for mend in mends(one, view.document)] == [("64Ki", False), ("64000", False)]
