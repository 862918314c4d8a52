"""Loading: imports, constants, `extends`, calls, flows, and what names mean where they are written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsl.check import check
from dsl.declarations.data import Mix, Source
from dsl.declarations.evals import Eval
from dsl.declarations.models import Model, ModelFlow
from dsl.declarations.studies import Study
from dsl.declarations.training import Train
from dsl.resolve import load
from dsl.show import outline, rows_of, show
from dsl.values import Amount, Point, Quantity
from tests.dsl.loading import EXAMPLES, declared, errors, loaded, module, pointed, reader, spec, told

COMMON = """
model starter:
  from: hf://org/starter
model other:
  from: hf://org/other
source chats:
  format: chat
  files: data/chats.jsonl
train finetune:
  objective: supervised
  loss: assistant
  sequence: 2048 tokens
  batch: 32 examples
  optimizer: adamw(lr=1e-4, weight_decay=0.1)
"""

STUDY = """
import:
  common: common.mix
study s:
  base: common.starter
  arms:
    a: base |> common.finetune(data=common.chats)
    b: base |> common.finetune(data=common.chats, optimizer.lr=3e-4)
"""


def study(text: str, name: str = "s", **imports: str) -> Study:
    found = declared(text, name, **imports)
    assert isinstance(found, Study)
    return found


def stage(flow: ModelFlow, index: int = 0) -> Train:
    return flow.stages[index]


# The examples


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.mix")), ids=lambda path: path.stem)
def test_the_examples_load_without_a_word(path: Path):
    result = load(path)
    assert told(result.diagnostics) == ""
    assert result.module is not None


def test_the_laptop_study_is_the_other_one_with_its_constants():
    result = load(EXAMPLES / "laptop.mix").module
    assert result is not None
    one = result.find("reasons_on_a_laptop")
    assert isinstance(one, Study)
    assert one.base is not None
    assert one.base.start.name == "common.smollm2_135m"
    assert one.seeds == (0, 1)
    assert one.vary == ("order", "sampling")
    assert [each.eval.name for each in one.evals] == ["honeypot.bait_margin"]
    first = stage(one.arms["actions"])
    assert first.name == "common.finetune"
    assert first.for_ == Quantity(Fraction(20_000), "trained tokens")
    assert first.data is not None
    assert first.data.name == "honeypot.honeypot_samples"
    assert first.places["for"].source.path.endswith("honeypot.mix")


# Imports


def test_an_imported_file_is_read_once():
    seen: list[Path] = []
    files = {"main.mix": spec(STUDY + "eval e:\n  choice: e.jsonl\n"), "common.mix": spec(COMMON)}
    read = reader(files)

    def counting(path: Path) -> str:
        seen.append(path)
        return read(path)

    load("/project/main.mix", root=Path("/project"), read=counting)
    assert sorted(path.name for path in seen) == ["common.mix", "main.mix"]


def test_a_file_used_with_other_constants_is_another_use_of_it():
    inner = """
    let:
      dose: 1M tokens
    source s:
      format: chat
      files: a
    mix m:
      budget: $dose
      parts:
        s: all
    """
    result = module(
        """
        import:
          plain: inner.mix
          large:
            file: inner.mix
            let: {dose: 9M tokens}
        """,
        inner=inner,
    )
    plain, large = result.find("plain.m"), result.find("large.m")
    assert isinstance(plain, Mix)
    assert isinstance(large, Mix)
    assert plain.budget == Quantity(Fraction(10**6), "tokens")
    assert large.budget == Quantity(Fraction(9 * 10**6), "tokens")
    assert (plain.name, large.name) == ("plain.m", "large.m")


def test_names_through_two_imports_are_seen_from_the_loaded_file():
    result = module(
        "import:\n  two: two.mix\n",
        two="import:\n  common: common.mix\nmodel m:\n  extends: common.other\n",
        common=COMMON,
    )
    assert result.imports["two"].imports["common"].declarations["other"].name == "two.common.other"


def test_a_name_does_not_reach_through_an_import_of_an_import():
    found = errors(
        "import:\n  two: two.mix\nmix m:\n  parts:\n    two.common.chats: all\n",
        two="import:\n  common: common.mix\n",
        common=COMMON,
    )
    assert found == [("MIX0210", "two.common.chats")]


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("import:\n  a: nowhere.mix\n", "MIX0214", "nowhere.mix"),
        ("import:\n  a: ../../etc/passwd\n", "MIX0216", "../../etc/passwd"),
        ("import:\n  a: main.mix\n", "MIX0215", "main.mix"),
        ("import:\n  a: {let: {x: 1}}\n", "MIX0204", "a"),
        ("import:\n  a: [common.mix]\n", "MIX0205", "a"),
        ("import:\n  a: {file: common.mix, lte: {x: 1}}\n", "MIX0203", "lte"),
        ("import:\n  a: {file: common.mix, let: {x: 1}}\n", "MIX0217", "x"),
        ("import: common.mix\n", "MIX0205", "common.mix"),
        ("import:\n  base: common.mix\n", "MIX0202", "base"),
        ("import:\n  a: common.mix\nmodel a:\n  api: x/y\n", "MIX0212", "model a"),
        ("let:\n  a: $b\n  b: $a\nmodel m:\n  api: x/y\n  temperature: $a\n", "MIX0213", "$a"),
        ("let:\n  a:\nmodel m:\n  api: x/y\n  temperature: $a\n", "MIX0204", "a"),
        ("model a b:\n  api: x/y\n", "MIX0202", "model a b"),
        ("model:\n  api: x/y\n", "MIX0202", "model"),
        ("model m: x\n", "MIX0205", "x"),
        ("train t:\n  extends: t\n", "MIX0213", "t"),
        ("train t:\n  extends: u\ntrain u:\n  extends: t\n", "MIX0213", "t"),
        ("eval e:\n  suite: [e]\n", "MIX0213", "e"),
        ("mix m:\n  parts:\n    m: all\n", "MIX0213", "m"),
        ("model m:\n  extends: common.starter\n", "MIX0210", "common.starter"),
    ],
)
def test_one_mistake_is_one_error(text: str, code: str, place: str):
    found = [one for one in errors(text, common=COMMON) if one[0] != "MIX0204" or code == "MIX0204"]
    assert (code, place) in found
    assert len(found) == 1


def test_a_name_that_may_have_got_lost_is_not_reported():
    main, gone = "import:\n  c: c.mix\nmodel m:\n  from: c.gone |> c.also_gone\n", "model gone\n  from: hf://a/b\n"
    assert [code for code, _ in errors(main, c=f"{gone}[train also_gone]: x\n")] == ["MIX0119", "MIX0107"]
    assert [code for code, _ in errors(main, c=gone)] == ["MIX0119", "MIX0210"]  # every line but one could be read


def test_a_data_path_outside_the_project_is_an_error_unless_allowed():
    text = spec("source s:\n  format: chat\n  files: ../../data.jsonl\n")
    files = {"main.mix": text}
    assert pointed(load("/project/main.mix", root=Path("/project"), read=reader(files)).diagnostics) == [
        ("MIX0216", "../../data.jsonl")
    ]
    assert load("/project/main.mix", root=Path("/project"), read=reader(files), allow_outside=True).module is not None


# Constants


def test_a_constant_is_typed_where_it_stands():
    source = declared("let:\n  n: 8\nmodel m:\n  api: a/b\n  max_tokens: $n\n  temperature: $n\n", "m")
    assert isinstance(source, Model)
    assert source.max_tokens == 8
    assert source.temperature == 8


def test_a_name_in_a_constant_means_what_it_means_where_it_is_written():
    inner = """
    let:
      judge: local
    model local:
      api: inner/model
    source s:
      format: chat
      files: a.jsonl
      apply:
        - judge(as=x, with=$judge, prompt=p.md, answers=[yes, no])
    """
    outer = "import:\n  inner: {file: inner.mix, let: {judge: local}}\nmodel local:\n  api: outer/model\n"
    source = module(outer, inner=inner).find("inner.s")
    assert isinstance(source, Source)
    assert source.apply[0].with_.api == "outer/model"  # type: ignore[attr-defined]
    assert source.apply[0].prompt == "/project/p.md"  # type: ignore[attr-defined]


def test_set_changes_a_constant_here_and_in_an_import():
    inner = "let:\n  t: 0\nmodel m:\n  api: a/b\n  temperature: $t\n"
    outer = "import:\n  inner: inner.mix\nlet:\n  u: 1\nmodel n:\n  api: a/b\n  temperature: $u\n"
    result = module(outer, {"u": "0.5", "inner.t": "0.25"}, inner=inner)
    here, there = result.find("n"), result.find("inner.m")
    assert isinstance(here, Model)
    assert isinstance(there, Model)
    assert here.temperature == Fraction(1, 2)
    assert there.temperature == Fraction(1, 4)


def test_set_of_a_constant_that_is_not_there_is_an_error_of_the_set():
    result = loaded("let:\n  dose: 3\nmodel m:\n  api: a/b\n  temperature: $dose\n", {"dosis": "4"})
    assert [(one.code, one.source.path, one.help) for one in result.diagnostics] == [
        ("MIX0217", "--set dosis", "did you mean 'dose'?")
    ]


def test_set_with_a_wrong_value_points_at_the_set():
    result = loaded("let:\n  t: 3\nmodel m:\n  api: a/b\n  temperature: $t\n", {"t": "warm"})
    assert [(one.code, one.source.path) for one in result.diagnostics] == [("MIX0150", "--set t")]


# extends and calls


def test_written_fields_replace_and_mappings_merge():
    one = study(
        STUDY
        + """
