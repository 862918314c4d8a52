"""What the checker catches from the text alone: each rule on what is wrong, and silent on what is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dsl.check import check, load_checked
from dsl.checks.rules import RULES
from dsl.diagnostics.pages import codes as pages
from tests.dsl.loading import EXAMPLES, ROOT, checked, pointed, reader, spec, told

COMMON = """
model starter:
  from: hf://org/starter
model served:
  api: a/b
source chats:
  format: chat
  files: data/chats.jsonl
  holdout: 1%
source advice:
  format: chat
  files: data/advice.jsonl
source papers:
  format: documents
  files: data/papers.jsonl
source pairs:
  format: preference
  files: data/pairs.jsonl
source asks:
  format: prompts
  files: data/asks.jsonl
eval margin:
  choice: evals/pairs.jsonl
eval chat_loss:
  loss: chats.holdout
eval learnt_loss:
  loss: chats
reward good:
  judge: served
  prompt: p.md
  scale: 0..1
train tune:
  objective: supervised
  loss: assistant
  sequence: 2048 tokens
  batch: 32 examples
  optimizer: adamw(lr=1e-4)
train rl:
  objective: grpo(group=8)
  reward: good
  rollout: sampling(max_tokens=64)
  sequence: 2048 tokens
  batch: 64 prompts
  for: 100 steps
  optimizer: adamw(lr=1e-6)
