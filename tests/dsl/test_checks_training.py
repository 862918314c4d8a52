"""What the checker catches in stages, models, targets and locations, and what it leaves alone."""

from __future__ import annotations

import pytest

from compiler.program import shapes
from dsl.check import check
from dsl.checks.models import WINDOWED
from dsl.declarations.models import FAMILIES, SHAPES
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


SHAPE = "vocabulary: 512, layers: 2, hidden: 64, intermediate: 128, heads: 4"
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
        (DPO + "batch=8192 tokens, sequence=8192 tokens)", [("MIX0360", "8192 tokens")]),
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
        ("architecture: qwen3_8b\n  tokenizer: t\n  temperature: 1", ["1"]),
        (f"architecture: {{{SHAPE}, window: 64}}\n  tokenizer: t", ["64"]),
        (f"architecture: {{{SHAPE}, window: 64, family: gemma2}}\n  tokenizer: t", []),
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
        (f"{{{SHAPE}}}", []),
        (f"{{{SHAPE}, layerz: 2}}", [("MIX0203", "layerz")]),
        (f"{{{SHAPE}, rope_theta: true}}", [("MIX0150", "true")]),
        (f"{{{SHAPE}, key_value_heads: 2}}", []),
        (f"{{{SHAPE}, key_value_heads: 3}}", [("MIX0365", "3")]),
        (f"{{{SHAPE}, head_size: 7}}", [("MIX0365", "7")]),
        (f"{{{SHAPE.replace('hidden: 64', 'hidden: 66')}}}", [("MIX0365", "66")]),
        (f"{{{SHAPE.replace('hidden: 64', 'hidden: 66')}, head_size: 8}}", []),
        (f"{{{SHAPE.replace('hidden: 64', 'hidden: 20')}}}", [("MIX0365", "20")]),
    ],
)
def test_shapes_are_known_and_fit(written: str, expected: list[tuple[str, str]]) -> None:
    assert checked(f"model m:\n  architecture: {written}\n  tokenizer: t\n") == expected


def test_a_model_from_scratch_has_a_tokenizer() -> None:
    assert checked("model m:\n  architecture: qwen3_8b\n") == [("MIX0365", "qwen3_8b")]


def test_the_table_of_shapes_has_what_the_language_names() -> None:
    assert set(shapes.SHAPES) == set(SHAPES)
    assert set(shapes.FAMILIES) == set(FAMILIES)
    assert {shape.family for shape in map(shapes.published, SHAPES) if shape.window} <= set(WINDOWED)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("optimizer=adafactor(lr=1e-3, clip=2)", []),
        ("optimizer=muon(lr=0.02, other_lr=3e-4)", []),
        ("optimizer=sgd(lr=0.1, momentum=0.9, nesterov=true)", []),
        ("optimizer=sgd(lr=0.1, nesterov=true)", [("MIX0318", "true")]),
        ("optimizer=sgd(lr=0.1, momentum=1)", [("MIX0207", "1")]),
        ("optimizer=muon(lr=0.02, momentun=0.9)", [("MIX0203", "momentun")]),
        ("schedule=wsd(warmup=3%, decay=20%, final=10%)", []),
        ("schedule=wsd(warmup=3%)", [("MIX0204", "wsd")]),
        ("schedule=wsd(decay=0%)", [("MIX0311", "0%")]),
        ("schedule=wsd(warmup=60%, decay=50%)", [("MIX0311", "50%")]),
        ("schedule=wsd(warmup=10%, decay=95 steps), for=100 steps", [("MIX0311", "95 steps")]),
        ("schedule=wsd(warmup=10 steps, decay=90 steps), for=100 steps", []),
        ("on_spike=stop", []),
        ("on_spike=panic", [("MIX0208", "panic")]),
    ],
)
def test_optimizers_and_schedules(settings: str, expected: list[tuple[str, str]]) -> None:
    assert in_flow(f"c.tune(data=c.chats, {settings})") == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("groups:\n    - embedding: frozen\n    - layers.*.scale: {lr: 10%, weight_decay: 0}", []),
        ("groups:\n    - embedding: freezed", [("MIX0208", "freezed")]),
        ("groups:\n    - embedding: {lr: 0%}", [("MIX0207", "0%")]),
        ("groups:\n    - embedding: {}", [("MIX0318", "embedding")]),
        ("groups:\n    - embedding: {lr: 10%, lrr: 1}", [("MIX0203", "lrr")]),
        ("groups: []", [("MIX0205", "[]")]),
        (
            "adapter: lora(rank=8, alpha=16, on=[mlp])\n  groups:\n    - embedding: frozen",
            [("MIX0318", "groups")],
        ),
    ],
)
def test_groups_of_parameters(fields: str, expected: list[tuple[str, str]]) -> None:
    text = f"import:\n  c: c.mix\ntrain t:\n  extends: c.tune\n  {fields}\n"
    assert checked(text, c=COMMON) == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (RL + "objective=grpo(group=8, epsilon_high=0.28, iterations=2, truncated=mask))", []),
        (RL + "objective=grpo(group=8, iterations=0))", [("MIX0207", "0")]),
        (RL + "for=10M tokens)", [("MIX0310", "10M tokens")]),
        (RL + "for=200 steps, checkpoint=every 1M tokens)", [("MIX0310", "every 1M tokens")]),
        (RL + "for=200 steps, schedule=cosine(warmup=1M tokens))", [("MIX0310", "1M tokens")]),
        (RL + "for=200 steps, until=1 epochs)", [("MIX0310", "1 epochs")]),
        (RL + "for=2 epochs, until=1 epochs)", []),
        (RL + "for=200 steps, reasoning=mask)", [("MIX0318", "mask")]),
    ],
)
def test_what_rollouts_have(call: str, expected: list[tuple[str, str]]) -> None:
    assert in_flow(call) == expected


@pytest.mark.parametrize(("platform", "kernel"), [("tpu", "splash"), ("gpu", "pallas"), ("gpu", "cudnn")])
def test_kernels_have_a_platform(platform: str, kernel: str) -> None:
    fields = f"attention: {kernel}\n  remat: full\n"
    assert checked(f"target t:\n  platform: {platform}\n  {fields}") == []
    assert checked(f"target t:\n  platform: cpu\n  {fields}") == [("MIX0321", kernel)]
    assert checked("target t:\n  platform: cpu\n  attention: xla\n  remat: none\n") == []


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
        ("model m:\n  architecture: [a]\n  tokenizer: t\n", ["MIX0205"]),
        ("target t:\n  platform: cpuu\n  topology: h100:8\n", ["MIX0208"]),
        ("target t:\n  platform: cpu\n  topology: [h100]\n", ["MIX0205"]),
        ("source s:\n  format: chat\n  files: {a: b}\n", ["MIX0205"]),
    ],
)
def test_a_mistake_in_a_declaration_hides_what_only_follows_from_it(text: str, expected: list[str]) -> None:
    imported = "import:\n  c: c.mix\n" if "c." in text else ""
    assert [code for code, _ in checked(imported + text, c=COMMON)] == expected
