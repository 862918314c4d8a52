"""`show`: what a declaration comes to, with all that was replaced on the way, the same on every machine."""

from __future__ import annotations

import pytest

from dsl.declarations.base import Declaration
from dsl.show import constant, find, origin, rows_of, show, show_constant
from dsl.show_arm import arm_names, find_arm, rows_of_arm, show_arm
from tests.dsl.loading import declared, loaded, module

KIT = """
let:
  dose: 20M tokens
model m:
  from: hf://org/m
model api:
  api: a/b
source docs:
  format: documents
  files: [d/*.jsonl, "e, f/*.jsonl"]
  holdout: 1%
source derived:
  from: docs
source chats:
  format: chat
  files: c/*.jsonl
train ft:
  objective: supervised
  sequence: 512 tokens
  batch: 8 examples
  optimizer: adamw(lr=1e-4)
  schedule: cosine(warmup=3%)
  for: 100 steps
eval harm:
  prompts: h.jsonl
  judge: api
  prompt: j.md
  answers: [yes, no, "may, be"]
  metric: rate(yes)
eval suite:
  suite: [harm]
"""


def values(declaration: Declaration) -> dict[str, str]:
    return {row.path: row.value for row in rows_of(declaration)}


def arm(flow: str, more: str = "") -> str:
    text = f"{more}import:\n  k: kit.mix\nstudy s:\n  base: k.m\n  arms:\n    x: {flow}\n"
    return values(declared(text, "s", kit=KIT))["arms.x"]


@pytest.mark.parametrize(
    "flow",
    [
        "k.m |> k.ft(data=k.chats, optimizer.lr=3e-4)",
        "k.m |> k.ft(data=k.chats, optimizer.lr=5e-4)",
        "k.m |> k.ft(data=k.chats, optimizer=adamw(lr=9e-4), schedule=cosine(warmup=7%), batch=16 examples)",
        "k.m |> k.ft(data=k.chats, schedule=constant, adapter=lora(rank=4, alpha=8, on=[attention]))",
        "k.m(seed=3) |> k.ft(data=k.docs(holdout=2%))",
        "k.m |> k.ft(data=k.docs.holdout) |> k.ft(data=k.chats)",
    ],
)
def test_a_flow_tells_all_that_it_replaces(flow: str) -> None:
    assert arm(flow) == flow


def test_a_flow_in_a_constant_and_one_from_a_base_tell_it_too() -> None:
    assert arm("$way", "let:\n  way: base |> k.ft(data=k.chats, for=7 steps)\n") == (
        "k.m |> k.ft(data=k.chats, for=7 steps)"
    )
    text = (
        "import:\n  k: kit.mix\nstudy s:\n  base: k.m |> k.ft(data=k.chats)\n  arms: {x: base |> k.ft(data=k.docs)}\n"
    )
    assert values(declared(text, "s", kit=KIT))["arms.x"] == "k.m |> k.ft(data=k.chats) |> k.ft(data=k.docs)"


def test_a_model_and_a_source_tell_it_too() -> None:
    text = (
        "import:\n  k: kit.mix\nmodel m:\n  from: k.m |> k.ft(data=k.chats, optimizer.lr=1e-3)\n"
        "source s:\n  from: k.docs(holdout=2%)\n"
    )
    assert values(declared(text, "m", kit=KIT))["from"] == "k.m |> k.ft(data=k.chats, optimizer.lr=1e-3)"
    assert values(declared(text, "s", kit=KIT))["from"] == "k.docs(holdout=2%)"


def test_what_a_constant_stands_for_is_told() -> None:
    flow = "k.m |> k.ft(data=k.chats, for=$long)"
    assert arm(flow, "let:\n  long: 300 steps\n") == "k.m |> k.ft(data=k.chats, for=300 steps)"


def test_what_extends_gives_is_no_call() -> None:
    text = (
        "import:\n  k: kit.mix\ntrain t:\n  extends: k.ft\n  for: 50 steps\nmodel m:\n  from: k.m |> t(data=k.chats)\n"
    )
    assert values(declared(text, "m", kit=KIT))["from"] == "k.m |> t(data=k.chats)"