"""


def codes(text: str) -> list[str]:
    return [code for code, _ in checked(text, c=COMMON)]


def in_flow(call: str) -> list[str]:
    """The codes for a model that one stage trains."""
    return codes(f"import:\n  c: c.mix\nmodel m:\n  from: c.starter |> {call}\n")


def in_mix(parts: str) -> list[str]:
    return codes(f"import:\n  c: c.mix\nmix m:\n{parts}\n")


def in_study(lines: str, base: str = "c.starter") -> list[str]:
    text = f"import:\n  c: c.mix\nstudy s:\n  base: {base}\n"
    return codes(text + "".join(f"  {line}\n" for line in lines.strip("\n").split("\n")))


def test_the_examples_are_fine():
    assert told(check(sorted(EXAMPLES.glob("*.mix")))) == ""


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.mix")), ids=lambda path: path.stem)
def test_each_example_is_fine_alone(path: Path):
    assert told(check([path])) == ""
    assert load_checked(path).module is not None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.code}-{rule.find.__name__}")
def test_every_rule_has_a_sentence(rule):
    assert rule.find.__doc__
    assert rule.find.__doc__.splitlines()[0].endswith(".")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ("  parts:\n    c.chats: 100%", []),
        ("  parts:\n    c.chats: 50%\n    c.advice: 50%", []),
        ("  parts:\n    c.chats: 50%\n    c.advice: 40%", ["MIX0305"]),
        ("  parts:\n    c.chats: 60%\n    c.advice: 50%", ["MIX0305"]),
        ("  parts:\n    c.chats: 50%\n    c.advice: rest", []),
        ("  parts:\n    c.chats: 100%\n    c.advice: rest", ["MIX0305"]),
        ("  parts:\n    c.chats: 3\n    c.advice: 2", []),
        ("  parts:\n    c.chats: rest\n    c.advice: rest", ["MIX0306"]),
        ("  parts:\n    c.chats: rest\n    c.advice: 1", []),
        ("  parts:\n    c.chats: all", []),
        ("  parts:\n    c.chats: all\n    c.advice: 50%", []),
        ("  budget: 3M tokens\n  parts:\n    c.chats: 1M tokens\n    c.advice: 2M tokens", []),
        ("  budget: 3M tokens\n  parts:\n    c.chats: 1M tokens\n    c.advice: 1M tokens", ["MIX0305"]),
        ("  budget: 3M tokens\n  parts:\n    c.chats: 4M tokens\n    c.advice: rest", ["MIX0305"]),
        ("  budget: 4M tokens\n  parts:\n    c.chats: 2M tokens\n    c.advice: 50%", []),
        ("  budget: 3M tokens\n  parts:\n    c.chats: 2 epochs\n    c.advice: 2M tokens", []),
        ("  parts: [c.chats, c.advice]\n  shares: proportional(temperature=0.7)", []),
        ("  parts: [c.chats, c.advice]", ["MIX0304"]),
        ("  parts:\n    c.chats: 100%\n  shares: proportional", ["MIX0304"]),
        ("  parts:\n    c.chats: 100%\n  phases:\n    - for: 100%\n      parts: {c.chats: all}", ["MIX0304"]),
        ("  phases:\n    - for: 80%\n      parts: {c.chats: 100%}\n    - for: 20%\n      parts: {c.advice: 100%}", []),
        ("  phases:\n    - for: 80%\n      parts: {c.chats: 100%}", ["MIX0305"]),
        ("  phases:\n    - for: 100%\n      parts: {c.chats: 90%}", ["MIX0305"]),
        ("  phases:\n    - for: 100%\n      parts: {c.chats: rest, c.advice: rest}", ["MIX0306"]),
    ],
)
def test_mixes(parts: str, expected: list[str]):
    assert in_mix(parts) == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("c.tune(data=c.chats)", []),
        ("c.tune(data=c.chats, loss=all)", []),
        ("c.tune(data=c.papers, loss=all)", []),
        ("c.tune(data=c.papers)", ["MIX0307"]),
        ("c.tune(data=c.papers, loss=completion)", ["MIX0307"]),
        ("c.tune(data=c.pairs)", ["MIX0308"]),
        ("c.tune(data=c.asks)", ["MIX0308"]),
        ("c.tune(data=c.pairs, objective=dpo(beta=0.1))", []),
        ("c.tune(data=c.chats, objective=dpo(beta=0.1))", ["MIX0308"]),
        ("c.rl(data=c.asks)", []),
        ("c.rl(data=c.chats)", ["MIX0308"]),
        ("c.tune(data=c.chats, reward=c.good)", ["MIX0309"]),
        ("c.tune(data=c.chats, objective=grpo(group=8))", ["MIX0309", "MIX0309", "MIX0308", "MIX0310"]),
        ("c.tune(data=c.chats, batch=8 prompts)", ["MIX0310"]),
        ("c.rl(data=c.asks, batch=8 examples)", ["MIX0310"]),
        ("c.rl(data=c.asks, schedule=cosine(warmup=50 steps))", []),
        ("c.rl(data=c.asks, schedule=cosine(warmup=100 steps))", ["MIX0311"]),
        ("c.rl(data=c.asks, schedule=cosine(warmup=100%))", ["MIX0311"]),
        ("c.rl(data=c.asks, until=100 steps)", ["MIX0361"]),
        ("c.rl(data=c.asks, until=101 steps)", ["MIX0312"]),
        ("c.rl(data=c.asks, checkpoint=[50 steps, end])", []),
        ("c.rl(data=c.asks, checkpoint=200 steps)", ["MIX0312"]),
        ("c.rl(data=c.asks, checkpoint=every 200 steps)", ["MIX0312"]),
        ("c.rl(data=c.asks, for=19 steps)", ["MIX0313"]),
        ("c.rl(data=c.asks, for=20 steps)", []),
        ("c.rl(data=c.asks, for=64 prompts)", ["MIX0313"]),
        ("c.rl(data=c.asks, for=1000 completions)", ["MIX0313"]),
        ("c.rl(data=c.asks, until=19 steps)", ["MIX0313"]),
        ("c.rl(data=c.asks, until=19%)", ["MIX0313"]),
        ("c.tune(data=c.chats, for=608 examples)", ["MIX0313"]),
        ("c.tune(data=c.chats, for=609 examples)", []),
        ("c.tune(data=c.chats, for=3k trained tokens)", []),
        ("c.tune(data=c.chats, sequence=64k tokens)", ["MIX0314"]),
        ("c.tune(data=c.chats, sequence=64Ki tokens)", []),
        ("c.tune(data=c.chats, sequence=60k tokens)", []),
        ("c.tune", ["MIX0315"]),
    ],
)
def test_stages(call: str, expected: list[str]):
    assert sorted(in_flow(call)) == sorted(expected)


@pytest.mark.parametrize(
    ("mix", "length", "expected"),
    [
        ("  parts: {c.chats: 50%, c.advice: 50%}", ", for=2 epochs", ["MIX0334"]),
        ("  parts: {c.chats: 50%, c.advice: 50%}", "", ["MIX0334"]),
        ("  parts: {c.chats: 50%, c.advice: 50%}", ", for=200 steps", []),
        ("  budget: 3M tokens\n  parts: {c.chats: 50%, c.advice: 50%}", ", for=2 epochs", []),
        ("  parts: {c.chats: all, c.advice: rest}", ", for=2 epochs", []),
        ("  parts: {c.chats: 100%}", ", for=2 epochs", []),
    ],
)
def test_an_epoch_of_shares(mix: str, length: str, expected: list[str]):
    text = f"import:\n  c: c.mix\nmix m:\n{mix}\nmodel n:\n  from: c.starter |> c.tune(data=m{length})\n"
    assert codes(text) == expected


def test_a_served_model_is_not_trained():
    assert codes("import:\n  c: c.mix\nmodel m:\n  from: c.served |> c.tune(data=c.chats)\n") == ["MIX0315"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            "arms:\n    a: base |> c.tune(data=c.chats)\nevals: [c.margin]\nexpect:\n  - c.margin(a) > c.margin(base)",
            [],
        ),
        ("arms:\n    a: base |> c.tune(data=c.chats)\nevals: [c.margin]\nexpect:\n  - c.margin(a, at=all) > 3%", []),
        ("arms:\n    a: base |> c.tune(data=c.chats)\nevals: [c.margin]\nexpect:\n  - c.margin(b) > 3%", ["MIX0329"]),
        (
            "arms:\n    a: base |> c.tune(data=c.chats)\nevals: [c.margin]\nexpect:\n  - c.margin(a, at=noon) > 3%",
            ["MIX0329"],
        ),
        (
            "arms:\n    a: base |> c.tune(data=c.chats)\nevals: [c.margin]\nexpect:\n  - c.margin(x=a) > 3%",
            ["MIX0329"] * 2,
        ),
        ("arms:\n    a: base |> c.tune(data=c.chats)\nevals: [c.margin]\nexpect:\n  - c.margin > 3%", ["MIX0329"]),
        ("arms:\n    a: base |> c.tune(data=c.chats)\nevals: {c.margin: every 10%}\nstop: c.margin < 3%", []),
        ("arms:\n    a: base |> c.tune(data=c.chats)\nexpect:\n  - c.margin(a) > 3%", ["MIX0329"]),
        ("arms:\n    base: base |> c.tune(data=c.chats)", ["MIX0326"]),
        ("arms:\n    A-1: base |> c.tune(data=c.chats)", ["MIX0326"]),
        ("arms:\n    a: base |> c.tune", ["MIX0315"]),
        ("seeds: [0, 0]\narms:\n    a: base |> c.tune(data=c.chats)", ["MIX0327"]),
        ("evals: [c.margin, c.margin]\narms:\n    a: base |> c.tune(data=c.chats)", ["MIX0327"]),
        ("evals:\n  c.margin: 50% of tune\narms:\n    a: base |> c.tune(data=c.chats)", []),
        ("evals:\n  c.margin: every 50% of c.tune\narms:\n    a: base |> c.tune(data=c.chats)", []),
        ("evals:\n  c.margin: 50% of tuna\narms:\n    a: base |> c.tune(data=c.chats)", ["MIX0328"]),
        ("evals:\n  c.margin: 300 steps\narms:\n    a: base |> c.rl(data=c.asks)", ["MIX0312"]),
        ("evals:\n  c.margin: 100 steps\narms:\n    a: base |> c.rl(data=c.asks)", []),
        ("match: tokens(of=tune)\narms:\n    a: base |> c.tune(data=c.chats)", []),
        ("match: tokens(of=tuna)\narms:\n    a: base |> c.tune(data=c.chats)", ["MIX0328"]),
        ("evals: [c.chat_loss]\narms:\n    a: base |> c.tune(data=c.chats)", []),
        ("evals: [c.learnt_loss]\narms:\n    a: base |> c.tune(data=c.chats)", ["MIX0332"]),
        ("evals: [c.learnt_loss]\narms:\n    a: base |> c.tune(data=c.advice)", []),
        ("evals: [c.chat_loss]\narms:\n    a: base |> c.tune(data=c.chats.holdout)", ["MIX0332"]),
        ("arms:\n    a: c.served\nevals: [c.margin]", ["MIX0331"]),
        ("arms:\n    a: c.served\nevals: [c.chat_loss]", ["MIX0331"]),
        ("matrix:\n  - f: {none: none, one: c.tune(data=c.chats)}\n  - f: {none: none}", ["MIX0327"]),
        ("matrix:\n  - f: {none: none, one: c.tune(data=c.chats)}\nmatch: tokens(of=f)", []),
        ("arms:\n    a: base\nmatrix:\n  - f: {none: none, one: c.tune(data=c.chats)}", ["MIX0325"]),
    ],
)
def test_studies(lines: str, expected: list[str]):
    assert in_study(lines) == expected


MATRIX = """matrix:
  - docs: {none: none, papers: 'c.tune(data=c.papers, loss=all)'}
  - chat: {none: none, chats: c.tune(data=c.chats)}
