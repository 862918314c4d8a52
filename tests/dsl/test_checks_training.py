"""What the checker catches in stages, models, targets and locations, and what it leaves alone."""

from __future__ import annotations

import pytest

from dsl.check import check
from tests.dsl.loading import ROOT, checked, reader, spec

COMMON = """
model starter:
  from: hf://org/starter
model served:
  api: a/b
source chats:
  format: chat
  files: data/chats.jsonl
source papers:
  format: documents
  files: data/papers.jsonl
source pairs:
  format: preference
  files: data/pairs.jsonl
source asks:
  format: prompts
  files: data/asks.jsonl
reward good:
  judge: served
  prompt: p.md
  scale: 0..1
train tune:
  objective: supervised
  sequence: 2048 tokens
  batch: 32 examples
  for: 200 steps
  optimizer: adamw(lr=1e-4)
train dpo:
  extends: tune
  objective: dpo
train rl:
  objective: grpo(group=8)
  reward: good
  rollout: sampling(max_tokens=64)
  sequence: 2048 tokens
  batch: 64 prompts
  for: 100 steps
  optimizer: adamw(lr=1e-6)
"""


def in_flow(call: str, start: str = "c.starter") -> list[tuple[str, str]]:
    """What is found in a model that one stage trains, each with what it points at."""
    return checked(f"import:\n  c: c.mix\nmodel m:\n  from: {start} |> {call}\n", c=COMMON)


TUNE, DPO, RL = "c.tune(data=c.chats, ", "c.dpo(data=c.pairs, ", "c.rl(data=c.asks, "


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (TUNE + "for=120k completions)", [("MIX0310", "120k completions")]),
        (TUNE + "for=900 prompts)", [("MIX0310", "900 prompts")]),
        (TUNE + "until=10k completions)", [("MIX0310", "10k completions")]),
        (TUNE + "checkpoint=[900 prompts, end])", [("MIX0310", "900 prompts")]),
        (TUNE + "for=9k examples)", []),
        (TUNE + "for=3M trained tokens, until=50%, checkpoint=[1M tokens, every 25%])", []),
        (DPO + "for=120k completions)", [("MIX0310", "120k completions")]),
        (DPO + "for=9k examples)", []),
        (RL + "for=120k completions)", []),
        (RL + "for=12k prompts, checkpoint=6k prompts)", []),
        (RL + "for=12k examples)", [("MIX0310", "12k examples")]),
    ],
)
def test_lengths_are_counted_in_what_an_objective_has(call: str, expected: list[tuple[str, str]]) -> None:
    assert in_flow(call) == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (TUNE + "batch=4096 tokens, sequence=8192 tokens)", [("MIX0360", "4096 tokens")]),
        (TUNE + "batch=5000 tokens, sequence=512 tokens)", [("MIX0360", "5000 tokens")]),
        (TUNE + "batch=5120 tokens, sequence=512 tokens)", []),
        (TUNE + "batch=64Ki tokens, sequence=64Ki tokens)", []),
        (TUNE + "batch=128k tokens, sequence=8Ki tokens)", [("MIX0314", "128k tokens")]),
        (TUNE + "batch=128000 tokens, sequence=8Ki tokens)", [("MIX0360", "128000 tokens")]),
        (DPO + "batch=4096 tokens, sequence=8192 tokens)", [("MIX0360", "4096 tokens")]),
        (RL + "batch=4096 tokens, sequence=8192 tokens)", [("MIX0310", "4096 tokens")]),
        (RL + "rollout.max_tokens=100k, sequence=64 tokens)", [("MIX0360", "100k")]),
        (RL + "rollout.max_tokens=2048)", [("MIX0360", "2048")]),
        (RL + "rollout.max_tokens=2047)", []),
        (TUNE + "sequence=1 token)", [("MIX0207", "1 token")]),
        (TUNE + "sequence=2 tokens)", []),
    ],
)
def test_sizes_fit_one_another(call: str, expected: list[tuple[str, str]]) -> None:
    assert in_flow(call) == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (TUNE + "until=0%)", [("MIX0361", "0%")]),
        (TUNE + "until=100%)", [("MIX0361", "100%")]),
        (TUNE + "until=200 steps)", [("MIX0361", "200 steps")]),
        (TUNE + "until=201 steps)", [("MIX0312", "201 steps")]),
        (TUNE + "until=100 steps)", []),
        (TUNE + "for=2 epochs, until=2 epochs)", [("MIX0361", "2 epochs")]),
        (TUNE + "for=2 epochs, until=200 steps)", []),
        (TUNE + "for=2000 steps, until=2%, schedule=cosine(warmup=50%))", [("MIX0362", "2%")]),
        (TUNE + "for=2000 steps, until=40 steps, schedule=cosine(warmup=50%))", [("MIX0362", "40 steps")]),
        (TUNE + "for=2 epochs, until=40 steps, schedule=linear(warmup=40 steps))", [("MIX0362", "40 steps")]),
        (TUNE + "for=2 epochs, until=10%, schedule=constant(warmup=10%))", [("MIX0362", "10%")]),
        (TUNE + "for=2000 steps, until=50%, schedule=cosine(warmup=3%))", []),
        (TUNE + "for=2 epochs, until=1M tokens, schedule=cosine(warmup=100 steps))", []),
        (TUNE + "for=2 epochs, until=10%, schedule=cosine(warmup=100%))", [("MIX0311", "100%")]),
    ],
)
def test_branches(call: str, expected: list[tuple[str, str]]) -> None:
    assert in_flow(call) == expected


