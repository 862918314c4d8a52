"""Plans from text: what shares a step, what a key depends on, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.keys import Keys, description_key, update_at
from compiler.passes.build import UnbuiltError
from compiler.passes.expand import expand
from compiler.passes.figures import used_by
from compiler.plan import Plan
from compiler.steps import Distance, Order, Pack, Read, Report, Respond, Result, Tokenize, Train, Transform, Weights
from compiler.values import END, Measure, Moment
from dsl.resolve import load

SPEC = """\
edition: 2026

model small:
  from: ./small

source chats:
  format: chat
  files: chats/*.jsonl

source stories:
  format: documents
  files: stories/*.md

mix advice:
  budget: 8k tokens
  parts:
    chats: 100%

mix character:
  budget: 8k tokens
  parts:
    stories: 100%

train documents:
  objective: supervised
  loss: all
  sequence: 256 tokens
  packing: best_fit
  batch: 256 tokens
  optimizer: adamw(lr=1e-4)

train finetune:
  objective: supervised
  loss: assistant
  sequence: 256 tokens
  batch: 1 example
  optimizer: adamw(lr=1e-4)

eval margin:
  choice: pairs.jsonl
  metric: mean(margin)

study both:
  base: small
  seeds: [0]
  arms:
    advice: base |> finetune(data=advice)
    character: base |> documents(data=character) |> finetune(data=advice)
    steep: base |> documents(data=character) |> finetune(data=advice, optimizer.lr=1e-3)
  evals:
    margin: [start, 50% of documents, every 50%]
"""


AFTER_DATA = {"train", "respond", "score", "report"}


MATRIX = (
    SPEC[: SPEC.index("study both:")]
    + """\
study both:
  base: small
  seeds: [0, 1]
  matrix:
    - before:
        none: none
        stories: documents(data=character)
    - after:
        none: none
        advice: finetune(data=advice)
  match: tokens(of=before, within=1%)
  evals: [margin]
"""
)


def planned(folder: Path, text: str = SPEC, packed: dict[str, dict[str, object]] | None = None) -> Plan:
    file = folder / "study.mix"
    file.write_text(text)
    loaded = load(file, root=folder)
    assert loaded.module is not None, loaded.diagnostics
    return expand("study.mix", loaded.module.root, loaded.module.studies(), [], packed or {})[0]


def description_keys(plan: Plan) -> dict[str, str]:
    return {f"{step.kind} {key}": key for key, step in plan.steps.items()}


def test_arms_that_begin_alike_share_the_stage(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    trains = dict(plan.of(Train))
    assert [step.name for step in trains.values()] == ["finetune", "documents", "finetune", "finetune"]
    shared = next(key for key, step in trains.items() if step.name == "documents")
    assert list(used_by(plan, shared)) == ["both/character/documents", "both/steep/documents"]


def test_arms_with_the_same_data_see_the_same_order(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    assert len({step.pack for _, step in plan.of(Train) if step.name == "finetune"}) == 1


def test_every_step_follows_its_inputs(tmp_path: Path) -> None:
    seen: set[str] = set()
    for key, step in planned(tmp_path).steps.items():
        assert seen.issuperset(step.inputs)
        seen.add(key)


def test_the_input_of_a_stage_is_the_end_of_the_one_before(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    (study,) = plan.studies
    report = plan.steps[study.report]
    assert report.kind == "report"
    scores = {(point.arm, point.stage, str(point.moment.value)): point.score for point in report.points}
    assert scores["base", None, "None"] == scores["advice", "finetune", "0"]
    assert scores["character", "finetune", "0"] == scores["steep", "finetune", "0"]


def test_a_matrix_gives_an_arm_for_each_combination(tmp_path: Path) -> None:
    (study,) = planned(tmp_path, MATRIX).studies
    stages = {(arm.name, arm.seed): [(stage.name, stage.factor) for stage in arm.stages] for arm in study.arms}
    assert stages == {
        ("base", None): [],
        ("none.none", None): [],
        **{("none.advice", seed): [("finetune", "after")] for seed in (0, 1)},
        **{("stories.none", seed): [("documents", "before")] for seed in (0, 1)},
        **{("stories.advice", seed): [("documents", "before"), ("finetune", "after")] for seed in (0, 1)},
    }


def test_a_model_with_a_flow_and_a_derived_source_can_be_planned(tmp_path: Path) -> None:
    text = SPEC[: SPEC.index("study both:")].replace(
        "mix advice:",
        "source kept:\n  from: chats.holdout\n  apply:\n    - take(5 examples)\n\nmix advice:",
    )
    text = text.replace("  files: chats/*.jsonl\n", "  files: chats/*.jsonl\n  holdout: 10%\n")
    text += "model grown:\n  from: small |> finetune(data=kept)\n"
    file = tmp_path / "study.mix"
    file.write_text(text)
    module = load(file, root=tmp_path).module
    assert module is not None
    plan, _ = expand("study.mix", module.root, [], module.models(), {})
    operations = [step.operation.do for _, step in plan.of(Transform)]
    assert operations == ["holdout", "take"]
    (model,) = plan.models
    assert [stage.name for stage in model.stages] == ["finetune"]


def test_a_plan_survives_json(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    again = Plan.model_validate_json(plan.model_dump_json())
    assert again == plan
    assert all(description_key(step) == key for key, step in again.steps.items())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("study both:\n", "study both:\n  question: Why?\n"),
        ("source chats:\n", "source chats:\n  doc: Of all kinds.\n"),
        ("train finetune:\n", "train finetune:\n  checkpoint: every 25%\n"),
        ("  seeds: [0]\n", ""),
        ("  loss: assistant\n  sequence: 256 tokens\n", "  sequence: 256 tokens\n  loss: assistant\n"),
    ],
)
def test_remarks_retention_and_order_of_keys_change_no_key(tmp_path: Path, before: str, after: str) -> None:
    assert before in SPEC
    unchanged = description_keys(planned(tmp_path))
    assert description_keys(planned(tmp_path, SPEC.replace(before, after))) == unchanged


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ("lr=1e-3", "lr=2e-3", AFTER_DATA),
        ("seeds: [0]", "seeds: [1]", {"order", "pack", *AFTER_DATA}),
        ("every 50%", "every 25%", {"respond", "score", "report"}),
        ("metric: mean(margin)", "metric: rate(aligned)", {"score", "report"}),
        ("chats/*.jsonl", "talks/*.jsonl", {"read", "tokenize", "survey", "order", "pack", *AFTER_DATA}),
    ],
)
def test_a_change_reruns_what_depends_on_it(tmp_path: Path, before: str, after: str, kinds: set[str]) -> None:
    assert before in SPEC
    unchanged = planned(tmp_path).steps
    changed = planned(tmp_path, SPEC.replace(before, after)).steps
    assert {step.kind for key, step in changed.items() if key not in unchanged} == kinds


def test_parts_of_a_mix_have_no_order(tmp_path: Path) -> None:
    two = SPEC.replace("    stories: 100%\n", "    stories: 60%\n    tales: 40%\n").replace(
        "mix advice:", "source tales:\n  format: documents\n  files: tales/*.md\n\nmix advice:"
    )
    turned = two.replace("    stories: 60%\n    tales: 40%\n", "    tales: 40%\n    stories: 60%\n")
    assert turned != two
    orders = [dict(planned(tmp_path, text).of(Order)).keys() for text in (two, turned)]
    assert orders[0] == orders[1]


def test_what_cannot_run_yet_is_refused_with_its_place(tmp_path: Path) -> None:
    text = SPEC.replace("every 50%", "1 epoch").replace("train finetune:", "train finetune:\n  for: 30 steps")
    assert text.count("1 epoch") == text.count("for: 30 steps") == 1
    with pytest.raises(UnbuiltError) as refused:
        planned(tmp_path, text)
    finetune = text.index("train finetune:")
    line = 1 + text[: text.index("  sequence:", finetune)].count("\n")
    assert str(refused.value.place).split(":")[1] == str(line)


def test_distances_are_measured_once_whatever_the_seeds_and_whoever_trains_on_it(tmp_path: Path) -> None:
    text = SPEC.replace("seeds: [0]", "seeds: [0, 1]")
    plan = planned(tmp_path, f"{text}  distance: embedding(to=margin)\n")
    report = next(step for _, step in plan.of(Report))
    assert report.distances.keys() == {"advice", "character", "steep"}
    assert report.distances["steep"] == report.distances["character"]  # they train on the same
    assert report.distance_to == "margin"
    measured = dict(plan.of(Distance))
    assert set(report.distances.values()) == set(measured) <= set(report.inputs)
    advice, character = (measured[report.distances[arm]] for arm in ("advice", "character"))
    assert advice.trained == character.trained[1:]  # of the stage that they share, with the first seed
    assert advice.items == character.items
    before = description_keys(planned(tmp_path, text)).keys()
    assert before - description_keys(plan).keys() == {f"report {planned(tmp_path, text).studies[0].report}"}


def test_every_so_many_steps_waits_for_the_data(tmp_path: Path) -> None:
    text = SPEC.replace("every 50%", "every 10 steps")
    before = planned(tmp_path, text)
    packs = [key for key, _ in before.of(Pack)]
    after = planned(tmp_path, text, {key: {"updates": 25, "tokens": 100} for key in packs})
    moments = {step.model.at.value.count for _, step in after.of(Respond) if isinstance(step.model.at.value, Measure)}
    assert moments == {"10", "20"}
    assert not any(isinstance(step.model.at.value, Measure) for _, step in before.of(Respond))


@pytest.mark.parametrize(
    ("moment", "update"),
    [
        (Moment(kind="fraction", value="1/2"), 3),
        (Moment(kind="fraction", value="0"), 0),
        (Moment(kind="end"), 5),
        (Moment(kind="quantity", value=Measure(count="2", unit="steps")), 2),
        (Moment(kind="quantity", value=Measure(count="20", unit="tokens")), 2),
        (Moment(kind="quantity", value=Measure(count="21", unit="tokens")), 3),
        (Moment(kind="quantity", value=Measure(count="1000", unit="tokens")), 5),
    ],
)
def test_a_moment_fires_at_the_first_update_at_or_past_it(moment: Moment, update: int) -> None:
    facts = {"updates": 5, "tokens": 50, "cumulative_tokens": [10, 20, 30, 40, 50]}
    assert update_at(moment, facts) == update


class Known:
    """Keys of a plan of which some data is known."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.keys = Keys(plan)
        locations = [location for _, step in plan.of(Read) for location in step.files]
        locations += [step.location for _, step in plan.of(Weights)]
        self.files = {location: (f"hash of {location}",) for location in locations}
        for key, step in plan.steps.items():
            if isinstance(step, Read | Weights | Tokenize | Order | Pack):
                facts = {"tokenizer": "t", "updates": 20}
                self.keys.found(key, Result(key="", content=f"content of {step.kind} {step.name}", facts=facts))

    def of(self, kind: type, name: str) -> set[str | None]:
        return {self.keys.of(key, self.files) for key, step in self.plan.of(kind) if step.name == name}


def test_keys_are_unknown_until_the_data_is(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    assert {Keys(plan).of(key, {}) for key in plan.steps} == {None}
    known = Known(plan)
    assert None not in {known.keys.of(key, known.files) for key in plan.steps}


def test_a_renamed_file_changes_no_key_and_a_changed_one_does(tmp_path: Path) -> None:
    known, moved = Known(planned(tmp_path)), Known(planned(tmp_path, SPEC.replace("chats/*", "talks/*")))
    moved.files["talks/*.jsonl"] = known.files["chats/*.jsonl"]
    assert moved.of(Read, "chats") == known.of(Read, "chats")
    assert moved.of(Train, "finetune") == known.of(Train, "finetune")
    other = Known(planned(tmp_path))
    other.files["chats/*.jsonl"] = ("another hash",)
    assert other.of(Read, "chats") != known.of(Read, "chats")


def test_what_came_out_of_data_counts_not_how_it_was_made(tmp_path: Path) -> None:
    known, split = Known(planned(tmp_path)), Known(planned(tmp_path))
    split.files["chats/*.jsonl"] = ("first half", "second half")
    assert split.of(Read, "chats") != known.of(Read, "chats")
    assert split.of(Tokenize, "chats") == known.of(Tokenize, "chats")
    assert split.of(Train, "finetune") == known.of(Train, "finetune")


@pytest.mark.parametrize("name", ["shared.documents", "documents"])
def test_a_point_of_a_stage_of_an_import_is_planned_by_either_name(tmp_path: Path, name: str) -> None:
    shared = SPEC.partition("study both:")[0]
    (tmp_path / "shared.mix").write_text(shared)
    text = f"""\
edition: 2026

import:
  shared: shared.mix

study both:
  base: shared.small
  arms:
    character: base |> shared.documents(data=shared.character) |> shared.finetune(data=shared.advice)
  evals:
    shared.margin: end of {name}
"""
    reports = [step for step in planned(tmp_path, text).steps.values() if isinstance(step, Report)]
    points = [point for report in reports for point in report.points if point.arm == "character"]
    assert [(point.stage, point.moment) for point in points] == [("documents", END)]
