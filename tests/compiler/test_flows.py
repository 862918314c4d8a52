"""Steps of flows: adapters that go on, preferences, rollouts, branches of a run, random weights, and their keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compiler.keys import Keys
from compiler.passes.build import UnbuiltError
from compiler.passes.expand import expand
from compiler.plan import Plan
from compiler.stages import DPO, GRPO, SGD, Adafactor, AdamW, Adapter, Muon, PatternReward, PlugInReward, SumReward
from compiler.steps import Order, Pack, Read, Respond, Result, Tokenize, Train, Weights
from compiler.values import END, Measure, ModelPoint, Moment
from dsl.declarations import reward_plug_ins
from dsl.declarations.entry_points import Offer
from dsl.resolve import load

SPEC = """\
edition: 2026

model small:
  from: ./small

model scratch:
  architecture: {family: qwen3, vocabulary: 512, layers: 2, hidden: 32, intermediate: 64, heads: 4}
  tokenizer: ./small

model teacher:
  api: openai/gpt-5
  spend: 5 dollars

source chats:
  format: chat
  files: chats/*.jsonl

source pairs:
  format: preference
  files: pairs/*.jsonl

source asks:
  format: prompts
  files: asks/*.jsonl

reward polite:
  verify: "(?i)please"

reward kind:
  judge: teacher
  prompt: kind.md
  scale: 0..1

reward both:
  sum: {polite: 0.5, kind: 1}

train finetune:
  objective: supervised
  sequence: 256 tokens
  batch: 1 example
  optimizer: adamw(lr=1e-4)

train lora:
  extends: finetune
  adapter: lora(rank=8, alpha=16, on=[mlp, attention])

train prefer:
  objective: dpo(beta=0.2, loss=ipo)
  sequence: 256 tokens
  batch: 4 examples
  adapter: lora(rank=8, alpha=16, on=[attention, mlp])
  optimizer: adamw(lr=1e-4)

train reinforce:
  objective: grpo(group=4)
  reward: both
  rollout: sampling(max_tokens=64)
  sequence: 256 tokens
  batch: 8 prompts
  for: 1002 completions
  optimizer: adamw(lr=1e-6)

eval margin:
  choice: items.jsonl
  metric: mean(margin)

study one:
  base: small
  seeds: [0]
  arms:
    tuned: FLOW
  evals:
    margin: end
"""


def planned(folder: Path, flow: str, *edits: tuple[str, str], packed: dict[str, Any] | None = None) -> Plan:
    """The plan of a study with one arm, after changes of the text."""
    text = SPEC.replace("FLOW", flow)
    for before, after in edits:
        assert before in text
        text = text.replace(before, after)
    (folder / "study.mix").write_text(text)
    loaded = load(folder / "study.mix", root=folder)
    assert loaded.module is not None
    assert not loaded.diagnostics, loaded.diagnostics
    return expand("study.mix", loaded.module.root, loaded.module.studies(), [], packed or {})[0]


def trains(plan: Plan) -> list[tuple[str, Train]]:
    return list(plan.of(Train))


FACTS: dict[str, Any] = {
    "tokenizer": "t",
    "updates": 40,
    "tokens": 400,
    "trained_tokens": 200,
    "examples": 80,
    "cumulative_tokens": [10 * update for update in range(1, 41)],
    "cumulative_trained_tokens": [5 * update for update in range(1, 41)],
    "cumulative_examples": [2 * update for update in range(1, 41)],
}


def keys_of(plan: Plan, **changed: str) -> list[str]:
    """The keys of the train steps by content, of files whose content is their location, unless it is `changed`."""
    from compiler.keys import locations_of

    keys = Keys(plan)
    locations = {location for step in plan.steps.values() for location in locations_of(step)}
    files = {location: (changed.get(location.replace(".", "_"), location),) for location in locations}
    for key, step in plan.steps.items():
        if isinstance(step, Weights | Read | Tokenize | Order | Pack):
            content = f"content of {step.kind} {step.name} {getattr(step, 'seed', '')}"
            keys.found(key, Result(key="", content=content, facts=FACTS))
    found = [keys.of(key, files) for key, _ in trains(plan)]
    assert None not in found
    return [key for key in found if key is not None]


def test_an_adapter_goes_on_in_a_stage_with_the_same_settings(tmp_path: Path) -> None:
    plan = planned(tmp_path, "base |> finetune(data=chats) |> lora(data=chats) |> prefer(data=pairs)")
    (full, _), (first, lora), (_, prefer) = trains(plan)
    assert lora.adapter == Adapter(rank=8, alpha="16", dropout="0", on=("attention", "mlp"))
    assert (lora.model, lora.base) == (ModelPoint(step=full), None)
    assert prefer.adapter == lora.adapter
    assert (prefer.model, prefer.base) == (ModelPoint(step=first), ModelPoint(step=full))


@pytest.mark.parametrize(
    ("stage", "continues"),
    [
        ("lora(data=chats)", True),
        ("lora(data=chats, optimizer.lr=1e-3)", True),
        ("lora(data=chats, adapter.rank=4)", False),
        ("lora(data=chats, adapter.dropout=0.1)", False),
        ("finetune(data=chats)", False),
    ],
)
def test_other_settings_merge_it(tmp_path: Path, stage: str, continues: bool) -> None:
    (weights, _), *_ = planned(tmp_path, "base").of(Weights)
    (_, first), (_, second) = trains(planned(tmp_path, f"base |> lora(data=chats) |> {stage}"))
    assert first.base is None
    assert second.base == (ModelPoint(step=weights) if continues else None)


def test_preferences_are_pairs_with_the_input_as_reference(tmp_path: Path) -> None:
    plan = planned(tmp_path, "base |> finetune(data=chats) |> prefer(data=pairs)")
    (before, _), (_, prefer) = trains(plan)
    pack = plan.steps[prefer.pack]
    assert prefer.objective == DPO(beta="1/5", loss="ipo", reference=True)
    assert isinstance(pack, Pack)
    assert (pack.pairs, pack.longest, pack.width) == (True, 256, 512)
    reference = plan.steps[prefer.reference or ""]
    assert isinstance(reference, Respond)
    assert (reference.method, reference.model, reference.items) == ("pairs", ModelPoint(step=before), (pack.order,))


def test_without_a_reference_nothing_is_asked(tmp_path: Path) -> None:
    plan = planned(tmp_path, "base |> prefer(data=pairs, objective.reference=false)")
    assert trains(plan)[0][1].reference is None
    assert {step.method for _, step in plan.of(Respond)} == {"choice"}


def test_stages_with_other_betas_share_the_reference(tmp_path: Path) -> None:
    arms = ("    tuned:", "    other: base |> prefer(data=pairs, objective.beta=0.5)\n    tuned:")
    plan = planned(tmp_path, "base |> prefer(data=pairs)", arms)
    assert len({step.reference for _, step in trains(plan)}) == 1
    assert len(trains(plan)) == 2


def test_rollouts_leave_room_for_answers(tmp_path: Path) -> None:
    plan = planned(tmp_path, "base |> reinforce(data=asks)")
    ((_, step),) = trains(plan)
    pack = plan.steps[step.pack]
    assert isinstance(pack, Pack)
    order = plan.steps[pack.order]
    assert isinstance(order, Order)
    assert isinstance(step.objective, GRPO)
    assert (step.objective.epsilon_low, step.objective.epsilon_high) == ("1/5", "1/5")
    assert (pack.sequence, pack.longest) == (256, 192)
    assert order.length == Measure(count="251", unit="prompts")  # a group of answers is never parted
    assert isinstance(step.reward, SumReward)
    judge = next(term for _, term in step.reward.terms if term.kind == "judge")
    assert (judge.model.api, judge.prompt, judge.low, judge.high) == ("openai/gpt-5", "kind.md", "0", "1")


def test_a_judge_may_be_a_model_that_is_trained(tmp_path: Path) -> None:
    own = ("  api: openai/gpt-5\n  spend: 5 dollars\n", "  from: small |> finetune(data=chats)\n")
    plan = planned(tmp_path, "base |> reinforce(data=asks)", own)
    (judge, _), (_, step) = trains(plan)
    assert judge in step.inputs


def test_verify_is_a_plug_in_where_one_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer = Offer("exact", "mixc-exact", "1.2", "json:loads")
    monkeypatch.setattr("compiler.passes.rewards.reward_offers", lambda: {"exact": (offer,)})
    named = ('"(?i)please"', "exact")
    ((_, step),) = trains(planned(tmp_path, "base |> reinforce(data=asks, reward=polite)", named))
    assert isinstance(step.reward, PlugInReward)
    assert (step.reward.plug_in, step.reward.version) == ("exact", reward_plug_ins.version_of(offer))
    assert step.reward.version.startswith("1.2+")
    ((_, step),) = trains(planned(tmp_path, "base |> reinforce(data=asks, reward=polite)"))
    assert isinstance(step.reward, PatternReward)


@pytest.mark.parametrize(
    ("written", "built"),
    [
        ("adafactor(lr=1e-3)", Adafactor(lr="1/1000", decay="4/5", clip="1", weight_decay="0")),
        ("muon(lr=0.02)", Muon(lr="1/50", momentum="19/20", weight_decay="0", other_lr="1/50")),
        ("muon(lr=0.02, other_lr=1e-3)", Muon(lr="1/50", momentum="19/20", weight_decay="0", other_lr="1/1000")),
        ("sgd(lr=1, nesterov=true, momentum=0.5)", SGD(lr="1", momentum="1/2", nesterov=True, weight_decay="0")),
        ("adamw(lr=1)", AdamW(lr="1", b1="9/10", b2="999/1000", eps="1/100000000", weight_decay="0")),
    ],
)
def test_optimizers(tmp_path: Path, written: str, built: object) -> None:
    ((_, step),) = trains(planned(tmp_path, f"base |> finetune(data=chats, optimizer={written})"))
    assert step.optimizer == built


def test_groups_in_their_order(tmp_path: Path) -> None:
    lines = "  groups:\n    - output: frozen\n    - layers.*.scale: {lr: 10%, weight_decay: 0}\n    - '*': {lr: 50%}\n"
    edit = ("train lora:\n  extends: finetune\n", f"train lora:\n  extends: finetune\n{lines}")
    plan = planned(tmp_path, "base |> lora(data=chats, adapter=drop)", edit)
    ((_, step),) = trains(plan)
    found = [(group.paths, group.lr, group.weight_decay) for group in step.groups]
    assert found == [("output", "0", None), ("layers.*.scale", "1/10", "0"), ("*", "1/2", None)]
    turned = (lines, "\n".join([lines.split("\n")[0], *reversed(lines.strip("\n").split("\n")[1:]), ""]))
    assert keys_of(plan) != keys_of(planned(tmp_path, "base |> lora(data=chats, adapter=drop)", edit, turned))


def test_a_branch_is_a_prefix_of_the_same_run(tmp_path: Path) -> None:
    arms = "    whole: base |> finetune(data=chats)\n    tuned:"
    evals = ("margin: end", "margin: [start, every 25%]")
    flow = "base |> finetune(data=chats, until=50%) |> prefer(data=pairs)"
    plan = planned(tmp_path, flow, ("    tuned:", arms), evals)
    half = Moment(kind="fraction", value="1/2")
    (run, finetune), (_, prefer) = trains(plan)
    assert finetune.ends == (END, half)
    assert prefer.model == ModelPoint(step=run, at=half)
    (study,) = plan.studies
    ends = {(arm.name, stage.name): stage.end for arm in study.arms for stage in arm.stages}
    assert ends == {("whole", "finetune"): END, ("tuned", "finetune"): half, ("tuned", "prefer"): END}


def test_a_run_is_trained_no_further_than_somebody_wants(tmp_path: Path) -> None:
    flow = "base |> finetune(data=chats, until=30 steps)"
    ((_, step),) = trains(planned(tmp_path, flow))
    assert step.ends == (Moment(kind="quantity", value=Measure(count="30", unit="steps")),)
    assert keys_of(planned(tmp_path, flow)) == keys_of(planned(tmp_path, "base |> finetune(data=chats)"))


def test_percents_are_of_the_whole_run_and_the_branch_ends_it(tmp_path: Path) -> None:
    flow, every = "base |> finetune(data=chats, until=60%)", ("margin: end", "margin: every 25%")
    plan = planned(tmp_path, flow, every)
    (pack, _), *_ = plan.of(Pack)
    plan = planned(tmp_path, flow, every, packed={pack: FACTS})
    (report,) = (step for step in plan.steps.values() if step.kind == "report")
    points = [point for point in report.points if point.arm == "tuned"]
    assert [point.moment.value for point in points] == ["1/4", "1/2", None]
    assert [point.fires.value for point in points] == ["1/4", "1/2", "3/5"]


@pytest.mark.parametrize(
    ("length", "until", "moment"),
    [
        ("for=4 epochs, ", "1 epochs", Moment(kind="fraction", value="1/4")),
        ("", "0.5 epochs", Moment(kind="fraction", value="1/2")),
        ("for=200 steps, ", "100 steps", Moment(kind="quantity", value=Measure(count="100", unit="steps"))),
    ],
)
def test_where_a_branch_ends(tmp_path: Path, length: str, until: str, moment: Moment) -> None:
    ((_, step),) = trains(planned(tmp_path, f"base |> finetune(data=chats, {length}until={until})"))
    assert step.ends == (moment,)


def test_completions_of_a_branch_are_whole_groups(tmp_path: Path) -> None:
    ((_, step),) = trains(planned(tmp_path, "base |> reinforce(data=asks, until=401 completions)"))
    assert step.ends == (Moment(kind="quantity", value=Measure(count="101", unit="prompts")),)


def test_epochs_of_a_stage_that_has_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnbuiltError, match="a point in epochs of a stage whose length is in steps"):
        planned(tmp_path, "base |> finetune(data=chats, for=9 steps)", ("margin: end", "margin: every 1 epochs"))


def test_random_weights_follow_the_seed_and_their_tokenizer_does_not(tmp_path: Path) -> None:
    seeds = ("seeds: [0]", "seeds: [0, 1]")
    plan = planned(tmp_path, "scratch |> finetune(data=chats)", seeds)
    made = [step for _, step in plan.of(Weights) if step.architecture is not None]
    assert [step.seed for step in made] == [0, 1]
    assert made[0].architecture is not None
    assert made[0].architecture["query_key_norm"] == "head"
    assert {step.tokenizer for step in made} == {"small"}
    assert len(list(plan.of(Tokenize))) == 1
    assert len({step.model.step for _, step in trains(plan)}) == 2
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(("vary", "seeds"), [("[order]", [0]), ("[order, initialisation]", [0, 1])])
def test_random_weights_vary_where_the_study_says_so(tmp_path: Path, vary: str, seeds: list[int]) -> None:
    edit = ("seeds: [0]", f"seeds: [0, 1]\n  vary: {vary}")
    plan = planned(tmp_path, "scratch |> finetune(data=chats)", edit)
    assert [step.seed for _, step in plan.of(Weights) if step.architecture is not None] == seeds


def test_a_model_from_scratch_may_have_a_seed_of_its_own(tmp_path: Path) -> None:
    edits = (("  tokenizer: ./small", "  tokenizer: ./small\n  seed: 7"), ("seeds: [0]", "seeds: [0, 1]"))
    plan = planned(tmp_path, "scratch |> finetune(data=chats)", *edits)
    assert {step.model.step for _, step in trains(plan)} == {
        key for key, step in plan.of(Weights) if step.architecture is not None and step.seed == 7
    }


@pytest.mark.parametrize(
    ("flow", "vary", "seeds"),
    [
        ("base |> finetune(data=chats)", "[order, sampling, initialisation]", (0, 0)),
        ("base |> lora(data=chats)", "[order, sampling, initialisation]", (5, 0)),
        ("base |> lora(data=chats)", "[order, sampling]", (0, 0)),
        ("base |> reinforce(data=asks)", "[order, sampling, initialisation]", (0, 5)),
        ("base |> reinforce(data=asks)", "[order, initialisation]", (0, 0)),
    ],
)
def test_a_seed_stands_where_something_is_drawn_with_it(
    tmp_path: Path, flow: str, vary: str, seeds: tuple[int, int]
) -> None:
    plan = planned(tmp_path, flow, ("seeds: [0]", f"seeds: [5]\n  vary: {vary}"))
    ((_, step),) = trains(plan)
    assert (step.seed, step.sampling_seed) == seeds


def test_a_continued_adapter_without_dropout_draws_nothing(tmp_path: Path) -> None:
    plan = planned(tmp_path, "base |> lora(data=chats) |> lora(data=chats)", ("seeds: [0]", "seeds: [5]"))
    assert [step.seed for _, step in trains(plan)] == [5, 0]
    dropping = "base |> lora(data=chats, adapter.dropout=0.1) |> lora(data=chats, adapter.dropout=0.1)"
    assert [step.seed for _, step in trains(planned(tmp_path, dropping, ("seeds: [0]", "seeds: [5]")))] == [5, 5]


RL = "base |> reinforce(data=asks)"


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        (("spend: 5 dollars", "spend: 6 dollars"), True),
        (("reward both", "reward all_of_it"), True),
        (("{polite: 0.5, kind: 1}", "{kind: 1, polite: 0.5}"), True),
        (("  for: 1002 completions\n", "  for: 1002 completions\n  on_spike: stop\n"), True),
        (("  for: 1002 completions\n", "  for: 1002 completions\n  checkpoint: every 50%\n"), True),
        (("openai/gpt-5", "openai/gpt-6"), False),
        (("polite: 0.5", "polite: 0.6"), False),
        (("(?i)please", "(?i)pleased"), False),
        (("scale: 0..1", "scale: 0..2"), False),
        (("group=4", "group=8"), False),
        (("grpo(group=4)", "grpo(group=4, epsilon_high=0.3)"), False),
        (("grpo(group=4)", "grpo(group=4, epsilon_high=0.2)"), True),
        (("max_tokens=64", "max_tokens=65"), False),
    ],
)
def test_what_changes_the_key_of_rollouts(tmp_path: Path, edit: tuple[str, str], same: bool) -> None:
    renamed = (("reward: both", "reward: all_of_it"),) if edit[0] == "reward both" else ()
    before, after = keys_of(planned(tmp_path, RL)), keys_of(planned(tmp_path, RL, edit, *renamed))
    assert (before == after) is same


def test_the_content_of_a_rewards_prompt_counts_and_not_its_name(tmp_path: Path) -> None:
    plan = planned(tmp_path, RL)
    assert keys_of(plan) != keys_of(plan, kind_md="another text")
    moved = planned(tmp_path, RL, ("kind.md", "kinder.md"))
    assert keys_of(plan) == keys_of(moved, kinder_md="kind.md")


def test_a_point_counts_as_the_update_that_it_is(tmp_path: Path) -> None:
    half = keys_of(planned(tmp_path, "base |> finetune(data=chats, until=50%) |> prefer(data=pairs)"))
    steps = keys_of(planned(tmp_path, "base |> finetune(data=chats, until=20 steps) |> prefer(data=pairs)"))
    tokens = keys_of(planned(tmp_path, "base |> finetune(data=chats, until=195 tokens) |> prefer(data=pairs)"))
    whole = keys_of(planned(tmp_path, "base |> finetune(data=chats) |> prefer(data=pairs)"))
    assert half == steps == tokens
    assert half[0] == whole[0]
    assert half[1] != whole[1]


EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.mix")), ids=lambda path: path.stem)
def test_the_examples_can_be_planned(path: Path) -> None:
    loaded = load(path, root=EXAMPLES)
    assert loaded.module is not None
    plan, _ = expand(path.name, EXAMPLES, loaded.module.studies(), loaded.module.models(), {})
    kinds = {step.objective.kind for _, step in trains(plan)}
    assert kinds == {
        "common": set(),
        "persistence": {"supervised", "grpo"},
    }.get(path.stem, {"supervised"})
