"""`check`, `fmt`, `show` and `explain` as a user sees them: what is printed, and the exit code."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mixc.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"
BAD = "edition: 2026\n\nmodel judge:\n  api: a/b\n  temprature: 0\n"
WARNED = "model judge:\n  api: a/b\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.mix").write_text(BAD)
    (tmp_path / "warned.mix").write_text(WARNED)
    return tmp_path


def test_check_of_what_is_fine_says_nothing(capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(EXAMPLES)]) == 0
    assert capsys.readouterr().out == ""


def test_check_prints_place_and_mend(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "bad.mix"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("error[MIX0203]: unknown field 'temprature' in model judge\n --> bad.mix:5:3\n")
    assert "help: did you mean 'temperature'?" in out
    assert "\x1b" not in out


def test_warnings_are_no_failure(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "warned.mix"]) == 0
    assert capsys.readouterr().out.startswith("warning[MIX0220]")


def test_check_of_a_folder_reads_all_its_files(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "."]) == 1
    assert capsys.readouterr().out.endswith("1 error, 1 warning\n")


def test_check_of_nothing_is_usage(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "nowhere.mix"]) == 2
    assert "nowhere.mix" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["check", "--format", "yaml", "bad.mix"])
    assert stopped.value.code == 2


@pytest.mark.parametrize("option", [["--json"], ["--format", "json"]])
def test_check_as_json(folder: Path, capsys: pytest.CaptureFixture[str], option: list[str]):
    assert main(["check", "bad.mix", *option]) == 1
    assert json.loads(capsys.readouterr().out) == [
        {
            "code": "MIX0203",
            "severity": "error",
            "message": "unknown field 'temprature' in model judge",
            "file": "bad.mix",
            "line": 5,
            "column": 3,
            "end_line": 5,
            "end_column": 13,
            "help": "did you mean 'temperature'?",
        }
    ]


def test_check_as_sarif(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "bad.mix", "--format", "sarif"]) == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("MIX0203", "error")
    assert run["tool"]["driver"]["rules"] == [{"id": "MIX0203", "shortDescription": {"text": "unknown field"}}]
    region = result["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 5, "startColumn": 3, "endLine": 5, "endColumn": 13}


def test_check_for_github(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "bad.mix", "--format", "github"]) == 1
    assert capsys.readouterr().out == (
        "::error file=bad.mix,line=5,col=3,endLine=5,endColumn=13,title=MIX0203::"
        "unknown field 'temprature' in model judge; did you mean 'temperature'?\n"
    )


def test_fmt_writes_once_and_then_nothing(folder: Path, capsys: pytest.CaptureFixture[str]):
    loose = folder / "loose.mix"
    loose.write_text('edition:   2026\nmodel judge:\n    api:  "a/b"\n')
    loose.chmod(0o640)
    assert main(["fmt", "--check", "loose.mix"]) == 1
    assert loose.read_text().startswith("edition:   2026")
    assert main(["fmt", "loose.mix"]) == 0
    assert loose.read_text() == "edition: 2026\n\nmodel judge:\n  api: a/b\n"
    assert loose.stat().st_mode & 0o777 == 0o640
    capsys.readouterr()
    assert main(["fmt", "loose.mix"]) == 0
    assert main(["fmt", "--check", "loose.mix"]) == 0
    assert capsys.readouterr().out == ""


def test_fmt_leaves_the_examples_as_they_are(tmp_path: Path):
    copied = shutil.copytree(EXAMPLES, tmp_path / "examples")
    assert main(["fmt", "--check", str(copied)]) == 0


def test_fmt_of_what_is_no_mix_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]):
    broken = folder / "broken.mix"
    broken.write_text("edition: 2026\nmodel [a\n")
    assert main(["fmt", "broken.mix"]) == 1
    assert broken.read_text() == "edition: 2026\nmodel [a\n"
    assert "error[MIX01" in capsys.readouterr().err


def test_fmt_from_stdin_to_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "stdin", io.StringIO("edition:  2026\n"))
    assert main(["fmt", "-"]) == 0
    assert capsys.readouterr().out == "edition: 2026\n"


def test_show_of_a_file_a_declaration_and_its_fields(capsys: pytest.CaptureFixture[str]):
    laptop = str(EXAMPLES / "laptop.mix")
    assert main(["show", laptop]) == 0
    assert "study reasons_on_a_laptop" in capsys.readouterr().out
    assert main(["show", laptop, "reasons_on_a_laptop"]) == 0
    assert capsys.readouterr().out.startswith("study reasons_on_a_laptop:\n  extends: honeypot.reasons\n")
    assert main(["show", laptop, "reasons_on_a_laptop", "--resolved"]) == 0
    out = capsys.readouterr().out
    assert f"reasons_on_a_laptop.seeds: [0, 1]  {' ' * 47}# {laptop}:23\n" in out
    assert "honeypot.mix:59\n" in out
    assert main(["show", laptop, "common.finetune", "--json"]) == 0
    rows = {row["field"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["optimizer.lr"]["value"] == "1e-4"
    assert rows["optimizer.b1"]["origin"] == "default"


def test_show_of_what_is_not_there(capsys: pytest.CaptureFixture[str]):
    assert main(["show", str(EXAMPLES / "laptop.mix"), "common.finetun"]) == 1
    assert "did you mean 'common.finetune'?" in capsys.readouterr().err


def test_explain(capsys: pytest.CaptureFixture[str]):
    assert main(["explain", "mix0203"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("MIX0203: unknown field\n")
    assert all(heading in out for heading in ("What it means", "Why it matters", "Example", "Instead"))
    assert main(["explain", "MIX0203", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "unknown field"
    assert main(["explain", "MIX9999"]) == 1


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from mixc.cli.main import main; main(['check', sys.argv[1]]);"
        "print([name for name in ('jax', 'numpy', 'pyarrow', 'inspect_ai') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(EXAMPLES)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
