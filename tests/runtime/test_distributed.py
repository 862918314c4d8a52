"""Where a process stands, as launchers say it, and how several agree."""

from __future__ import annotations

import threading
from threading import Event
from typing import Any

import pytest

from runtime.distributed import Place, Processes, place_from
from runtime.errors import UserError
from runtime.train.meeting import Due, Meeting


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, None),
        (
            {"JAX_COORDINATOR_ADDRESS": "one:1234", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"},
            Place("one:1234", 4, 3),
        ),
        (
            {"JAX_COORDINATOR_ADDRESS": "job-0.job", "JAX_NUM_PROCESSES": "4", "JOB_COMPLETION_INDEX": "2"},
            Place("job-0.job:8476", 4, 2),
        ),
        (
            {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1"},
            Place("10.0.0.1:8476", 2, 1),
        ),
        ({"SKYPILOT_NODE_IPS": "10.0.0.1", "SKYPILOT_NUM_NODES": "1", "SKYPILOT_NODE_RANK": "0"}, None),
        (
            {
                "SLURM_STEP_NODELIST": "gpu[007-009,12],login", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2",
                "SLURM_JOB_ID": "77", "SLURM_STEP_TASKS_PER_NODE": "1(x4)", "SLURM_LOCALID": "0",
            },
            Place("gpu007:61517", 4, 2),
        ),
        (
            {
                "SLURM_STEP_NODELIST": "gpu7", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_ID": "77",
                "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_LOCALID": "1", "CUDA_VISIBLE_DEVICES": "0,1",
            },
            Place("gpu7:61517", 2, 1, (1,)),
        ),
        ({"TPU_WORKER_HOSTNAMES": "a.sub,b.sub", "TPU_WORKER_ID": "1"}, Place("a.sub:8476", 2, 1)),
        ({"SLURM_JOB_ID": "77", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),
    ],
    ids=["none", "explicit", "jobset", "skypilot", "one machine", "slurm", "tasks share a node", "tpu", "batch script"],
)  # fmt: skip
def test_place_is_what_the_launcher_says(environment: dict[str, str], place: Place | None) -> None:
    assert place_from(environment) == place


@pytest.mark.parametrize(
    "environment",
    [
        {"JAX_COORDINATOR_ADDRESS": "one:1234", "JAX_NUM_PROCESSES": "4"},
        {"JAX_COORDINATOR_ADDRESS": "one:1234", "JAX_NUM_PROCESSES": "four", "JAX_PROCESS_ID": "0"},
        {"JAX_COORDINATOR_ADDRESS": "one:1234", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "4"},
    ],
)
def test_half_a_place_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"where this process stands|numbers begin at 0"):
        place_from(environment)


class Board:
    """A key-value store as JAX's client is one, for threads of this process."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self.changed = threading.Condition()

    def key_value_set(self, key: str, value: str) -> None:
        with self.changed:
            if key in self.said:
                raise RuntimeError("ALREADY_EXISTS: key")
            self.said[key] = value
            self.changed.notify_all()

    def key_value_try_get(self, key: str) -> str:
        with self.changed:
            if key not in self.said:
                raise RuntimeError("NOT_FOUND: key")
            return self.said[key]

    def blocking_key_value_get(self, key: str, milliseconds: int) -> str:
        with self.changed:
            if not self.changed.wait_for(lambda: key in self.said, milliseconds / 1000):
                raise RuntimeError("DEADLINE_EXCEEDED: key")
            return self.said[key]


def together(count: int, work: Any) -> list[Any]:
    """What `work` gives for each process, all of them at once."""
    board, results = Board(), dict[int, Any]()

    def run(index: int) -> None:
        results[index] = work(Processes(count, index, board))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == count
    return [results[index] for index in range(count)]


def test_what_is_told_and_gathered_is_the_same_for_all() -> None:
    def work(processes: Processes) -> Any:
        own = [processes.gathered(f"from {processes.index}"), processes.told(lambda: processes.index)]
        return [*own, processes.branch("saves").gathered(processes.index), processes.gathered(None)]

    assert together(3, work) == [[["from 0", "from 1", "from 2"], 0, [0, 1, 2], [None] * 3]] * 3


@pytest.mark.parametrize("wishes", [{0: 5}, {2: 5}, {0: 5, 1: 6, 2: 4}])
def test_all_stop_after_the_same_update_without_waiting_for_each_other(wishes: dict[int, int]) -> None:
    """Each update begins when all have dispatched the one before the last, as devices that talk make it."""
    count = 3
    dispatched = [0] * count
    changed = threading.Condition()

    def work(processes: Processes) -> tuple[int, Due]:
        stop = Event()
        meeting = Meeting(processes, stop)
        assert meeting.begins()
        for update in range(1, 100):
            with changed:
                dispatched[processes.index] = update
                changed.notify_all()
                assert changed.wait_for(lambda now=update: min(dispatched) >= now - 1, 10), "they wait for each other"
            if wishes.get(processes.index, 100) <= update:
                stop.set()
            due = meeting.after(update, save=False)
            if due.stop:
                with changed:  # what it has dispatched is done, whatever the others wait for
                    dispatched[processes.index] = 1000
                    changed.notify_all()
                return update, due
        raise AssertionError("nobody stopped")

    found = together(count, work)
    assert len(set(found)) == 1
    assert min(wishes.values()) <= found[0][0] <= min(wishes.values()) + 5


def test_alone_nothing_is_agreed() -> None:
    stop = Event()
    meeting = Meeting(Processes(), stop)
    assert meeting.after(1, save=True) == Due(stop=False, save=True)
    stop.set()
    assert meeting.after(2, save=False) == Due(stop=True, save=False)