def test_lists_are_quoted_where_they_must_be() -> None:
    result = module("import:\n  k: kit.mix\n", kit=KIT)
    harm = find(result, "k.harm")
    assert harm is not None
    assert values(harm)["answers"] == '[yes, no, "may, be"]'


def test_paths_are_as_the_file_says_them() -> None:
    result = module("import:\n  k: kit.mix\nsource s:\n  format: chat\n  files: ./x.jsonl\n", kit=KIT)
    docs, mine, harm, far = (find(result, name) for name in ("k.docs", "s", "k.harm", "k.m"))
    assert docs is not None
    assert mine is not None
    assert harm is not None
    assert far is not None
    assert values(docs)["files"] == '[d/*.jsonl, "e, f/*.jsonl"]'
    assert values(mine)["files"] == "[x.jsonl]"
    assert values(harm)["prompts"] == "h.jsonl"
    assert values(far)["from"] == "hf://org/m"


def test_a_text_of_several_lines_stays_on_one() -> None:
    text = "model m:\n  doc: |\n    one\n    two\n  api: a/b\n"
    assert show(module(text), "m", resolved=True).startswith('m.doc: "one\\ntwo\\n"')


@pytest.mark.parametrize(
    ("name", "declares"),
    [
        ("k.docs", "docs"),
        ("k.docs.holdout", "docs"),
        ("k.derived.holdout", "derived"),
        ("k.suite.harm", "harm"),
        ("k.chats.holdout", None),
        ("k.suite.nothing", None),
        ("k.m.holdout", None),
        ("k", None),
    ],
)
def test_every_name_of_the_language_is_found(name: str, declares: str | None) -> None:
    found = find(module("import:\n  k: kit.mix\n", kit=KIT), name)
    assert (found and found.name) == (declares and f"k.{declares}")


def test_constants_are_shown() -> None:
    one = loaded("import:\n  k:\n    file: kit.mix\n    let: {dose: 3M tokens}\nlet:\n  d: 512   tokens\n", kit=KIT)
    assert one.scope is not None
    here, there = constant(one.scope, "d"), constant(one.scope, "k.dose")
    assert here is not None
    assert there is not None
    assert show_constant(here) == "let:\n  d: 512   tokens\n"
    assert show_constant(there) == "let:\n  dose: 3M tokens\n"
    assert show_constant(there, resolved=True) == "k.dose: 3M tokens  # /project/main.mix:6\n"
    assert constant(one.scope, "e") is constant(one.scope, "x.dose") is None


ARMS = """
import:
  k: kit.mix
let:
  opt: adamw(lr=$rate, b2=0.9)
  rate: 7e-4
train ft:
  extends: k.ft
  # of the arms alone
  optimizer: $opt
study s:
  base: k.m |> k.ft(data=k.docs)
  arms:
    twice: base |> ft(data=k.chats) |> ft(data=k.docs,
      for=7 steps)
    named:
      k.m: {seed: 3}
study m:
  base: k.m
  matrix:
    - documents: {none: none, some: k.ft(data=k.docs)}
    - tuning:
        none: none
        chats:
          ft: {data: k.chats, optimizer: $opt}
"""


def arm_text(name: str, *, resolved: bool = False) -> str:
    found = find_arm(module(ARMS, kit=KIT), name)
    assert found is not None
    return show_arm(found, resolved=resolved)


def test_an_arm_is_shown_as_written_above_its_stages() -> None:
    assert arm_text("s.twice") == (
        "twice: base |> ft(data=k.chats) |> ft(data=k.docs, for=7 steps)\n\n"
        "train ft:\n"
        "  objective: supervised\n"
        "  sequence: 512 tokens\n"
        "  batch: 8 examples\n"
        "  optimizer: adamw(lr=1e-4)\n"
        "  schedule: cosine(warmup=3%)\n"
        "  for: 100 steps\n\n"
        "train ft:\n"
        "  extends: k.ft\n"
        "  # of the arms alone\n"
        "  optimizer: $opt\n"
    )
    assert arm_text("s.named") == "named: k.m(seed=3)\n"
    assert arm_text("s.base").startswith("base: k.m |> k.ft(data=k.docs)\n\ntrain ft:\n")


