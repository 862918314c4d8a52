"""The binder: every field by its own rule, every mistake told once, and in one pass."""

from __future__ import annotations

from fractions import Fraction

import pytest

from dsl.declarations.data import Source
from dsl.declarations.optimizers import AdamW
from dsl.declarations.training import Train
from dsl.declarations.transforms import Filter, Judge
from dsl.values import Compare, Constant, Field, Quantity
from tests.dsl.loading import declared, errors

TRAIN = """
train t:
  objective: supervised
  loss: all
  sequence: 2048 tokens
  batch: 32 examples
  optimizer: adamw(lr=1e-4)
"""


def with_line(line: str) -> list[tuple[str, str]]:
    """The errors of a stage with one more line."""
    return errors(f"{TRAIN}  {line}\n")


def test_a_call_and_a_mapping_of_one_key_are_the_same():
    call = declared(TRAIN, "t")
    mapping = declared(TRAIN.replace("adamw(lr=1e-4)", "{adamw: {lr: 1e-4}}"), "t")
    assert isinstance(call, Train)
    assert isinstance(mapping, Train)
    assert call.optimizer == mapping.optimizer
    assert call.optimizer.lr == Fraction(1, 10_000)


def test_a_built_in_without_arguments_is_a_word():
    train = declared(f"{TRAIN}  schedule: constant\n", "t")
    assert isinstance(train, Train)
    assert train.schedule.warmup == 0


def test_arguments_are_read_by_their_own_fields():
    source = declared(
        """
        model judge:
          api: a/b
        source s:
          format: chat
          files: a.jsonl
          apply:
            - judge(as=bait, with=judge, prompt=p/q.md, answers=[yes, no])
            - filter(bait == "no")
        """,
        "s",
    )
    assert isinstance(source, Source)
    judge, kept = source.apply
    assert isinstance(judge, Judge)
    assert judge.answers == ("yes", "no")
    assert judge.prompt == "/project/p/q.md"
    assert judge.with_.name == "judge"
    assert isinstance(kept, Filter)
    assert kept.predicate == Compare("==", Field("bait"), Constant("no"))


def test_a_call_over_several_lines_points_at_the_right_place():
    text = TRAIN.replace("adamw(lr=1e-4)", "adamw(lr=1e-4,\n    b2=much)")
    assert errors(text) == [("MIX0150", "much")]


def test_a_positional_argument_may_be_a_mapping_of_one_key():
    source = declared("source s:\n  format: chat\n  files: a\n  apply:\n    - filter: turns >= 2\n", "s")
    assert isinstance(source, Source)
    assert isinstance(source.apply[0], Filter)


def test_a_lone_item_is_a_list_of_one():
    source = declared("source s:\n  format: chat\n  files: a.jsonl\n", "s")
    assert isinstance(source, Source)
    assert source.files == ("/project/a.jsonl",)


def test_locations_with_a_scheme_stay_as_they_are():
    source = declared("source s:\n  format: chat\n  files: [gs://b/*.jsonl, 'sub/a b.jsonl']\n", "s")
    assert isinstance(source, Source)
    assert source.files == ("gs://b/*.jsonl", "/project/sub/a b.jsonl")


@pytest.mark.parametrize(
    ("line", "code", "place"),
    [
        ("lenght: 3", "MIX0203", "lenght"),
        ("for:", "MIX0204", "for"),
        ("for: [1 epoch]", "MIX0205", "1 epoch"),
        ("adapter: {lora: {rank: 1}, other: {}}", "MIX0205", "lora"),
        ("for: 3 minutes", "MIX0206", "3 minutes"),
        ("until: 110%", "MIX0207", "110%"),
        ("max_grad_norm: -1", "MIX0207", "-1"),
        ("adapter: lora(rank=0, alpha=1, on=[mlp])", "MIX0207", "0"),
        ("packing: bestfit", "MIX0208", "bestfit"),
        ("adapter: lora(rank=1, alpha=1, on=[mlpp])", "MIX0208", "mlpp"),
        ("schedule: cosin", "MIX0209", "cosin"),
        ("data: nowhere", "MIX0210", "nowhere"),
        ("data: t", "MIX0211", "t"),
        ("checkpoint: every blue moon", "MIX0150", "blue"),
        ("schedule: cosine(warmup=3%, wramup=4)", "MIX0203", "wramup"),
        ("schedule: cosine(3%)", "MIX0221", "3%"),
        ("adapter: lora(alpha=1, on=[mlp])", "MIX0204", "lora"),
        ("max_epochs: $epochs", "MIX0217", "$epochs"),
    ],
)
def test_one_mistake_is_one_error_at_its_place(line: str, code: str, place: str):
    found = with_line(line)
    assert [one for one, _ in found] == [code]
    assert found[0][1].startswith(place)


def test_ten_independent_errors_are_ten_diagnostics():
    found = errors(
        """
        source one:
          format: chatt
          files: a.jsonl
          apply:
            - take(3 minutes)
            - filtr(turns > 2)
            - judge(as=x, with=nobody, prompt=p.md, answers=[yes])
        mix m:
          bugdet: 3M tokens
          parts:
            one: lots
        train t:
          objective: supervised
          loss: everything
          sequence: 2048
          batch: 32 exmples
          optimizer: adamw(lr=1e-4, b2=1.5)
        """
    )
    codes = [code for code, _ in found]
    assert codes == [
        "MIX0208", "MIX0206", "MIX0209", "MIX0210", "MIX0203", "MIX0150", "MIX0208", "MIX0150", "MIX0151", "MIX0207",
    ]  # fmt: skip


def test_what_refers_to_something_broken_does_not_complain():
    found = errors(
        """
        sorce lost:
          format: chat
        source bad:
          format: chatt
          files: a.jsonl
        mix m:
          parts:
            lost: 50%
            bad: 50%
        """
    )
    assert found == [("MIX0201", "sorce lost"), ("MIX0208", "chatt")]


def test_a_declaration_that_extends_a_broken_one_repeats_nothing():
    found = errors(
        """
        train base_settings:
          objective: supervised
          lenght: 3
          batch: 32 steps
          optimizer: adamw(lr=1e-4)
        train t:
          extends: base_settings
          loss: all
        model m:
          from: hf://a/b
        model tuned:
          from: m |> t(batch=2 examples)
        """
    )
    assert found == [("MIX0204", "train base_settings"), ("MIX0203", "lenght"), ("MIX0206", "32 steps")]


def test_quantities_are_exact():
    train = declared(f"{TRAIN}  for: 1.5M trained tokens\n", "t")
    assert isinstance(train, Train)
    assert train.for_ == Quantity(Fraction(1_500_000), "trained tokens")
    assert isinstance(train.optimizer, AdamW)


def test_what_a_mistake_of_form_takes_away_is_not_missing():
    found = errors(TRAIN.replace("  batch: 32", "\tbatch: 32") + "source s:\n  format: chatt\n  files: a\n")
    assert [code for code, _ in found if code >= "MIX02"] == ["MIX0208"]
    assert any(code.startswith("MIX01") for code, _ in found)
