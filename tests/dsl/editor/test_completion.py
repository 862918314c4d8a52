"""What is offered at a place, in lines that are finished and in lines that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsl.declarations import KINDS
from dsl.declarations.training import Train
from dsl.declarations.transforms import TRANSFORMS
from dsl.editor.completion import completions
from dsl.editor.project import Project
from dsl.editor.words import DIRECTIVES
from dsl.files import DIRECTIVES as KNOWN_DIRECTIVES
from tests.dsl.editor.cursor import CURSOR, completed, offered, opened

STUDY = "study s:\n  base: common.start\n  arms:\n    plain: base\n    tuned: base |> common.finetune\n"
MATRIX = "study s:\n  base: common.start\n  matrix:\n    - first:\n        none: none\n        long: common.finetune\n"


def test_first_column_offers_kinds_and_missing_directives():
    assert offered("‸").keys() == KINDS.keys()
    assert offered("tr‸\ntrain a:\n  loss: all\n").keys() == KINDS.keys()
    assert set(DIRECTIVES) == set(KNOWN_DIRECTIVES)


def test_nothing_is_offered_for_a_new_name():
    assert offered("train ‸") == {}
    assert offered("train fi‸") == {}


def test_fields_are_offered_until_they_are_written():
    found = offered("train a:\n  loss: all\n  ‸\n  batch: 3 tokens\n")
    assert found.keys() == {*Train.by_written_name(), "extends"} - {"loss", "batch"}
    assert found["sequence"] == "sequence: "
    assert next(iter(found)) == "objective", "what is required comes first"
    assert completed("train a:\n  se‸\n", "sequence") == "train a:\n  sequence: \n"
    assert completed("train a:\n  se‸q: 1\n", "sequence") == "train a:\n  sequence: 1\n"


def test_candidates_say_what_they_are():
    view, offset, _ = opened("train a:\n  ‸")
    found = {one.label: one for one in completions(view, offset)}
    assert Train.model_fields["packing"].description in found["packing"].documentation
    assert "none, first_fit or best_fit" in found["packing"].documentation
    assert found["sequence"].detail == "required"


@pytest.mark.parametrize(
    ("text", "some"),
    [
        ("train a:\n  loss: ‸", {"all", "assistant", "$dose"}),
        ("train a:\n  loss: ass‸\n  batch: 3\n", {"assistant"}),
        ("train a:\n  batch: 64 ‸\n", {"tokens", "examples", "prompts"}),
        ("mix a:\n  budget: 64M ‸", {"tokens", "trained tokens"}),
        ("mix a:\n  parts:\n    common.chats: ‸", {"all", "rest"}),
        ("mix a:\n  parts:\n    common.chats: 3M ‸", {"tokens", "examples"}),
        ("mix a:\n  parts:\n    ‸\n    b: 1\n", {"common.chats", "common.chats.holdout"}),
        ("mix a:\n  parts: {‸", {"common.chats"}),
        ("mix a:\n  parts: [‸]", {"common.chats"}),
        ("target a:\n  launcher: skypilot(spot=‸", {"true", "false"}),
        ("train a:\n  data: ‸", {"common.chats"}),
        ("train a:\n  optimizer: ‸", {"adamw"}),
        ("train a:\n  optimizer: adamw(‸", {"lr", "b1"}),
        ("train a:\n  optimizer: adamw(lr=1e-4, ‸)", {"b1", "b2"}),
        ("train a:\n  optimizer: adamw(lr=‸", {"$dose"}),
        ("train a:\n  optimizer:\n    ad‸\n", {"adamw"}),
        ("train a:\n  optimizer:\n    adamw:\n      ‸\n", {"lr", "b1"}),
        ("train a:\n  optimizer: {adamw: {‸", {"lr", "b1"}),
        ("train a:\n  schedule: cosine(warmup=5 ‸)", {"steps", "tokens"}),
        ("train a:\n  adapter: lora(on=[attention, ‸", {"attention", "mlp"}),
        ("train a:\n  checkpoint: ‸", {"start", "end", "every"}),
        ("train a:\n  checkpoint: [end, every 5 ‸]", {"steps", "tokens"}),
        ("train a:\n  checkpoint: end of ‸", {"common.finetune"}),
        ("train a:\n  extends: ‸", {"common.finetune"}),
        ("source a:\n  apply:\n    - ‸\n", set(TRANSFORMS)),
        ("source a:\n  apply:\n    - filter(turns > 2)\n    - judge(with=‸\n", {"common.api", "common.start"}),
        ("source a:\n  apply:\n    - judge(‸", {"as", "with", "prompt", "answers"}),
        ("source a:\n  apply:\n    - generate:\n        ‸\n", {"with", "prompt", "count"}),
        ("source a:\n  format: chat\n  apply:\n    - filter(‸", {"turns", "has_tools"}),
        ("source a:\n  format: chat\n  apply:\n    - filter(turns > 2 and not ‸)", {"turns", "has_tools"}),
        ("source a:\n  format: documents\n  apply:\n    - filter(matches(‸", {"characters"}),
        ("source a:\n  from: ‸", {"common.chats"}),
        ("model a:\n  from: ‸", {"common.start"}),
        ("model a:\n  from: common.start |> ‸", {"common.finetune"}),
        ("model a:\n  from: common.start\n    |> ‸", {"common.finetune"}),
        ("model a:\n  from: common.start |> common.finetune(‸", {"data", "optimizer"}),
        ("model a:\n  from: common.start |> common.finetune(data=‸)", {"common.chats"}),
        ("model a:\n  from: common.start |> common.finetune(optimizer.‸", {"optimizer.lr", "optimizer.b2"}),
        ("model a:\n  from: common.start |> common.finetune(batch=3 ‸", {"examples", "tokens"}),
        ("eval a:\n  metric: ‸", {"rate", "mean"}),
        ("eval a:\n  calibrate: {‸", {"labels", "agreement"}),
        ("study s:\n  evals: [‸", {"common.margin", "common.all_of_them"}),
        ("study s:\n  evals:\n    ‸\n", {"common.margin", "- common.margin"}),
        ("study s:\n  evals:\n    common.margin: every 5 ‸\n", {"steps"}),
        ("study s:\n  differ: ‸", {"model", "data"}),
        ("study s:\n  base: common.start\n  arms:\n    a: ‸", {"base", "common.start"}),
        ("study s:\n  base: common.start\n  arms:\n    a: base |> ‸\n    b: base\n", {"common.finetune"}),
        ("study s:\n  matrix:\n    - first:\n        a: ‸", {"none", "common.finetune"}),
        (STUDY + "  expect:\n    - ‸", {"common.margin", "common.all_of_them.margin"}),
        (STUDY + "  expect:\n    - common.margin(‸", {"base", "plain", "tuned", "at"}),
        (STUDY + "  expect:\n    - common.margin(plain) < common.margin(‸)", {"base", "plain", "tuned"}),
        (STUDY + '  expect:\n    - "common.margin(plain) < common.margin(‸', {"base", "plain", "tuned"}),
        (STUDY + "  expect:\n    - common.margin(plain, at=‸", {"all", "end"}),
        (STUDY + "study t:\n  extends: s\n  expect:\n    - common.margin(‸", {"plain", "tuned"}),
        (MATRIX + "  expect:\n    - common.margin(‸", {"first", "base"}),
        (MATRIX + "  expect:\n    - common.margin(first=‸", {"none", "long"}),
        (MATRIX + "  match: tokens(of=‸", {"first", "common.finetune"}),
    ],
)
def test_what_fits_is_offered(text: str, some: set[str]):
    found = offered(text)
    assert some <= found.keys()
    assert len(found) - len(some) <= 20


@pytest.mark.parametrize(
    "text",
    [
        "train a:\n  doc: some wor‸",
        "train a:\n  doc: |\n    text\n    ‸\n",
        "train a:\n  loss: all  # the lo‸",
        "# a comm‸",
        "train a:\n  batch: 64‸",
        "model a:\n  from: common.start ‸",
        'source a:\n  apply:\n    - filter(matches(text, "‸',
        "nonsense a:\n  ‸",
        "train a:\n  loss: all\n    ‸",
    ],
)
def test_where_nothing_fits_nothing_is_offered(text: str):
    assert offered(text) == {}


def test_calls_come_with_places_for_what_they_need():
    assert offered("train a:\n  optimizer: ‸")["adamw"] == "adamw(lr=$1)"
    assert offered("train a:\n  schedule: ‸")["cosine"] == "cosine"
    found = offered("source a:\n  apply:\n    - ‸")
    assert found["filter"] == "filter($1)"
    assert found["judge"] == "judge(as=$1, with=$2, prompt=$3, answers=$4)"
    assert offered(STUDY + "  expect:\n    - ‸")["common.margin"] == "common.margin($1)"


def test_lists_are_opened():
    assert offered("study s:\n  evals: ‸")["common.margin"] == "[common.margin]"
    assert offered("source a:\n  apply:\n    ‸\n")["- filter"] == "- filter($1)"
    assert offered("source a:\n  apply: ‸").keys() == {"$dose"}, "a call inside brackets would be split at its commas"


def test_the_whole_dotted_name_is_replaced():
    assert completed("train a:\n  data: common.ch‸\n", "common.chats") == "train a:\n  data: common.chats\n"
    assert completed("mix a:\n  budget: 3M trained to‸\n", "trained tokens") == "mix a:\n  budget: 3M trained tokens\n"
    assert completed("train a:\n  batch: $d‸\n", "$dose") == "train a:\n  batch: $$dose\n"


def test_nothing_starts_from_itself():
    assert "a" not in offered("train a:\n  extends: ‸\ntrain b:\n  loss: all\n")
    assert "b" in offered("train a:\n  extends: ‸\ntrain b:\n  loss: all\n")


def test_imports(tmp_path: Path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small.mix").write_text("edition: 2026\n")
    (tmp_path / "other.mix").write_text("edition: 2026\nlet:\n  size: 3\n")

    def found(text: str) -> list[str]:
        project, path = Project(), tmp_path / "main.mix"
        project.put(path, text.replace(CURSOR, ""))
        view = project.view(path)
        assert view is not None
        return [one.label for one in completions(view, text.index(CURSOR))]

    assert found("import:\n  a: ‸") == ["models/", "other.mix"]
    assert found("import:\n  a: models/sm‸") == ["small.mix"]
    assert found("import:\n  a: {‸") == ["file", "let"]
    assert found("import:\n  a:\n    file: other.mix\n    let:\n      ‸") == ["size"]
    assert found("import:\n  a: nowhere/‸") == []
