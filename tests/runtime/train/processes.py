"""Starts `tests.runtime.train.tiny` in one or several processes, which are waited for, stopped or killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Started:
    processes: list[subprocess.Popen[str]]
    logs: list[Path]
    """What each has said."""

    def wait_for(self, line: str, seconds: float = 600) -> None:
        """Returns when the first one has said a line that begins so."""
        until = time.monotonic() + seconds
        while not any(each.startswith(line) for each in self.logs[0].read_text().splitlines()):
            assert time.monotonic() < until, self.logs[0].read_text()
            assert self.processes[0].poll() is None, self.logs[0].read_text()
            time.sleep(0.01)

    def send(self, index: int, number: signal.Signals) -> None:
        self.processes[index].send_signal(number)

    def codes(self, seconds: float = 600) -> list[int]:
        """How each of them ended. None goes on: those that don't end in time are killed, and the test fails."""
        until = time.monotonic() + seconds
        try:
            return [each.wait(until - time.monotonic()) for each in self.processes]
        finally:
            for each in self.processes:
                each.kill()
                each.wait()

    def said(self) -> str:
        return "\n".join(log.read_text() for log in self.logs)


def start(count: int, folder: Path, updates: int, keep: Sequence[int] = (), *, save_seconds: float = 1e9) -> Started:
    """So many processes with a device each.

    A single one reads programs compiled before from beside the folder. Several don't: on a CPU, programs in which
    devices wait for each other now and then stand still once they were read from a cache (jaxlib 0.10.2).
    """
    folder.mkdir(exist_ok=True)
    address = f"127.0.0.1:{_free_port()}"
    environment = os.environ | {
        "JAX_ENABLE_COMPILATION_CACHE": "true" if count == 1 else "false",
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0",
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": str(count),
    }
    arguments = [str(folder), str(updates), str(save_seconds), *(str(update) for update in keep)]
    logs = [folder.parent / f"{folder.name}.{address[10:]}.{index}" for index in range(count)]
    processes: list[subprocess.Popen[str]] = []
    for index, log in enumerate(logs):
        with log.open("w") as file:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.runtime.train.tiny", *arguments],
                    cwd=ROOT,
                    env=environment | {"JAX_PROCESS_ID": str(index)},
                    stdout=file,
                    stderr=file,
                    text=True,
                )
            )
    return Started(processes, logs)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