evals: [c.margin]
expect:
  - """


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("c.margin(docs=papers) > c.margin(base)", []),
        ("c.margin(docs=papers, chat=none) > c.margin(docs=none, chat=none)", []),
        ("c.margin(papers.none) > c.margin(none.none)", []),
        ("c.margin > c.margin(base)", []),
        ("c.margin(docs=paper) > c.margin(base)", ["MIX0329"]),
        ("c.margin(doc=papers) > c.margin(base)", ["MIX0329"]),
        ("c.margin(papers) > c.margin(base)", ["MIX0329"]),
    ],
)
def test_claims_over_a_matrix(claim: str, expected: list[str]):
    assert in_study(MATRIX + claim) == expected


@pytest.mark.parametrize(
    ("arms", "differ", "expected"),
    [
        (("c.tune(data=c.chats)", "c.tune(data=c.advice)"), "data", []),
        (("c.tune(data=c.chats)", "c.tune(data=c.advice, loss=all)"), "data", ["MIX0330"]),
        (("c.tune(data=c.chats)", "c.tune(data=c.chats, optimizer.lr=1e-3)"), "optimizer.lr", []),
        (("c.tune(data=c.chats)", "c.tune(data=c.chats, optimizer.lr=1e-3)"), "optimizer", []),
        (("c.tune(data=c.chats)", "c.tune(data=c.chats, optimizer.b2=0.9)"), "optimizer.lr", ["MIX0330"]),
        (("c.tune(data=c.chats)", "c.tune(data=c.advice) |> c.tune(data=c.chats)"), "model", []),
        (("c.tune(data=c.chats)", "c.tune(data=c.advice) |> c.tune(data=c.chats)"), "data", ["MIX0330"]),
        (("c.tune(data=c.chats)", "c.tune(data=c.advice)"), "nothing", ["MIX0330"]),
    ],
)
def test_differ(arms: tuple[str, str], differ: str, expected: list[str]):
    assert in_study(f"differ: {differ}\narms:\n    a: base |> {arms[0]}\n    b: base |> {arms[1]}") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("source s:\n  format: chat\n  files: a\n", []),
        ("source s:\n  format: chat\n", ["MIX0301"]),
        ("source s:\n  files: a\n", ["MIX0302"]),
        ("source a:\n  format: chat\n  files: a\nsource s:\n  format: documents\n  from: a\n", ["MIX0302"]),
        ("source a:\n  format: chat\n  files: a\nsource s:\n  format: chat\n  from: a\n  files: b\n", ["MIX0301"]),
        ("source s:\n  format: documents\n  files: a\n  apply:\n    - tools(files=t, count=1..2)\n", ["MIX0303"]),
        ("augment x:\n  apply:\n    - generate(with=m, prompt=p, count=3 examples)\n    - tools(files=t, count=1..2)\n"
         "model m:\n  api: a/b\n", ["MIX0303"]),
        ("mix m:\n  budget: 3M tokens\n", ["MIX0304"]),
        ("mix m:\n  parts: {}\n", ["MIX0304"]),
        ("mix m:\n  parst: {}\n", ["MIX0203"]),
        ("source s:\n  format: chat\n  fiels: a\n", ["MIX0203"]),
        ("model m:\n  doc: nothing\n", ["MIX0317"]),
        ("model m:\n  api: a/b\n  from: hf://a/b\n", ["MIX0317"]),
        ("model m:\n  from: hf://a/b\n  spend: 3 dollars\n", ["MIX0318"]),
        ("model m:\n  architecture: qwen3_8b\n  tokenizer: t\n", []),
        ("model m:\n  architecture: qwen3_8b\n", ["MIX0365"]),
        ("model m:\n  architecture: {layers: 4}\n", ["MIX0365"] + ["MIX0204"] * 4),
        ("eval e:\n  doc: nothing\n", ["MIX0322"]),
        ("eval e:\n  choice: a\n  loss: s\nsource s:\n  format: chat\n  files: a\n", ["MIX0322"]),
        ("eval e:\n  choice: a\n  samples: 3\n  temperature: 1\n", ["MIX0318", "MIX0318"]),
        ("eval e:\n  choice: a\n  metric: mean(nll)\n", ["MIX0324"]),
        ("eval e:\n  choice: a\n  metric: rate(aligned)\n", []),
        ("eval e:\n  prompts: a\n", ["MIX0323"]),
        ("eval e:\n  prompts: a\n  judge: m\nmodel m:\n  api: a/b\n", ["MIX0323"] * 2),
        ("model m:\n  api: a/b\n"
         "eval e:\n  prompts: a\n  judge: m\n  prompt: p\n  answers: [yes, no]\n  metric: rate(maybe)\n",
         ["MIX0324"]),
        ("eval e:\n  suite: [a, a]\neval a:\n  choice: x\n", ["MIX0327"]),
        ("reward r:\n  doc: nothing\n", ["MIX0316"]),
        ("reward r:\n  verify: \"(?i)yes\"\n  scale: 0..1\n", ["MIX0316"]),
        ("reward r:\n  verify: x\nreward q:\n  sum: {r: 0.5}\n", []),
        ("target t:\n  platform: tpu\n  topology: v5e:16x16\n  shard: {fsdp: 64, tensor: 4}\n", []),
        ("target t:\n  platform: tpu\n  topology: v5e:16x16\n  shard: {fsdp: 64}\n", ["MIX0319"]),
        ("target t:\n  platform: cpu\n  devices: 2\n  shard: {data: 2}\n", []),
        ("target t:\n  platform: cpu\n  devices: 2\n  shard: {rows: 2}\n", ["MIX0320"]),
        ("target t:\n  platform: tpu\n  topology: a pod\n", ["MIX0321"]),
        ("target t:\n  platform: gpu\n  topology: h100:8\n  devices: 4\n", ["MIX0321"]),
        ("study s:\n  question: what?\n", ["MIX0325"]),
        ("let:\n  x: 1\nmodel m:\n  api: a/b\n", ["MIX0342"]),
        ("import:\n  c: c.mix\nmodel m:\n  api: a/b\n", ["MIX0341"]),
    ],
)  # fmt: skip
def test_declarations_alone(text: str, expected: list[str]):
    assert codes(text) == expected


def test_unused_declarations_are_told_in_a_file_that_runs_something():
    unused = "source lone:\n  format: chat\n  files: a\n"
    assert codes(unused) == []
    runs = "import:\n  c: c.mix\nmodel m:\n  from: c.starter |> c.tune(data=c.chats)\n"
    assert codes(runs + unused) == ["MIX0340"]


def test_what_only_an_unused_declaration_uses_goes_with_it():
    runs = "import:\n  c: c.mix\nmodel m:\n  from: c.starter |> c.tune(data=c.chats)\n"
    assert codes(runs + "source a:\n  format: chat\n  files: a\nmix b:\n  parts:\n    a: all\n") == ["MIX0340"]


def test_a_mistyped_use_does_not_make_a_declaration_unused():
    text = "import:\n  c: c.mix\nsource a:\n  format: chat\n  files: a\nmodel m:\n  from: c.starter |> c.tune(dta=a)\n"
    assert codes(text) == ["MIX0203"]


def test_another_checked_file_counts_as_a_use():
    files = {
        "lib.mix": spec("model m:\n  from: hf://a/b\nmodel t:\n  from: m |> tune(data=used)\n" + LIB),
        "main.mix": spec("import:\n  lib: lib.mix\nmodel n:\n  from: lib.m |> lib.tune(data=lib.extra)\n"),
    }
    alone = check([ROOT / "lib.mix"], root=ROOT, read=reader(files))
    assert [code for code, _ in pointed(alone)] == ["MIX0340"]
    assert check([ROOT / "lib.mix", ROOT / "main.mix"], root=ROOT, read=reader(files)) == []


LIB = """
source used:
  format: chat
  files: a
