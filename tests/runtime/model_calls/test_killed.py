"""`kill -9` at random moments, with a server that fails, stalls, limits and lies: no answer is asked for twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.model_calls.answers import Answers
from runtime.model_calls.calls import CONNECTIONS
from tests.runtime.model_calls.asking import API
from tests.runtime.model_calls.server import Faults, Server, serving

ROOT = Path(__file__).parents[3]
FAULTS = Faults(error=0.03, limit=0.01, cut=0.02, nonsense=0.03, stall=0.001, stall_seconds=20.0, retry_after="0.1")


def start(server: Server, store: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.model_calls.killed", str(store), str(store / "rows"), str(count)],
        cwd=ROOT, env=os.environ | server.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate(timeout=1200)
    assert process.returncode == 0, errors
    return out


def kill_at(process: subprocess.Popen[str], server: Server, given: int) -> int:
    """Kills once the server has given out so many answers; returns how many calls were in flight."""
    while sum(server.whole.values()) < given:
        assert process.poll() is None, f"ended before it was killed: {process.communicate()}"
        time.sleep(0.005)
    flying = server.in_flight
    process.kill()
    process.communicate()
    return flying


@pytest.mark.parametrize(("count", "kills"), [(300, 2), pytest.param(10_000, 5, marks=pytest.mark.slow)])
def test_killed_again_and_again_each_answer_is_paid_once(tmp_path: Path, count: int, kills: int) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}")  # pytest shows it where the test fails
    moments = sorted(chance.randrange(count // 20, count * 19 // 20) for _ in range(kills))
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    with serving(latency=0.005, keep_seen=False) as server:
        whole = finish(start(server, tmp_path / "whole", count))
        assert sum(server.whole.values()) == count
    with serving(latency=0.005, keep_seen=False, faults=FAULTS) as server:
        for moment in moments:
            kill_at(start(server, tmp_path / "killed", count), server, moment)
        started = time.monotonic()
        killed = finish(start(server, tmp_path / "killed", count))
        seconds = time.monotonic() - started
        given = sum(server.whole.values())
        in_all = server.requests
    print(f"{count} answers, {given} given out whole in {in_all} requests; the last run took {seconds:.0f} s")
    assert killed == whole
    assert (tmp_path / "killed" / "rows").read_bytes() == (tmp_path / "whole" / "rows").read_bytes()
    assert len(server.whole) == count
    assert count <= given <= count + kills * CONNECTIONS
    with Answers(tmp_path / "killed", print) as answers:
        assert len(answers) == answers.used(API).calls == count


def test_two_processes_share_a_store(tmp_path: Path) -> None:
    with serving(latency=0.005, keep_seen=False) as server:
        both = [start(server, tmp_path, 200), start(server, tmp_path, 200)]
        assert len({finish(process) for process in both}) == 1
        assert all(times <= 2 for times in server.whole.values())
        assert len(server.whole) == 200
