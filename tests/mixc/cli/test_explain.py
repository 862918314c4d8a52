"""`mixc explain` as a user sees it: codes, kinds, fields, built-ins, types of values, and what has no such name."""

from __future__ import annotations

import json

import pytest

from dsl.diagnostics.pages import codes
from dsl.reference.topics import names
from mixc.cli.main import main


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["explain", *words]) == 0
    return capsys.readouterr().out


def test_a_code_is_told_without_fences(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, "mix0203")
    assert out.startswith("MIX0203: unknown field\n\nWhat it means\n\n")
    assert "\n    edition: 2026\n" in out
    assert "```" not in out


def test_a_kind_tells_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, "source")
    assert out.startswith("source: a kind of declaration\n\nRecords in one of four formats")
    assert "\n  holdout\n    The share of the raw rows" in out
    assert "\n    = a percent (3%), above 0% and below 100%\n" in out


def test_a_field_and_one_inside_a_built_in(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, "train.optimizer")
    assert out.startswith("optimizer: a field of train\n")
    assert "  default  required\n" in out
    assert explained(capsys, "train.adapter.rank") == explained(capsys, "lora.rank")
    assert explained(capsys, "adapter.rank") == explained(capsys, "lora.rank")
    found = explained(capsys, "optimizer.lr")
    assert [f"lr: a field of {word}\n" in found for word in ("adamw", "adafactor", "muon", "sgd")] == [True] * 4
    assert explained(capsys, "calibrate.agreement") == explained(capsys, "eval.calibrate.agreement")
    assert explained(capsys, "eval.calibrate.agreement").startswith("agreement: a field of eval.calibrate\n")
    assert explained(capsys, "holdout") == explained(capsys, "source.holdout")


def test_a_word_with_several_meanings_has_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, "judge")
    headings = [line for line in out.splitlines() if line.startswith("judge: ")]
    assert headings == ["judge: a transform", "judge: a field of reward", "judge: a field of eval"]


def test_a_unit_is_told_beside_what_else_has_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, "tokens")
    assert [line for line in out.splitlines() if line.startswith("tokens: ")] == [
        "tokens: a unit of quantities",
        "tokens: a dose",
    ]
    assert explained(capsys, "trained tokens").startswith("trained tokens: a unit of quantities\n\nTokens with a loss")


def test_a_built_in_tells_its_call_and_formats(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, "sample")
    assert "written  sample(with=…, n=1, [temperature=…], [max_tokens=…])\n" in out
    assert "takes    prompts or chat\n" in out
    assert "gives    chat\n" in out


def test_a_type_of_value_and_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(capsys, "when").startswith("when: a type of value\n\nFires at the first step")
    assert explained(capsys, "extends").startswith("extends: a word of the language\n")


def test_without_a_name_it_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys)
    assert "Kinds of declaration\n  source, augment, mix," in out
    assert f"{codes()[0]} to {codes()[-1]}" in out
    assert json.loads(explained(capsys, "--json"))["Optimizers"] == ["adamw", "adafactor", "muon", "sgd"]


def test_json_has_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    (topic,) = json.loads(explained(capsys, "adamw", "--json"))
    assert topic["title"] == "adamw: an optimizer"
    assert topic["fields"][0] == {
        "name": "lr",
        "written": "a number (0.95, 1e-4), above 0 and up to 1000",
        "required": True,
        "default": None,
        "role": "computation",
        "description": "The peak learning rate.",
    }
    assert json.loads(explained(capsys, "MIX0203", "--json"))["title"] == "unknown field"


def test_what_is_not_there_has_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "sorce"]) == 1
    assert capsys.readouterr().err == "error: nothing is called 'sorce'\nhelp: did you mean 'source'?\n"
    assert main(["explain", "optimzer.lr"]) == 1
    assert "did you mean 'optimizer.lr'?" in capsys.readouterr().err


def test_a_code_that_is_not_there_has_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "MIX9999"]) == 1
    assert f"did you mean '{codes()[-1]}'?" in capsys.readouterr().err
    assert main(["explain", "mix0000"]) == 1
    assert f"did you mean '{codes()[0]}'?" in capsys.readouterr().err


def test_what_is_like_nothing_has_no_far_fetched_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "blorp"]) == 1
    assert capsys.readouterr().err == ("error: nothing is called 'blorp'\nhelp: `mixc explain` lists what there is\n")
    assert main(["explain", "§§§"]) == 1
    assert "`mixc explain` lists what there is" in capsys.readouterr().err


def test_everything_that_is_listed_can_be_explained_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    for name in [*codes(), *names()]:
        out = explained(capsys, name)
        prose = [line for line in out.splitlines() if not line.startswith("    ")]
        assert max(map(len, prose)) <= 80, name
