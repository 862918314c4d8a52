"""How commands take names, options, `--set` and `help`."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixc.cli.main import main

SPEC = """edition: 2026

import: {kit: kit.mix}

let:
  dose: 200 steps

model tuned:
  from: kit.start |> kit.finetune(data=kit.docs, for=$dose)
"""
KIT = """edition: 2026

let:
  rate: 1e-4

model start:
  from: hf://org/m

source docs:
  format: documents
  files: d/*.jsonl

train finetune:
  objective: supervised
  sequence: 512 tokens
  batch: 8 examples
  optimizer: adamw(lr=$rate)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "main.mix").write_text(SPEC)
    (tmp_path / "kit.mix").write_text(KIT)


def usage_error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["main.mix", "dose", "--set", "dose=9 steps"],
        ["main.mix", "--set", "dose=9 steps", "dose"],
        ["--set", "dose=9 steps", "main.mix", "dose"],
    ],
)
def test_a_name_may_stand_anywhere(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", *arguments]) == 0
    assert capsys.readouterr().out == "let:\n  dose: 9 steps\n"


def test_a_usage_error_shows_the_usage_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_error(capsys, "show", "main.mix", "--nonsense").startswith("usage: mixc show ")
    assert usage_error(capsys, "check").startswith("usage: mixc check ")


def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    for command, option in ((["help"], ["--help"]), (["help", "check"], ["check", "--help"])):
        printed: list[str] = []
        for each in (command, option):
            with pytest.raises(SystemExit) as stopped:
                main(each)
            assert stopped.value.code == 0
            printed.append(capsys.readouterr().out)
        assert printed[0] == printed[1] != ""


def test_the_place_of_a_set_is_as_it_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "main.mix", "--set", "kit.rate=abc"]) == 1
    assert "\n --> --set kit.rate:1:1\n" in capsys.readouterr().err
    assert main(["check", "main.mix", "--set", "kit.rate=abc"]) == 1
    assert "\n --> --set kit.rate:1:1\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["dose", "kit.rate"])
def test_a_set_without_value(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "main.mix", "--set", f"{name}="]) == 1
    assert capsys.readouterr().err.endswith(f"help: write --set {name}=VALUE\n\n1 error\n")
    assert f"write --set {name}=VALUE" in usage_error(capsys, "show", "main.mix", "--set", name)


def test_a_set_without_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert "write --set NAME=3" in usage_error(capsys, "show", "main.mix", "--set", "=3")


def test_check_takes_a_set_for_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "main.mix", "--set", "dose=9 stepz"]) == 1
    assert "--> --set dose:1:" in capsys.readouterr().out
    assert main(["check", ".", "--set", "dose=9 steps"]) == 2
    assert capsys.readouterr().err.startswith("error: --set goes with one file\n")