def test_an_arm_of_a_matrix_is_its_base_and_its_levels() -> None:
    flow, *_ = arm_text("m.some.chats").splitlines()
    assert flow == "some.chats: base |> k.ft(data=k.docs) |> ft(data=k.chats, optimizer=adamw(lr=7e-4, b2=0.9))"
    assert arm_text("m.none.none") == "none.none: base\n"
    assert arm_text("m.none.none", resolved=True) == "none.none: k.m  # /project/main.mix:20\n"
    assert set(arm_names(module(ARMS, kit=KIT))) == {
        *("s.base", "s.twice", "s.named", "m.base"),
        *("m.none.none", "m.none.chats", "m.some.none", "m.some.chats"),
    }


def test_an_arm_tells_every_field_of_its_stages_in_order() -> None:
    found = find_arm(module(ARMS, kit=KIT), "s.twice")
    assert found is not None
    rows = {row.path: row for row in rows_of_arm(found)}
    assert [path for path in rows if path.endswith(".for")] == ["twice.k.ft.for", "twice.ft[0].for", "twice.ft[1].for"]
    assert origin(rows["twice.k.ft.optimizer.lr"]) == "/project/kit.mix:22"
    assert origin(rows["twice.ft[0].for"]) == "/project/kit.mix:24"
    assert origin(rows["twice.ft[1].for"]) == "/project/main.mix:16"


def test_a_constant_tells_where_its_value_stands_and_where_it_is_used() -> None:
    rows = {row.path: origin(row) for row in rows_of(declared(ARMS, "ft", kit=KIT))}
    assert rows["optimizer"] == rows["optimizer.b2"] == "/project/main.mix:6 ($opt, /project/main.mix:11)"
    assert rows["optimizer.lr"] == "/project/main.mix:7 ($rate, /project/main.mix:6)"
    assert rows["optimizer.b1"] == "default"
    changed = {row.path: origin(row) for row in rows_of(declared(ARMS, "ft", {"rate": "1e-5"}, kit=KIT))}
    assert changed["optimizer.lr"] == "--set rate ($rate, /project/main.mix:6)"


def test_a_constant_in_a_chain_of_transforms_tells_it_too() -> None:
    text = """
    let:
      n: 3M tokens
      ts: [$one, take($n)]
      one: dedup(by=exact)
    source a:
      format: documents
      files: a/*.jsonl
      apply:
        - take($n)
        - $one
        - take: $n
    source b:
      extends: a
      apply: $ts
    """
    a = {row.path: origin(row).replace("/project/", "") for row in rows_of(declared(text, "a"))}
    assert a["apply[0]"] == "main.mix:11"
    assert a["apply[0].amount"] == "main.mix:4 ($n, main.mix:11)"
    assert a["apply[1]"] == a["apply[1].by"] == "main.mix:6 ($one, main.mix:12)"
    assert a["apply[1].threshold"] == "default"
    assert a["apply[2].amount"] == "main.mix:4 ($n, main.mix:13)"
    b = {row.path: origin(row).replace("/project/", "") for row in rows_of(declared(text, "b"))}
    assert b["apply[0].by"] == "main.mix:6 ($one, main.mix:5)"
    assert b["apply[1]"] == "main.mix:5 ($ts, main.mix:16)"
    assert b["apply[1].amount"] == "main.mix:4 ($n, main.mix:5)"


@pytest.mark.parametrize("name", ["s", "s.nothing", "twice", "k.m.base", "s.twice.ft", "m.some"])
def test_what_is_no_arm_is_not_found(name: str) -> None:
    assert find_arm(module(ARMS, kit=KIT), name) is None
