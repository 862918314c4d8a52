"""`show` of every name that a file can say, and `fmt` of several files, as a user sees them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from mixc.cli.main import main

SPEC = """edition: 2026

import: {k: kit.mix}

let:
  dose: 200 steps

model tuned:
  from: k.m |> k.ft(data=k.docs, for=$dose, optimizer.lr=3e-4)
"""
KIT = """edition: 2026

let:
  rows: 512 tokens

model m:
  from: hf://org/m

source docs:
  format: documents
  files: d/*.jsonl
  holdout: 1%

train ft:
  objective: supervised
  sequence: $rows
  batch: 8 examples
  optimizer: adamw(lr=1e-4)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "main.mix").write_text(SPEC)
    (tmp_path / "kit.mix").write_text(KIT)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["show", "main.mix", *arguments]) == 0
    return capsys.readouterr().out


def test_held_out_rows_and_constants_have_names_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "k.docs.holdout").startswith("source docs:\n  format: documents\n")
    assert "k.docs.holdout.files: [d/*.jsonl]" in shown(capsys, "k.docs.holdout", "--resolved")
    assert shown(capsys, "dose") == "let:\n  dose: 200 steps\n"
    assert shown(capsys, "k.rows", "--resolved") == "k.rows: 512 tokens  # kit.mix:4\n"
    assert shown(capsys, "dose", "--resolved", "--set", "dose=9 steps") == "dose: 9 steps  # --set dose\n"
    (row,) = json.loads(shown(capsys, "dose", "--json"))
    assert row == {"field": "dose", "value": "200 steps", "origin": "main.mix:6"}


def test_no_output_has_the_path_of_this_machine(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("tuned", "k.docs", "k.ft"):
        for option in ("--resolved", "--json"):
            assert str(folder) not in shown(capsys, name, option)
    assert "k.m |> k.ft(data=k.docs, for=200 steps, optimizer.lr=3e-4)" in shown(capsys, "tuned", "--resolved")


STUDY = """
study s:
  base: k.m
  arms:
    slow: base |> k.ft(data=k.docs, for=$dose)
    fast: base |> k.ft(data=k.docs, for=$dose, optimizer.lr=3e-4)
"""


def test_an_arm_tells_every_field_of_its_stages_and_which_of_them_it_overrides(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "main.mix").open("a") as file:
        file.write(STUDY)
    lines = {line.split(":")[0]: " ".join(line.split()) for line in shown(capsys, "s.fast", "--resolved").splitlines()}
    assert lines["fast.k.ft.optimizer.lr"] == "fast.k.ft.optimizer.lr: 3e-4 # main.mix:15"
    assert lines["fast.k.ft.batch"] == "fast.k.ft.batch: 8 examples # kit.mix:17"
    assert lines["fast.k.ft.sequence"] == "fast.k.ft.sequence: 512 tokens # kit.mix:4 ($rows, kit.mix:16)"
    assert lines["fast.k.ft.for"] == "fast.k.ft.for: 200 steps # main.mix:6 ($dose, main.mix:15)"
    assert "--set dose ($dose, main.mix:14)" in shown(capsys, "s.slow", "--resolved", "--set", "dose=300 steps")
    rows = {row["field"]: row for row in json.loads(shown(capsys, "s.slow", "--json"))}
    assert rows["slow.k.ft.optimizer.lr"] == {
        "field": "slow.k.ft.optimizer.lr",
        "value": "1e-4",
        "origin": "kit.mix:18",
    }
    assert shown(capsys, "s.base") == "base: k.m\n"


@pytest.mark.parametrize("name", ["fast", "s.arms.fast", "s.fats"])
def test_an_arm_that_is_nearly_named(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (folder / "main.mix").open("a") as file:
        file.write(STUDY)
    assert main(["show", "main.mix", name]) == 1
    assert "did you mean 's.fast'?" in capsys.readouterr().err


def test_a_name_that_is_nearly_a_constant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "main.mix", "doze"]) == 1
    assert "did you mean 'dose'?" in capsys.readouterr().err


def test_fmt_says_every_mistake_and_still_does_the_other_files(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.mix").write_text("edition: 2026\na:\tb\nc:  *d\n")
    (folder / "loose.mix").write_text("edition:  2026\n\ntrain t:\n  sequence: 512tokens\n")
    assert main(["fmt", "."]) == 1
    printed = capsys.readouterr()
    assert printed.out == "reformatted loose.mix\n"
    assert printed.err.count("error[") == 2
    assert "broken.mix:3:5" in printed.err
    assert (folder / "loose.mix").read_text().endswith("sequence: 512 tokens\n")


def test_fmt_check_lists_what_would_change(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "loose.mix").write_text("edition:  2026\n")
    assert main(["fmt", "--check", "."]) == 1
    assert capsys.readouterr().out == "would reformat loose.mix\n"


def test_fmt_of_stdin_that_is_no_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"edition: \xff"), encoding="utf-8"))
    assert main(["fmt", "-"]) == 1
    assert capsys.readouterr().err.startswith("error: can't read stdin")
