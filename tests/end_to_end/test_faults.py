"""What goes wrong around a run: signals, kills, broken data, a full disk. Nothing is lost, nothing is a traceback."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.project import SPEC, command, environment, make_project, mixc

SHORT = (
    SPEC.replace("character: base |>", "only: base |>")
    .replace("    advice: base |> finetune(data=advice)\n", "")
    .replace(" |> finetune(data=advice)\n", "\n")
    .replace("margin(advice)", "margin(only)")
)
"""One arm, one stage."""
for unused in ("source chats", "mix advice", "train finetune"):
    start = SHORT.index(f"{unused}:")
    SHORT = SHORT[:start] + SHORT[SHORT.index("\n\n", start) + 2 :]


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("run", "study.mix"),
        cwd=folder,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Reads standard error until a line holds `text`."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"never said {text!r}: {seen}")


def exported(folder: Path, arm: str) -> dict[str, np.ndarray]:
    """The final weights of an arm."""
    from safetensors.numpy import load_file

    done = mixc(folder, "export", f"both/{arm}", "--to", f"out-{arm}")
    assert done.returncode == 0, done.stderr
    return load_file(folder / f"out-{arm}" / "model.safetensors")


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_a_signal_stops_cleanly_and_the_same_command_goes_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    make_project(tmp_path, SHORT)
    process = start(tmp_path)
    wait_for(process, "train documents")
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert process.returncode == code
    assert "Traceback" not in error
    assert "To go on: mixc run study.mix" in error
    done = mixc(tmp_path, "run", "study.mix")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_ten_kills_anywhere_change_no_bit(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        make_project(folder)
    began = time.monotonic()
    assert mixc(whole, "run", "study.mix").returncode == 0
    seconds = time.monotonic() - began
    moments = random.Random(20261124)
    for _ in range(10):
        process = start(killed)
        time.sleep(moments.uniform(0.05, 0.6) * seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    done = mixc(killed, "run", "study.mix")
    assert done.returncode == 0, done.stderr
    for arm in ("advice", "character"):
        expected, got = exported(whole, arm), exported(killed, arm)
        assert expected.keys() == got.keys()
        assert all(np.array_equal(expected[name], got[name]) for name in expected)
    results = [(folder / "runs/studies/both/results.json").read_text() for folder in (whole, killed)]
    assert results[0] == results[1]


def test_a_broken_line_stops_the_plan_with_its_place(tmp_path: Path) -> None:
    make_project(tmp_path)
    with (tmp_path / "chats.jsonl").open("a") as file:
        file.write('{"messages": [\n')
    done = mixc(tmp_path, "run", "study.mix")
    assert done.returncode == 1
    assert "chats.jsonl:31" in done.stderr
    assert "help:" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_broken_line_in_many_is_set_aside_and_counted(tmp_path: Path) -> None:
    make_project(tmp_path, SPEC)
    lines = (tmp_path / "chats.jsonl").read_text().splitlines()
    many = []
    for number in range(5):
        for line in lines:
            chat = json.loads(line)
            chat["messages"][0]["content"] += f" ({number})"
            many.append(json.dumps(chat))
    (tmp_path / "chats.jsonl").write_text("\n".join([*many, "{broken"]) + "\n")
    done = mixc(tmp_path, "plan", "study.mix", "--json")
    assert done.returncode == 0, done.stderr
    (source,) = [source for source in json.loads(done.stdout)["sources"] if source["name"] == "chats"]
    assert (source["examples"], sum(source["dropped"].values())) == (150, 1)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("files: chats.jsonl", "files: chat.jsonl", "chat.jsonl"),
        ("choice: pairs.jsonl", "choice: pair.jsonl", "pair.jsonl"),
        ("from: ./tiny", "from: ./tinny", "tinny"),
        ("budget: 24 examples", "budget: 240 examples", "has"),
        ("budget: 24 examples", "budget: 3k tokens", "fewer than 20"),
        ("sequence: 512 tokens", "sequence: 4096 tokens", "512"),
        (
            "sequence: 256 tokens\n  packing: best_fit\n  batch: 256 tokens",
            "sequence: 250 tokens\n  packing: best_fit\n  batch: 256 tokens",
            "no whole number of rows of 250",
        ),
        ("format: chat", "format: preference", "preference"),
        ("every 50%]", "every 0%]", "never comes"),
        ("every 50%]", "150%]", "100%"),
        ("every 50%]", "every 0.001%]", "0.1%"),
        ("batch: 1 example\n", "batch: 0 examples\n", "more than 0"),
        ("budget: 24 examples", "budget: 99999999999999999999T tokens", "1000T"),
        ("    chats: 100%", "    chats: 0", "more than 0"),
        ("  base: tiny\n", "  base: tiny\n  seeds: []\n", "lists nothing"),
    ],
)
def test_what_a_plan_finds_wrong_has_a_place_and_a_mend(tmp_path: Path, before: str, after: str, told: str) -> None:
    assert before in SPEC
    make_project(tmp_path, SPEC.replace(before, after, 1))
    done = mixc(tmp_path, "plan", "study.mix")
    assert done.returncode == 1
    assert told in done.stderr
    assert "study.mix:" in done.stderr
    assert "help:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for data and little else."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"can't mount a small file system: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_said_and_the_run_goes_on_with_room(tmp_path: Path, small_disk: Path) -> None:
    make_project(tmp_path, SHORT)
    done = mixc(tmp_path, "run", "study.mix", "--store", str(small_disk))
    assert done.returncode == 1
    assert "disk is full" in done.stderr
    assert str(small_disk) in done.stderr
    assert "Traceback" not in done.stderr
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    done = mixc(tmp_path, "run", "study.mix", "--store", str(small_disk))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n"])
def test_a_file_without_declarations_is_no_crash(tmp_path: Path, text: str) -> None:
    (tmp_path / "empty.mix").write_text(text)
    done = mixc(tmp_path, "check", "empty.mix")
    assert "Traceback" not in done.stderr + done.stdout


def test_a_store_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    make_project(tmp_path)
    done = mixc(tmp_path, "plan", "study.mix", "--store", "/proc/nope")
    assert done.returncode == 1
    assert "--store" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_lost_or_changed_in_the_store_is_made_again(tmp_path: Path) -> None:
    make_project(tmp_path, SHORT)
    first = mixc(tmp_path, "run", "study.mix", "--json")
    assert first.returncode == 0, first.stderr
    (weights,) = (tmp_path / "runs" / "steps").glob("*/weights")
    last = max(weights.iterdir(), key=lambda path: int(path.name))
    shutil.rmtree(last)
    for path in (tmp_path / "runs" / "steps").glob("*/scores.json"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    again = mixc(tmp_path, "run", "study.mix", "--json")
    assert again.returncode == 0, again.stderr
    assert "again" in again.stderr
    assert again.stdout == first.stdout
    assert last.is_dir()