def test_a_branch_in_the_warmup_is_a_warning() -> None:
    call = TUNE + "for=2000 steps, until=2%, schedule=cosine(warmup=50%))"
    text = spec(f"import:\n  c: c.mix\nmodel m:\n  from: c.starter |> {call}\n")
    (one,) = check([ROOT / "main.mix"], root=ROOT, read=reader({"main.mix": text, "c.mix": spec(COMMON)}))
    assert one.severity == "warning"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (DPO + "loss=last_assistant)", [("MIX0318", "last_assistant")]),
        (DPO + "loss=all)", [("MIX0318", "all")]),
        (DPO + "loss=assistant)", []),
        (DPO + "packing=best_fit)", []),
        (DPO + "reasoning=mask)", []),
        (RL + "loss=all)", [("MIX0318", "all")]),
        (RL + "packing=best_fit)", [("MIX0318", "best_fit")]),
        (RL + "packing=none)", []),
        ("c.tune(data=c.papers, reasoning=mask)", [("MIX0318", "mask")]),
        ("c.tune(data=c.chats, reasoning=mask)", []),
        ("c.tune(data=c.chats, loss=last_assistant)", []),
    ],
)
def test_settings_of_a_stage_have_an_effect(call: str, expected: list[tuple[str, str]]) -> None:
    assert in_flow(call) == expected


def test_reasoning_may_be_masked_where_some_of_a_mix_are_chats() -> None:
    text = "import:\n  c: c.mix\nmix both:\n  budget: 3M tokens\n  parts: {c.chats: 50%, c.papers: 50%}\n"
    text += "model m:\n  from: c.starter |> c.tune(data=both, reasoning=mask)\n"
    assert checked(text, c=COMMON) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("from: hf://a/b\n  temperature: 0\n  top_p: 0.9\n  max_tokens: 10", ["0", "0.9", "10"]),
        ("from: hf://a/b\n  seed: 3", ["3"]),
        ("from: hf://a/b\n  tokenizer: t\n  template: x.j2\n  template_args: {a: b}", []),
        ("from: c.starter |> c.tune(data=c.chats)\n  seed: 3", []),
        ("from: c.starter |> c.tune(data=c.chats)\n  temperature: 1", ["1"]),
        ("from: c.starter(seed=3) |> c.tune(data=c.chats)", ["3"]),
        ("architecture: qwen3_8b\n  temperature: 1", ["1"]),
        ("api: a/b\n  seed: 3\n  tokenizer: t\n  template: x", ["3", "t", "x"]),
        ("api: a/b\n  temperature: 0\n  top_p: 0.9\n  max_tokens: 10\n  spend: 3 dollars", []),
    ],
)
def test_fields_of_a_model_have_an_effect(fields: str, expected: list[str]) -> None:
    imported = "import:\n  c: c.mix\n" if "c." in fields else ""
    assert checked(f"{imported}model m:\n  {fields}\n", c=COMMON) == [("MIX0318", text) for text in expected]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("qwen3_8b", []),
        ("smollm2_135m", []),
        ("qwen9_99b", [("MIX0208", "qwen9_99b")]),
        ("{layers: 2, hidden: 64, key_value_heads: 2}", []),
        ("{layerz: 2}", [("MIX0203", "2")]),
    ],
)
def test_shapes_are_known(written: str, expected: list[tuple[str, str]]) -> None:
    assert checked(f"model m:\n  architecture: {written}\n") == expected


