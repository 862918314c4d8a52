"""Engines: the same answers in the same order wherever they are made, and an end in every case."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import active_children
from pathlib import Path

import pytest

from runtime.data.engine import Engine, engine_for, inline, processes
from runtime.errors import UserError

ENGINES = pytest.mark.parametrize("engine", [inline(), processes(1), processes(3)], ids=["inline", "one", "three"])


def scaled(factor: int, item: int) -> int:
    if item < 0:
        raise UserError(f"{item} is negative", "give another", place="numbers:7")
    time.sleep(0.01 if item % 7 == 0 else 0)  # some are late
    return factor * item


def process(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


@ENGINES
def test_answers_come_in_order(engine: Engine) -> None:
    assert list(engine.map(partial(scaled, 3), range(100))) == [3 * item for item in range(100)]
    assert list(engine.map(partial(scaled, 3), [])) == []
    assert active_children() == []


@ENGINES
def test_a_users_error_comes_through(engine: Engine) -> None:
    answers = engine.map(partial(scaled, 1), [1, 2, -3, 4])
    assert [next(answers), next(answers)] == [1, 2]
    with pytest.raises(UserError) as caught:
        list(answers)
    assert (caught.value.message, caught.value.help, caught.value.place) == (
        "-3 is negative",
        "give another",
        "numbers:7",
    )
    assert active_children() == []


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    answers = processes(2).map(partial(scaled, 1), items())
    assert [next(answers) for _ in range(10)] == list(range(10))
    assert len(taken) < 20
    answers.close()
    assert active_children() == []


def test_work_is_done_elsewhere_and_a_killed_worker_is_told() -> None:
    assert os.getpid() not in set(processes(2).map(process, [0, 1]))
    with pytest.raises(UserError, match="a worker process was killed, as the system does when memory runs out"):
        list(processes(2).map(process, range(9)))
    assert active_children() == []


def test_small_work_is_done_here() -> None:
    assert engine_for(1000).workers == 1
    assert engine_for(1 << 40).workers >= 1


RUN = """
import os, signal, sys, time
from functools import partial
from pathlib import Path
from runtime.data.engine import processes

def work(folder, item):
    (folder / str(os.getpid())).touch()
    time.sleep(0.05)
    return item

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell runs in the background ignores it
    for _ in processes(2).map(partial(work, Path(sys.argv[1])), range(100_000)):
        pass
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "run.py").write_text(RUN)
    (tmp_path / "seen").mkdir()
    started = subprocess.Popen(
        [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "seen")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with started:
        wait_until(lambda: len(list((tmp_path / "seen").iterdir())) == 2)
        if number == signal.SIGINT:
            os.killpg(started.pid, number)  # as a terminal does
        else:
            started.kill()
        try:
            told = started.communicate(timeout=20)[1]
        finally:
            started.kill()
    assert told.count("KeyboardInterrupt") == (1 if number == signal.SIGINT else 0)
    workers = [int(path.name) for path in (tmp_path / "seen").iterdir()]
    wait_until(lambda: not any(map(alive, workers)))


def alive(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.05)
