"""A study from spec to report, through the command line, on a tiny random model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.project import SPEC, make_project, mixc


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose study has been run."""
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    done = mixc(folder, "run", "study.mix")
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)
    return folder


def test_the_table_names_every_arm_and_the_claims(ran: Path) -> None:
    table = (ran / "stdout.txt").read_text()
    for word in ("base", "advice", "character", "margin", "story_loss", "report.html", "margin(advice) > margin(base)"):
        assert word in table
    assert "\x1b[" not in table  # it was piped


def test_a_second_run_does_nothing_and_shows_the_same(ran: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (ran / "runs" / "steps").rglob("*") if path.is_file()}
    again = mixc(ran, "run", "study.mix")
    assert again.returncode == 0
    assert again.stdout == (ran / "stdout.txt").read_text()
    assert "train" not in again.stderr
    after = {path: path.stat().st_mtime_ns for path in (ran / "runs" / "steps").rglob("*") if path.is_file()}
    assert after == before


def test_results_have_the_shape_that_other_tools_rely_on(ran: Path) -> None:
    results = json.loads((ran / "runs" / "studies" / "both" / "results.json").read_text())
    assert results.keys() >= {"study", "arms", "differences", "claims"}
    assert results["complete"] is True
    assert results["arms"].keys() == {"base", "advice", "character"}
    (base,) = results["arms"]["base"]["margin"]
    assert base.keys() == {
        "metric", "stage", "seed", "step", "tokens", "value", "low", "high", "level", "n", "unreadable",
    }  # fmt: skip
    assert (base["step"], base["tokens"], base["n"] + base["unreadable"]) == (0, 0, 6)
    plan = json.loads(mixc(ran, "plan", "study.mix", "--json").stdout)
    (updates,) = [train["updates"] for train in plan["trains"] if train["name"] == "documents"]
    pooled = [point for point in results["arms"]["character"]["margin"] if point["seed"] is None]
    assert [(point["stage"], point["step"]) for point in pooled] == [
        ("documents", -(-updates // 2)), ("finetune", 0), ("finetune", 12), ("finetune", 24),
    ]  # fmt: skip
    assert [claim["claim"] for claim in results["claims"]] == ["margin(advice) > margin(base)"]
    assert results["claims"][0]["outcome"] in ("held", "failed", "undecided")


def test_a_report_is_written_in_every_format(ran: Path) -> None:
    beside = {path.name for path in (ran / "runs" / "studies" / "both").iterdir()}
    assert beside == {"plan.json", "measured.json", "report.html", "results.json", "results.csv", "summary.md"}
    for format, begins in (("csv", "study,arm,eval"), ("markdown", "## both"), ("html", "<!doctype html>")):
        done = mixc(ran, "report", "both", "--format", format, "-o", f"told.{format}")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert (ran / f"told.{format}").read_text().startswith(begins)
    page = (ran / "told.html").read_text()
    for said in ("Rows before and after, with the mask", "chats.jsonl", "Dose of each arm", "transcript-data"):
        assert said in page
    done = mixc(ran, "report", "both", "--transcripts", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["arm"] for row in rows} == {"base", "advice", "character"}
    assert {row["eval"] for row in rows} == {"margin"}


def test_a_study_that_is_complete_is_watched_once(ran: Path) -> None:
    done = mixc(ran, "watch", "both", "--no-browser")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ran / "stdout.txt").read_text()
    missing = mixc(ran, "watch", "bath", "--no-browser")
    assert missing.returncode == 1
    assert "did you mean 'both'?" in missing.stderr


def test_plan_json_has_the_shape_that_other_tools_rely_on(ran: Path) -> None:
    done = mixc(ran, "plan", "study.mix", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert {"spec", "steps", "sources", "mixes", "trains"} <= plan.keys()
    assert all(step["done"] and len(step["key"]) == 64 for step in plan["steps"])
    (advice,) = [train for train in plan["trains"] if train["used_by"] == ["both/advice/finetune"]]
    assert advice["updates"] == 24
    (mix,) = [mix for mix in plan["mixes"] if mix["name"] == "character"]
    part = mix["parts"]["stories"]
    assert part.keys() >= {"available_tokens", "used_tokens", "used_examples", "epochs", "share"}
    assert abs(part["used_tokens"] - 6000) <= 400


def test_weights_for_evaluations_alone_do_not_stay(ran: Path) -> None:
    plan = json.loads(mixc(ran, "plan", "study.mix", "--json").stdout)
    for train in plan["trains"]:
        folder = ran / "runs" / "steps" / train["key"]
        kept = sorted(int(path.name) for path in (folder / "weights").iterdir())
        updates = train["updates"]
        period = 4 if train["name"] == "documents" else 5
        assert kept == sorted({-(-updates * number // period) for number in range(1, period + 1)})
        assert not list((folder / "state").glob("*"))


def test_a_point_added_later_trains_again_to_it_with_the_same_result(ran: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(ran, folder)
    (folder / "study.mix").write_text(SPEC.replace("every 50%]", "every 50%, 37%]"))
    done = mixc(folder, "run", "study.mix", "--json")
    assert done.returncode == 0, done.stderr
    assert "again" in done.stderr
    results, before = json.loads(done.stdout), json.loads((ran / "runs/studies/both/results.json").read_text())
    points = results["arms"]["advice"]["margin"]
    assert [point["step"] for point in points if point["seed"] == 0] == [0, 12, 24, 9] or sorted(
        point["step"] for point in points if point["seed"] == 0
    ) == [0, 9, 12, 24]
    ends = [
        next(point["value"] for point in each["arms"]["advice"]["margin"] if point["step"] == 24)
        for each in (results, before)
    ]
    assert ends[0] == ends[1]


def test_a_changed_learning_rate_reruns_one_arm_only(ran: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(ran, folder)
    changed = SPEC.replace(
        "character: base |> documents(data=character)",
        "character: base |> documents(data=character, optimizer.lr=2e-3)",
    )
    assert changed != SPEC
    (folder / "study.mix").write_text(changed)
    plan = json.loads(mixc(folder, "plan", "study.mix", "--json").stdout)
    done = {
        use: step["done"]
        for train in plan["trains"]
        for use in train["used_by"]
        for step in plan["steps"]
        if step["key"] == train["key"]
    }
    assert done == {"both/advice/finetune": True, "both/character/documents": False, "both/character/finetune": False}


def test_arms_that_begin_alike_train_the_stage_once(tmp_path: Path) -> None:
    spec = SPEC.replace(
        "    advice: base |> finetune(data=advice)\n",
        "    advice: base |> documents(data=character) |> finetune(data=advice, optimizer.lr=1e-4)\n",
    )
    make_project(tmp_path, spec)
    done = mixc(tmp_path, "run", "study.mix")
    assert done.returncode == 0, done.stderr
    assert sum("train documents" in line for line in done.stderr.splitlines()) == 1
    assert sum("train finetune" in line for line in done.stderr.splitlines()) == 2
