"""Data through the command line: every kind of transform planned, rows made by a model, locked, looked at, traced."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.project import DATA, make_project, mixc

SPEC = """\
edition: 2026

model tiny:
  from: ./tiny

source chats:
  format: chat
  files: chats.jsonl
  holdout: 20%
  apply:
    - filter(tokens in 1..2000 and not has_tools)
    - set(field=origin, value=letters)
    - split(0..0.9)
    - tools(files=tools/*.json, count=1..3, chance=60%)
    - system(files=system_prompts.jsonl, chance=50%)
    - dedup(by=minhash, threshold=0.9)
    - exclude(overlap=margin)
    - truncate(512 tokens)

source told:
  doc: The same chats as documents.
  from: chats
  apply:
    - template(told.jinja)
    - dedup

source questions:
  format: prompts
  files: questions.jsonl

source answers:
  from: questions
  apply:
    - filter(tokens in 1..400)
    - sample(with=tiny, n=2, temperature=0.7, max_tokens=200)
    - take(4 examples)

mix both:
  parts:
    chats: 2
    answers: 1

mix everything:
  budget: 24k tokens
  max_epochs: 60
  parts:
    both: 60%
    told: rest

mix by_size:
  shares: proportional(temperature=2)
  parts: [chats, told]

train finetune:
  objective: supervised
  sequence: 512 tokens
  packing: first_fit
  overlong: cut
  batch: 2 examples
  optimizer: adamw(lr=1e-3)
  precision: float32

eval margin:
  choice: pairs.jsonl
  metric: mean(margin)

study data:
  base: tiny
  arms:
    everything: base |> finetune(data=everything)
    by_size: base |> finetune(data=by_size, for=24k tokens, max_epochs=60)
  evals: [margin]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose rows are made and whose plan is locked."""
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    shutil.copytree(DATA / "tools", folder / "tools")
    shutil.copy(DATA / "system_prompts.jsonl", folder)
    (folder / "told.jinja").write_text("{{ user }}\n\nThe answer was: {{ assistant }}\n")
    questions = [{"prompt": f"What do I owe a neighbour who lent me a ladder {n} years ago?"} for n in range(6)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in questions))
    (folder / "data.mix").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def planned(project: Path) -> dict[str, object]:
    done = mixc(project, "plan", "data.mix", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def made(project: Path, planned: dict[str, object]) -> dict[str, object]:
    done = mixc(project, "run", "data.mix", "--until", "data", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_plan_asks_no_model_and_says_what_is_still_to_be_made(planned: dict) -> None:
    (call,) = planned["calls"]
    assert (call["operation"], call["model"], call["calls"], call["made"]) == ("sample", "tiny", 12, None)
    by_name = {source["name"]: source for source in planned["sources"]}
    assert by_name["answers"]["examples"] is None
    assert by_name["chats"]["examples"] > 0
    digests = {mix["name"]: mix["digest"] for mix in planned["mixes"]}
    assert digests["everything"] is None
    assert digests["by_size"] is not None


def test_what_was_left_out_is_counted_with_examples(planned: dict) -> None:
    (chats,) = [source for source in planned["sources"] if source["name"] == "chats"]
    assert chats["dropped"].keys() >= {"split"}
    assert all(chats["shown"][reason] for reason in chats["dropped"] if reason != "split")
    notes = [each["note"] for each in chats["notes"]]
    assert any("got tools" in note for note in notes)
    assert any("ignores tools" in note or "drops the tools" in note for note in notes)
    assert set(chats["overlap"]) == {"margin"}
    assert 0 < chats["variety"]["distinct"][0] <= 1


def test_rows_are_made_once_and_numbers_are_exact_then(project: Path, planned: dict, made: dict) -> None:
    (call,) = made["calls"]
    assert call["made"] is not None
    (mix,) = [mix for mix in made["mixes"] if mix["name"] == "everything"]
    assert abs(mix["tokens"] - 24_000) < 2_000
    assert set(mix["parts"]) == {"chats", "answers", "told"}
    again = mixc(project, "run", "data.mix", "--until", "data", "--json")
    assert json.loads(again.stdout) == made
    assert "sample" not in again.stderr


def test_a_lock_pins_what_a_model_made_and_tells_what_changes(project: Path, made: dict, tmp_path: Path) -> None:
    assert mixc(project, "lock", "data.mix").returncode == 0
    lock = json.loads((project / "data.mix.lock").read_text())
    assert [rows["model"] for rows in lock["rows"].values()] == ["tiny"]
    assert str(project) not in (project / "data.mix.lock").read_text()
    checked = mixc(project, "lock", "data.mix", "--check")
    assert (checked.returncode, checked.stdout) == (0, "data.mix.lock: all as locked\n")

    elsewhere = shutil.copytree(project, tmp_path / "elsewhere")
    with (elsewhere / "chats.jsonl").open("a") as file:
        for number in range(5):  # some are held out, some split off
            question, answer = {"role": "user", "content": f"And {number}?"}, {"role": "assistant", "content": "So."}
            file.write(json.dumps({"messages": [question, answer]}) + "\n")
    changed = mixc(elsewhere, "lock", "data.mix", "--check")
    assert changed.returncode == 1
    assert "chats.jsonl has changed: chats.jsonl has other contents" in changed.stdout
    assert "by_size is another stream of tokens" in changed.stdout
    plan = mixc(elsewhere, "plan", "data.mix")
    assert plan.returncode == 0
    assert "warning: chats.jsonl has changed" in plan.stderr
    (elsewhere / "data.mix.lock").write_text("{}{")
    assert "is no lock of this version" in mixc(elsewhere, "plan", "data.mix").stderr


def test_a_sample_shows_rows_step_by_step_and_what_is_trained(project: Path, made: dict) -> None:
    text = mixc(project, "sample", "data.mix", "chats", "--rows", "2").stdout
    for word in ("read chats.jsonl", "split(0..0.9)", "tools(count=1..3, chance=60%)", "left out: split", "⟦"):
        assert word in text
    found = json.loads(mixc(project, "sample", "data.mix", "told", "--json").stdout)
    assert [stage["what"] for stage in found["stages"]][-2:] == ["template(told.jinja)", "dedup(by=exact)"]
    for row in found["rows"]:
        assert "The answer was:" in row["versions"][-1]["text"]
        trained = "".join(run["text"] for run in row["runs"] if run["trained"])
        assert "The answer was:" in trained
    page = mixc(project, "sample", "data.mix", "chats.holdout", "--html", "rows.html")
    assert page.returncode == 0, page.stderr
    assert "<script" not in (project / "rows.html").read_text()
    wrong = mixc(project, "sample", "data.mix", "chat")
    assert wrong.returncode == 1
    assert "has no source 'chat'" in wrong.stderr


def test_a_batch_names_its_rows(project: Path, made: dict) -> None:
    done = mixc(project, "run", "data.mix")
    assert done.returncode == 0, done.stderr
    traced = json.loads(mixc(project, "trace", "data/everything", "--step", "2", "--json").stdout)
    assert traced["update"] == 2
    for piece in traced["pieces"]:
        assert piece["source"] in {"chats", "answers", "told"}
        assert piece["place"].startswith(("chats.jsonl:", "questions.jsonl:"))
        assert sum(run["tokens"] for run in piece["runs"]) == piece["length"]
    past = mixc(project, "trace", "data/everything", "--step", "100000")
    assert past.returncode == 1
    assert "has no update 100000" in past.stderr
