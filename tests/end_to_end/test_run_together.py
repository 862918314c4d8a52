"""`mixc run` in two processes over one store: the first walks the plan, both train, and what comes out is the same."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest

from runtime.train import telemetry
from tests.end_to_end.project import command, environment, make_project, mixc

RUN = ("run", "study.mix")


def start_two(folder: Path) -> list[subprocess.Popen[str]]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    told = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    return [
        subprocess.Popen(
            command(*RUN),
            cwd=folder,
            env=environment() | told | {"JAX_PROCESS_ID": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    try:
        return [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.slow
def test_two_processes_run_a_study_are_stopped_and_go_on(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        folder.mkdir()
        make_project(folder)
    assert mixc(alone, *RUN).returncode == 0

    processes = start_two(together)
    log = processes[0].stderr
    assert log is not None
    for line in log:
        if "train documents" in line:
            break
    processes[1].send_signal(signal.SIGTERM)
    said = ended(processes)
    assert [process.returncode for process in processes] == [143, 143], said
    assert all("stopped; what is done is kept" in errors for _, errors in said)

    processes = start_two(together)
    (out, errors), (other_out, _) = ended(processes)
    assert [process.returncode for process in processes] == [0, 0], errors
    assert "held" in out or "failed" in out or "undecided" in out
    assert other_out == ""
    results = [json.loads((each / "runs/studies/both/results.json").read_text()) for each in (alone, together)]
    assert results[0]["arms"].keys() == results[1]["arms"].keys()
    for name, evals in results[0]["arms"].items():
        for each, points in evals.items():
            values = [[point["value"] for point in points], [p["value"] for p in results[1]["arms"][name][each]]]
            np.testing.assert_allclose(*values, rtol=0.02, atol=1e-3)
    for found in (alone / "runs/steps").glob("*/metrics.parquet"):
        losses = [telemetry.read(each / "runs/steps" / found.parent.name)["loss"] for each in (alone, together)]
        np.testing.assert_allclose(*losses, rtol=1e-3)