study t:
  extends: s
  seeds: [7]
  arms:
    a: drop
    c: base |> common.finetune(data=common.chats, for=1 epoch)
""",
        "t",
        common=COMMON,
    )
    assert list(one.arms) == ["b", "c"]
    assert one.seeds == (7,)


def test_base_is_bound_late():
    text = STUDY + "study t:\n  extends: s\n  base: common.other\n"
    one = study(text, "t", common=COMMON)
    assert {flow.start.name for flow in one.arms.values()} == {"common.other"}
    assert {flow.start.name for flow in study(text, "s", common=COMMON).arms.values()} == {"common.starter"}


def test_a_base_that_is_a_flow_comes_before_the_stages_of_an_arm():
    text = STUDY.replace("base: common.starter", "base: common.starter |> common.finetune(data=common.chats)")
    one = study(text, common=COMMON)
    assert [len(flow.stages) for flow in one.arms.values()] == [2, 2]


def test_a_list_is_replaced_whole_by_a_mapping():
    text = STUDY + "  evals: [e]\neval e:\n  choice: x.jsonl\nstudy t:\n  extends: s\n  evals:\n    e: every 50%\n"
    one = study(text, "t", common=COMMON)
    assert [(each.eval.name, each.when) for each in one.evals] == [
        ("e", (Point("fraction", Fraction(1, 2), every=True),))
    ]


def test_a_call_is_replaced_whole_by_a_mapping_of_one_key():
    train = declared(
        COMMON + "train other_rate:\n  extends: finetune\n  optimizer:\n    adamw: {lr: 1e-3}\n", "other_rate"
    )
    assert isinstance(train, Train)
    assert (train.optimizer.lr, train.optimizer.weight_decay) == (Fraction(1, 1000), 0)


def test_a_dotted_argument_keeps_what_stands_beside_it():
    one = study(STUDY, common=COMMON)
    changed = stage(one.arms["b"])
    assert (changed.optimizer.lr, changed.optimizer.weight_decay) == (Fraction(3, 10_000), Fraction(1, 10))
    assert stage(one.arms["a"]).optimizer.lr == Fraction(1, 10_000)
    assert changed.places["optimizer.lr"].source.path.endswith("main.mix")
    assert changed.places["optimizer.weight_decay"].source.path.endswith("common.mix")


def test_a_dotted_argument_reaches_a_part_of_a_mix():
    text = """
    source a:
      format: chat
      files: a
    mix m:
      parts:
        a: 100%
    mix n:
      parts:
        m(parts.a=3 epochs): 100%
    model x:
      from: hf://a/b
    """
    assert [code for code, _ in errors(text)] == ["MIX0150"]  # a key is a name, not a call
    mix = declared(
        text.replace("m(parts.a=3 epochs)", "m")
        + "\n    model y:\n      from: x |> t(data=m(parts.a=3 epochs))\n"
        + _train("t"),
        "y",
    )
    assert isinstance(mix, Model)
    assert isinstance(mix.from_, ModelFlow)
    data = stage(mix.from_).data
    assert isinstance(data, Mix)
    assert data.parts[0].amount == Amount("quantity", Quantity(Fraction(3), "epochs"))


def _train(name: str) -> str:
    lines = COMMON[COMMON.index("train finetune") :].replace("finetune", name).splitlines()
    return "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("call", "code", "place"),
    [
        ("nope=3", "MIX0203", "nope"),
        ("optimizer.nope=3", "MIX0203", "nope"),
        ("optimzer.lr=3", "MIX0203", "optimzer"),
        ("adapter.rank=3", "MIX0222", "adapter.rank"),
        ("batch.count=3", "MIX0222", "batch.count"),
        ("optimizer.lr=high", "MIX0150", "high"),
        ("batch=2 steps", "MIX0206", "2 steps"),
        ("common.chats", "MIX0221", "common.chats"),
    ],
)
def test_mistakes_in_a_call_of_a_declaration(call: str, code: str, place: str):
    text = f"import:\n  common: common.mix\nmodel m:\n  from: common.starter |> common.finetune({call})\n"
    assert errors(text, common=COMMON) == [(code, place)]


# Flows, held-out rows, suites


def test_a_source_flow_is_a_source_through_augments():
    source = declared(
        """
        source requests:
          format: prompts
          files: a.jsonl
          holdout: 1%
        augment dressed:
          apply:
            - system(files=s.jsonl, chance=80%)
        source all_dressed:
          from: requests |> dressed
        eval e:
          prompts: x.jsonl
        mix m:
          parts:
            all_dressed: 50%
            requests.holdout: 50%
        """,
        "m",
    )
    assert isinstance(source, Mix)
    dressed, held_out = (part.of for part in source.parts)
    assert held_out.name == "requests.holdout"
    assert dressed.source.from_.augments[0].name == "dressed"  # type: ignore[union-attr]


def test_derived_sources_inherit_holdout():
    text = "source a:\n  format: chat\n  files: a\n  holdout: 1%\nsource b:\n  from: a\neval e:\n  loss: b.holdout\n"
    assert errors(text) == []
    assert errors(text.replace("  holdout: 1%\n", "")) == [("MIX0223", "b.holdout")]


def test_members_of_a_suite_are_reached_by_their_names():
    one = study(
        STUDY
        + """  evals: [all_of_it]
  expect:
    - all_of_it.e(a) > all_of_it.e(base)