@pytest.mark.parametrize(
    ("platform", "topology", "expected"),
    [
        ("gpu", "h100:8", []),
        ("tpu", "v5e:16x16", []),
        ("gpu", "something-new:8", []),
        ("cpu", "h100:8", [("MIX0321", "h100:8")]),
        ("tpu", "h100:8", [("MIX0321", "h100:8")]),
        ("gpu", "v5e:4x4", [("MIX0321", "v5e:4x4")]),
        ("gpu", "h100:0", [("MIX0321", "h100:0")]),
        ("tpu", "v5e:16x0", [("MIX0321", "v5e:16x0")]),
    ],
)
def test_topologies(platform: str, topology: str, expected: list[tuple[str, str]]) -> None:
    assert checked(f"target t:\n  platform: {platform}\n  topology: {topology}\n") == expected


@pytest.mark.parametrize(
    "location",
    ["data/a.jsonl", "gs://b/*.jsonl", "s3://b/a", "hf://datasets/org/name@rev/a.parquet", "package://p/a.jsonl"],
)
def test_locations_that_lead_somewhere(location: str) -> None:
    assert checked(f"source s:\n  format: chat\n  files: {location}\n") == []


@pytest.mark.parametrize("location", ["htp://x/y", "s3://", "s3://bucket", "hf://", "hf://datasets/org", "gs:///a"])
def test_locations_that_lead_nowhere(location: str) -> None:
    assert checked(f"source s:\n  format: chat\n  files: [a.jsonl, '{location}']\n") == [("MIX0363", f"'{location}'")]
    assert checked(f"model m:\n  from: '{location}'\n") == [("MIX0363", f"'{location}'")]
    judged = f"- judge(as=a, with=m, prompt={location}, answers=[yes, no])"
    text = f"model m:\n  api: a/b\nsource s:\n  format: chat\n  files: a\n  apply:\n    {judged}\n"
    assert checked(text) == [("MIX0363", location)]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (TUNE + "batch=5000 tokns, sequence=512 tokens)", ["MIX0151"]),
        (TUNE + "batch=5000 tokens, sequence=512 tokns)", ["MIX0151"]),
        (TUNE + "objective=supervized, for=120k completions)", ["MIX0209"]),
        (TUNE + "for=120k completiosn, until=100%)", ["MIX0151", "MIX0361"]),
        (TUNE + "for=20 stepz, until=20 steps)", ["MIX0151"]),
        (TUNE + "until=2 stepz, schedule=cosine(warmup=50%))", ["MIX0205"]),
        (TUNE + "until=2%, for=2000 steps, schedule=cosign(warmup=50%))", ["MIX0209"]),
        (RL + "rollout=sampling(max_tokens=1 k), sequence=64 tokens)", ["MIX0150"]),
        (RL + "loss=al, packing=best_fit)", ["MIX0208"]),
        ("c.tune(data=c.paperz, reasoning=mask)", ["MIX0210"]),
    ],
)
def test_a_mistake_hides_what_only_follows_from_it(call: str, expected: list[str]) -> None:
    assert [code for code, _ in in_flow(call)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model m:\n  api: [a]\nmodel n:\n  from: m |> c.tune(data=c.chats)\n", ["MIX0205"]),
        ("model m:\n  from: hf://a/b\n  doc: 'x\nmodel n:\n  from: m |> c.tune(data=c.chats)\n", ["MIX0116"]),
        ("model m:\n  apj: a/b\nmodel n:\n  from: m |> c.tune(data=c.chats)\n", ["MIX0203"]),
        ("model m:\n  api: a/b\n  temperature: warm\n", ["MIX0150"]),
        ("model m:\n  from: hf://a/b |> c.tuna\n  temperature: warm\n", ["MIX0150", "MIX0150"]),
        ("model m:\n  architecture: [a]\n", ["MIX0205"]),
        ("target t:\n  platform: cpuu\n  topology: h100:8\n", ["MIX0208"]),
        ("target t:\n  platform: cpu\n  topology: [h100]\n", ["MIX0205"]),
        ("source s:\n  format: chat\n  files: {a: b}\n", ["MIX0205"]),
    ],
)
def test_a_mistake_in_a_declaration_hides_what_only_follows_from_it(text: str, expected: list[str]) -> None:
    imported = "import:\n  c: c.mix\n" if "c." in text else ""
    assert [code for code, _ in checked(imported + text, c=COMMON)] == expected
