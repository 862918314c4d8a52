"""`check` and `fmt` of folders with bad entries, of what can't be read or written, and of closed streams."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixc.cli.check import wants_colour
from mixc.cli.main import main

GOOD = "edition: 2026\n\nmodel judge:\n  api: a/b\n"
WRONG = "edition: 2026\nmodel judge:\n  wrong: 1\n"
LOOSE = "edition:  2026\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first.mix").write_text(GOOD)
    return tmp_path


def test_bad_entries_are_told_and_the_rest_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "dangling.mix").symlink_to("nowhere")
    (folder / "loop.mix").symlink_to("loop.mix")
    os.mkfifo(folder / "pipe.mix")
    (folder / ".#first.mix").symlink_to("user@host")
    (folder / "folder.mix").mkdir()
    (folder / "folder.mix" / "inside.mix").write_text(WRONG)
    assert main(["check", "."]) == 1
    printed = capsys.readouterr()
    assert "--> folder.mix/inside.mix:3:3" in printed.out
    assert printed.err.splitlines() == [
        "error: can't read dangling.mix: it is a link that leads nowhere",
        "error: can't read loop.mix: it is a link that leads nowhere",
        "error: can't read pipe.mix: it is no regular file",
    ]
    (folder / "folder.mix" / "inside.mix").write_text(LOOSE)
    assert main(["fmt", "."]) == 1
    assert capsys.readouterr().out == "reformatted folder.mix/inside.mix\n"


def test_hidden_and_foreign_folders_are_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (".venv", ".git", "node_modules"):
        (folder / name).mkdir()
        (folder / name / "x.mix").write_text(WRONG)
    (folder / ".hidden.mix").write_text(WRONG)
    assert main(["check", "."]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["check", ".venv"]) == 1
    assert main(["check", ".hidden.mix"]) == 1


def test_a_linked_folder_is_named_and_not_followed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "here").mkdir()
    (folder / "here" / "round").symlink_to(folder)
    assert main(["check", "."]) == 0
    assert capsys.readouterr().err == "note: here/round is a link to a folder, which isn't followed: name it too\n"
    assert main(["check", "here/round"]) == 0


def test_a_folder_that_can_not_be_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "locked").mkdir()
    scandir = os.scandir

    def refusing(path: str) -> Iterator[os.DirEntry[str]]:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert main(["check", "."]) == 1
    assert capsys.readouterr().err == "error: can't open the folder ./locked: permission denied\n"


def test_paths_that_name_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "empty").mkdir()
    for command in ("check", "fmt"):
        assert main([command, "nowhere.mix", "empty", "first.mix"]) == 2
        assert capsys.readouterr().err == "error: there is no nowhere.mix\nerror: the folder empty has no .mix file\n"


def test_fmt_of_what_can_not_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loose = folder / "loose.mix"
    loose.write_text(LOOSE)
    loose.chmod(0o444)
    assert main(["fmt", "loose.mix"]) == 1
    assert capsys.readouterr() == ("", "error: can't write loose.mix: it is read-only\nhelp: `chmod u+w loose.mix`\n")
    loose.chmod(0o644)

    def refusing(path: Path, data: bytes) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "write_bytes", refusing)
    assert main(["fmt", "loose.mix"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"error: can't write loose.mix: permission denied\nhelp: `chmod u+w {folder}`\n"
    assert loose.read_text() == LOOSE
    assert sorted(one.name for one in folder.iterdir()) == ["first.mix", "loose.mix"]


def test_fmt_of_what_is_no_text_says_what_check_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "binary.mix").write_bytes(b"\xff\xfe")
    assert main(["check", "binary.mix"]) == 1
    checked = capsys.readouterr().out
    assert main(["fmt", "binary.mix"]) == 1
    assert capsys.readouterr().err == checked


def test_fmt_check_of_stdin_says_what_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(LOOSE))
    assert main(["fmt", "--check", "-"]) == 1
    assert capsys.readouterr().out == "would reformat <stdin>\n"


def test_fmt_leaves_one_blank_between_kind_and_name(folder: Path) -> None:
    (folder / "first.mix").write_text("edition: 2026\n\nmix   character :\n  parts: {a: 1}\n")
    assert main(["fmt", "first.mix"]) == 0
    assert (folder / "first.mix").read_text().splitlines()[2] == "mix character:"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("check first.mix >&-", 0),
        ("check nowhere.mix 2>&-", 2),
        ("explain >&-", 0),
        ("fmt - <&-", 0),
        ("lsp <&-", 1),
    ],
)
def test_closed_streams(command: str, code: int) -> None:
    line = f"{sys.executable} -m mixc.cli.main {command}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")


def test_colours_only_where_a_terminal_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_colour(Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(Terminal())
