"""What is told of a place."""

from __future__ import annotations

import pytest

from dsl.declarations.optimizers import AdamW
from dsl.declarations.training import Train
from dsl.editor.words import EXTENDS
from dsl.record_fields import DERIVED
from tests.dsl.editor.cursor import told

TRAIN = """\
train a:
  extends: common.finetune
  batch: 64 examples
  for: $dose
"""


def test_a_field_with_its_value_and_where_that_is_from():
    text = told(TRAIN.replace("batch", "ba‸tch"))
    assert text is not None
    assert Train.model_fields["batch"].description in text
    assert "Takes a quantity in tokens, examples or prompts." in text
    assert "batch: 64 examples  # main.mix:11" in text


def test_the_value_of_a_constant_comes_from_where_it_is_given():
    assert "for: 20M tokens  # main.mix:7" in (told(TRAIN.replace("for", "fo‸r")) or "")
    text = told(TRAIN.replace("$dose", "$do‸se"))
    assert text is not None
    assert "$dose: 20M tokens" in text
    assert "Given at main.mix:7." in text


def test_what_is_said_without_being_written():
    text = told("train a:\n  pack‸ing: none\n")
    assert text is not None
    assert "Without it: none." in text
    assert "Computation" in text
    assert "Required." in (told("train a:\n  seq‸uence: 3 tokens\n") or "")
    assert told("train a:\n  ext‸ends: b\n") is not None
    assert EXTENDS in (told("train a:\n  ext‸ends: b\n") or "")


def test_a_name_with_all_its_fields():
    text = told(TRAIN.replace("finetune", "fine‸tune"))
    assert text is not None
    assert "train finetune" in text
    assert "Chats, only assistant tokens count." in text
    assert "optimizer.b2: 0.95" in text
    assert "optimizer.lr: 1e-4" in text
    assert "Declared at common.mix:13." in text


def test_what_is_inherited_is_told():
    text = told(TRAIN.replace("train a", "train ‸a"))
    assert text is not None
    assert "sequence: 2048 tokens" in text
    assert "batch: 64 examples" in text


def test_an_import():
    text = told(TRAIN.replace("common", "com‸mon"))
    assert text is not None
    assert "import common: common.mix" in text
    assert "`train finetune`" in text


def test_a_built_in_and_its_arguments():
    text = told("train a:\n  optimizer: ada‸mw(lr=1e-4)\n")
    assert text is not None
    assert "adamw(lr, b1=0.9" in text
    assert " ".join((AdamW.__doc__ or "").split()) in text
    assert f"`lr`: {AdamW.model_fields['lr'].description}" in text
    argument = told("train a:\n  optimizer: adamw(l‸r=1e-4)\n")
    assert argument is not None
    assert "optimizer.lr: 1e-4  # main.mix:10" in argument


def test_a_field_of_a_record():
    text = told("source a:\n  format: chat\n  apply:\n    - filter(turns >= 2 and not has_to‸ols)\n")
    assert DERIVED["chat"]["has_tools"].meaning in (text or "")


def test_a_kind():
    assert " ".join((Train.__doc__ or "").split()) in (told("tra‸in a:\n  loss: all\n") or "")


def test_an_arm_of_a_claim():
    study = "study s:\n  arms:\n    plain: common.start\n  expect:\n    - common.margin(pl‸ain) > 1\n"
    assert "plain: common.start" in (told(study) or "")


def test_a_field_in_the_call_of_another():
    text = told("model m:\n  from: common.start |> common.finetune(optimizer.l‸r=3e-4)\n")
    assert text is not None
    assert f"{AdamW.model_fields['lr'].description}" in text


def test_fields_that_are_right_are_told_where_another_is_wrong():
    text = told("train a:\n  batch: nonsense\n  sequ‸ence: 64 tokens\n  optimizer: adamw(lr=fast)\n")
    assert text is not None
    assert "sequence: 64 tokens  # main.mix:11" in text
    assert told("train a:\n  bat‸ch: nonsense\n") is not None
    name = told("train ‸a:\n  doc: [words]\n  batch: 64 examples\n")
    assert name is not None
    assert "batch: 64 examples" in name


@pytest.mark.parametrize(
    "text",
    ["train a:\n  loss: assis‸tant\n", "train a:\n  batch: 64 exam‸ples\n", "# comm‸ent\n", "train a:\n  doc: wor‸ds\n",
     "train a:\n‸\n", "train a:\n  lenght‸: 4\n", "train a:\n  data: no‸where\n"],
)  # fmt: skip
def test_where_there_is_nothing_to_tell(text: str):
    assert told(text) is None