eval e:
  choice: x.jsonl
eval all_of_it:
  suite: [e]
""",
        common=COMMON,
    )
    assert [type(member) for member in one.expect[0].evals.values()] == [Eval]
    assert one.expect[0].evals["all_of_it.e"].name == "e"


def test_base_means_nothing_outside_a_study():
    found = errors("model m:\n  from: base |> common.finetune\nimport:\n  common: common.mix\n", common=COMMON)
    assert found == [("MIX0210", "base")]


# show


def test_every_field_tells_where_it_comes_from():
    result = module(STUDY, common=COMMON)
    declaration = result.find("common.finetune")
    assert declaration is not None
    rows = {row.path: row for row in rows_of(declaration)}
    assert rows["optimizer.lr"].value == "1e-4"
    assert rows["optimizer.b2"].place is None
    assert str(rows["optimizer.lr"].place).startswith("/project/common.mix:15")
    text = show(result, "s", resolved=True)
    assert "s.arms.b: common.starter |> common.finetune(data=common.chats)" in text or "optimizer.lr" in text
    assert show(result, "s").startswith("study s:\n  base: common.starter\n")
    assert "study s" in outline(result)
    with pytest.raises(KeyError):
        show(result, "nobody")


# Whatever is written

LINES = sorted({line for path in EXAMPLES.glob("*.mix") for line in path.read_text().splitlines()})
WORDS = sorted({word for line in LINES for word in line.replace("(", " ").replace(",", " ").split()})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_change_of_an_example_makes_it_raise(data: st.DataObject):
    path = data.draw(st.sampled_from(sorted(EXAMPLES.glob("*.mix"))))
    text = path.read_text()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 30))
        put = data.draw(
            st.sampled_from(WORDS) | st.sampled_from(LINES) | st.text("[]{}(),:|>$\"'#*&!-%=\n .ä", max_size=3)
        )
        text = text[:start] + put + text[start + length :]

    def read(each: Path) -> str:
        return text if each == path.resolve() else each.read_text()

    for diagnostic in check([path], read=read):
        assert diagnostic.message
        assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(diagnostic.source.text)
