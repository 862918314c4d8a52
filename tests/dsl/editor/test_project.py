"""Open files: what is written in the editor counts, and nothing is made twice from the same text."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.editor.completion import completions
from dsl.editor.hover import hover
from dsl.editor.navigation import definition
from dsl.editor.outline import outline
from dsl.editor.project import Project
from dsl.files import read_text
from tests.dsl.editor.cursor import COMMON, HEAD, ROOT, opened

MAIN = """\
edition: 2026
import:
  common: common.mix
model m:
  from: common.start |> common.finetune(data=common.chats)
"""


def test_a_buffer_counts_more_than_the_disk(tmp_path: Path):
    main, common = tmp_path / "main.mix", tmp_path / "common.mix"
    common.write_text(COMMON)
    project = Project()
    project.put(main, MAIN)
    assert project.check() == {main: []}
    project.put(common, COMMON.replace("finetune", "tune"))
    assert [one.code for one in project.check()[main]] == ["MIX0210"]
    project.drop(common)
    assert project.check() == {main: []}


def test_what_did_not_change_is_not_made_again(tmp_path: Path):
    main, common = tmp_path / "main.mix", tmp_path / "common.mix"
    common.write_text(COMMON)
    project = Project()
    project.put(main, MAIN)
    first, checked = project.view(main), project.check()
    assert project.view(main) is first
    assert project.check() is checked
    common.write_text(COMMON + "# more\n")
    os.utime(common, (0, 0))
    second = project.view(main)
    assert second is not first
    project.put(main, MAIN + "# more\n")
    assert project.view(main) is not second
    assert project.check() is not checked


def test_a_file_that_can_not_be_read(tmp_path: Path):
    (tmp_path / "bad.mix").write_bytes(b"\xff")
    project = Project()
    assert project.view(tmp_path / "bad.mix") is None
    assert project.view(tmp_path / "missing.mix") is None
    (tmp_path / "missing.mix").write_text(COMMON)
    assert project.view(tmp_path / "missing.mix") is not None
    assert [view.scope.path.name for view in project.views_with("finetune", tmp_path)] == ["missing.mix"]


EXAMPLES = Path(__file__).parents[2] / "examples"


def test_every_place_of_an_example_has_answers():
    """Hover, definition and completion at every third character of a real file, and with its end cut off there."""
    path = EXAMPLES / "constitution.mix"
    text = read_text(path)
    project = Project()
    view = project.view(path)
    assert view is not None
    told = [hover(view, offset) for offset in range(0, len(text), 3)]
    assert sum(one is not None for one in told) > len(told) / 3
    for offset in range(0, len(text), 3):
        definition(view, offset)
    for offset in range(0, len(text), 97):
        project.put(path, text[:offset])
        half = project.view(path)
        assert half is not None
        completions(half, offset)


@settings(max_examples=60, deadline=None)
@given(
    st.text(alphabet=st.sampled_from("ab:-# \n|>()[]{}.,$\"'=@*&%\t\u2028日😀1kM") | st.characters(), max_size=60),
    st.integers(0, 60),
)
def test_no_text_is_too_broken(text: str, offset: int):
    view, _, project = opened("train a:\n  " + text)
    offset = min(len(HEAD) + offset, len(view.source.text))
    completions(view, offset)
    hover(view, offset)
    definition(view, offset)
    outline(view.document)
    project.check()
    assert project.view(ROOT / "main.mix") is view
