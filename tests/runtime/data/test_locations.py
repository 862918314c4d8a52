"""Locations on this machine: what a path, a folder or a pattern names, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.data.locations import alternatives, find
from runtime.errors import UserError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    names = ["stories/b.jsonl", "stories/a.jsonl", "deep/er/c.jsonl", "notes.md", ".hidden/x.jsonl", "deep/.y.jsonl"]
    for name in names:
        path = root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "outside.jsonl").write_text("x")
    return root


def names(root: Path, location: str) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find(location, root)]


def test_paths_folders_and_patterns(project: Path) -> None:
    stories = ["data/stories/a.jsonl", "data/stories/b.jsonl"]
    assert names(project, "data/stories/*.jsonl") == names(project, "data/stories") == stories
    assert names(project, "data/stories/") == names(project, "data/stories/[ab].jsonl") == stories
    assert names(project, "data/**/*.jsonl") == ["data/deep/er/c.jsonl", *stories]
    assert names(project, "data") == ["data/deep/er/c.jsonl", "data/notes.md", *stories]
    assert names(project, "data/{stories/{a,b},deep/er/c}.jsonl") == ["data/deep/er/c.jsonl", *stories]
    assert names(project, "data/.hidden/*.jsonl") == ["data/.hidden/x.jsonl"]
    assert find(str(project / "data/notes.md"), project) == [project / "data/notes.md"]
    assert find(str(project / "data/*.md"), project) == [project / "data/notes.md"]


def test_names_that_look_like_patterns(project: Path) -> None:
    for name in ("a[1].jsonl", "{x}.jsonl", "a*.jsonl"):
        (project / name).write_text("x")
        assert names(project, name) == [name]


def test_a_folder_that_is_named_like_a_file(project: Path) -> None:
    (project / "out/part.jsonl").mkdir(parents=True)
    (project / "out/part.jsonl/0000.jsonl").write_text("x")
    (project / "out/other").mkdir()
    (project / "out/other/0001.jsonl").write_text("x")
    assert names(project, "out/*") == names(project, "out/part.jsonl") == ["out/part.jsonl/0000.jsonl"]


def test_what_is_not_there(project: Path) -> None:
    with pytest.raises(UserError, match=r"no file matches 'data/storys/\*.jsonl'\nhelp: did you mean 'stories'\?"):
        find("data/storys/*.jsonl", project)
    with pytest.raises(UserError, match=r"did you mean 'notes.md'\?"):
        find("data/note.md", project)
    with pytest.raises(UserError, match=r"stories holds a.jsonl, b.jsonl"):
        find("data/stories/*.parquet", project)
    with pytest.raises(UserError, match=r"no file matches 'data/stories/z.jsonl'"):
        find("data/stories/{a,z}.jsonl", project)
    (project / "empty").mkdir()
    with pytest.raises(UserError, match=r"the folder 'empty' holds no file"):
        find("empty", project)
    (project / "data/stories/tool.py").write_text("x")
    with pytest.raises(
        UserError, match=r"data/stories/tool.py: can't read a file that ends in '.py', and 'data/stories'"
    ):
        find("data/stories", project)


def test_nothing_outside_the_project_unless_allowed(project: Path) -> None:
    (project / "link.jsonl").symlink_to(project.parent / "outside.jsonl")
    (project / "inside.jsonl").symlink_to(project / "data/stories/a.jsonl")
    assert names(project, "inside.jsonl") == ["inside.jsonl"]
    for location in ("../outside.jsonl", "../*.jsonl", str(project.parent / "outside.jsonl"), "link.jsonl", "*.jsonl"):
        with pytest.raises(
            UserError, match=r"is outside the project, in .*\nhelp: move it into the project, or say --all"
        ):
            find(location, project)
        assert find(location, project, allow_outside=True)


def test_braces() -> None:
    assert alternatives("a") == ["a"]
    assert alternatives("{a,b}/{c,d}") == ["a/c", "a/d", "b/c", "b/d"]
    assert sorted(alternatives("x{a,{b,c}d,}")) == ["x", "xa", "xbd", "xcd"]
    assert alternatives("{a,a}") == ["a"]
    assert alternatives("a}{b") == ["a}{b"]
    with pytest.raises(UserError, match="stand for more than 10,000 names"):
        alternatives("{a,b}" * 40)
