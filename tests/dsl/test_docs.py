"""Every ```mix block of the written docs is a spec, and is what its mark says.

The words after ```mix: none, the block is a file without any error or warning; `error[CODE]` and `warning[CODE]`, what
`mixc check` finds in it, all of it; `more`, it goes on from the fine block before it on the page; `file=NAME`, later
blocks of the page import it by this name; `from=PATH`, its lines stand in that file of the repository, in this order.
Codes from MIX0400 on are the plan's, so the text of such a block is fine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dsl.check import check
from dsl.diagnostics.pages import codes, read_page
from dsl.diagnostics.render import render
from tests.dsl.loading import ROOT as PROJECT
from tests.dsl.loading import reader
from tests.dsl.test_reference import LOADERS, VALIDATOR, read

ROOT = Path(__file__).parents[2]
IMPORTS = {f"imports/{path.name}": path.read_text() for path in (ROOT / "tests/golden/diagnostics/imports").iterdir()}
"""What pages import without showing it."""

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "editors").rglob("*.md")),
    *sorted((ROOT / "dsl/diagnostics/codes").glob("*.md")),
]
PLAN = "MIX0400"
_BLOCK = re.compile(r"^```mix\b *([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"(?:error|warning)\[(MIX\d{4})\]")
_WORD = re.compile(rf"more|(?:file|from)=\S+|{_MARK.pattern}")


@dataclass(frozen=True)
class Block:
    """A block with all that it goes on from, and the files that it may import."""

    place: str
    words: tuple[str, ...]
    written: str
    text: str
    files: dict[str, str]

    @property
    def marks(self) -> set[str]:
        return {word for word in self.words if _MARK.fullmatch(word)}

    def value(self, key: str) -> str | None:
        return next((word.partition("=")[2] for word in self.words if word.startswith(f"{key}=")), None)


def blocks(page: str, name: str) -> Iterator[Block]:
    before, files = "", dict(IMPORTS)
    for match in _BLOCK.finditer(page):
        words, written = tuple(match.group(1).split()), match.group(2)
        line = page.count("\n", 0, match.start()) + 1
        text = f"{before}\n{written}" if "more" in words else written
        block = Block(f"{name}:{line}", words, written, text, dict(files))
        yield block
        if (file := block.value("file")) is not None:
            files[file] = written
        elif not block.marks and block.value("from") is None:
            before = text


ALL = [
    block
    for path in PAGES
    if "node_modules" not in path.parts
    for block in blocks(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
]


def found_in(block: Block) -> set[str]:
    found = check([PROJECT / "study.mix"], root=PROJECT, read=reader(block.files | {"study.mix": block.text}))
    print(render(found))
    return {f"{one.severity}[{one.code}]" for one in found}


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.place)
def test_a_block_is_what_it_says(block: Block) -> None:
    assert all(_WORD.fullmatch(word) for word in block.words), "the test knows no such word"
    if (path := block.value("from")) is not None:
        assert stands_in(block.written, (ROOT / path).read_text(encoding="utf-8"))
    elif block.value("file") is None:
        assert found_in(block) == {mark for mark in block.marks if mark[-8:-1] < PLAN}


@pytest.mark.parametrize("block", [one for one in ALL if not one.marks], ids=lambda block: block.place)
def test_what_is_fine_fits_the_schema_of_editors(block: Block) -> None:
    if block.value("from") is None:
        for loader in LOADERS:
            assert [error.message for error in VALIDATOR.iter_errors(read(block.text, loader))] == []


def stands_in(part: str, whole: str) -> bool:
    """Whether the lines of `part` are lines of `whole`, in this order."""
    lines = iter(whole.splitlines())
    return all(line in lines for line in part.splitlines() if line.strip())


_EXCERPT = re.compile(r"^```\w+ from=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_code_on_plug_ins_stands_in_the_file_that_it_is_from() -> None:
    page = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    found = _EXCERPT.findall(page)
    assert len(found) == len(re.findall(r"^```(?:python|toml)", page, re.MULTILINE)) > 0
    for path, written in found:
        assert stands_in(written, (ROOT / path).read_text(encoding="utf-8")), f"{path}: {written}"


def test_no_block_is_missed() -> None:
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        assert len(re.findall(r"^\s*(?:```+|~~~+) *mix\b", page, re.MULTILINE)) == len(_BLOCK.findall(page)), path


def test_how_blocks_of_a_page_belong_together() -> None:
    page = """\
```mix
a
```
```mix more error[MIX0203]
b
```
```mix more
c
```
```mix file=d.mix
d
```
```mix more warning[MIX0220]
e
```
"""
    first, second, third, fourth, fifth = blocks(page, "page.md")
    assert [one.text for one in (first, second, third)] == ["a\n", "a\n\nb\n", "a\n\nc\n"]
    assert (second.marks, third.marks, fifth.marks) == ({"error[MIX0203]"}, set(), {"warning[MIX0220]"})
    assert fifth.text == "a\n\nc\n\ne\n"
    assert "d.mix" not in fourth.files
    assert fifth.files["d.mix"] == "d\n"
    assert fifth.place == "page.md:13"


def test_an_excerpt_has_lines_of_its_file_in_their_order() -> None:
    assert stands_in("a\n\nc\n", "a\nb\nc\n")
    assert not stands_in("c\na\n", "a\nb\nc\n")
    assert not stands_in("d\n", "a\nb\nc\n")


@pytest.mark.parametrize("code", codes())
def test_a_code_s_example_gives_it_and_the_mend_does_not(code: str) -> None:
    page = read_page(code)
    assert page is not None
    example, mend = (list(blocks(page.sections[section] + "\n", code)) for section in ("Example", "Instead"))
    assert [one.marks for one in example if one.value("file") is None] in ([{f"error[{code}]"}], [{f"warning[{code}]"}])
    assert all(not one.marks for one in mend)
    assert mend or code >= PLAN, "a mend that is no spec is for codes of the plan alone"