source extra:
  format: chat
  files: b
train tune:
  objective: supervised
  loss: all
  sequence: 128 tokens
  batch: 2 examples
  optimizer: adamw(lr=1e-4)
"""


def test_an_error_in_a_shared_import_is_told_once():
    files = {
        "a.mix": spec("import:\n  c: c.mix\nmodel a:\n  extends: c.m\n"),
        "b.mix": spec("import:\n  c: c.mix\nmodel b:\n  extends: c.m\n"),
        "c.mix": spec("model m:\n  api: a/b\n  temprature: 0\n"),
    }
    found = check([ROOT / name for name in files], root=ROOT, read=reader(files))
    assert pointed(found) == [("MIX0203", "temprature")]


def test_an_error_in_one_declaration_does_not_hide_those_of_others():
    found = codes(
        "import:\n  c: c.mix\nsource a:\n  format: chat\n  files: a\n  nope: 1\n"
        "mix m:\n  parts:\n    a: 50%\n    c.chats: 40%\n"
    )
    assert found == ["MIX0203", "MIX0305"]


def test_until_is_a_warning():
    text = spec("import:\n  c: c.mix\nmodel m:\n  from: c.starter |> c.rl(data=c.asks, until=5 steps)\n")
    files = {"main.mix": text, "c.mix": spec(COMMON)}
    (one,) = check([ROOT / "main.mix"], root=ROOT, read=reader(files))
    assert (one.code, one.severity) == ("MIX0313", "warning")


def test_every_code_that_is_told_has_a_page():
    root = Path(__file__).parents[2]
    files = [path for package in ("dsl", "compiler", "mixc") for path in (root / package).rglob("*.py")]
    told_codes = {code for path in files for code in re.findall(r'"(MIX\d{4})"', path.read_text())}
    assert told_codes == set(pages())
