"""Asks a process of its own to compile, whatever JAX this one has been started with."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from pydantic import TypeAdapter

from compiler.targets import Machine
from runtime.compile.devices import environment
from runtime.compile.jobs import Compiled, Devices, Failed, Job
from runtime.errors import UserError

_ANSWER: TypeAdapter[Compiled | Failed] = TypeAdapter(Compiled | Failed)


class Compiler:
    """A compiling process; one job after another."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._process = process
        self._errors = errors

    def compile(self, job: Job) -> Compiled:
        """What becomes of a job. Raises UserError where nothing can be compiled for these devices."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(job.model_dump_json() + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its answer says why it ended
        line = self._process.stdout.readline()
        if not line:
            raise UserError(f"the compiler ended while at {job.name}", self._last_words())
        answer = _ANSWER.validate_json(line)
        if isinstance(answer, Failed):
            raise UserError(answer.message, answer.help)
        return answer

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        said = [line.rstrip() for line in self._errors if line.strip()]
        if self._process.returncode == -9:
            return "this machine's memory was perhaps too small for it: compile a shallower model, or elsewhere"
        return "it said: " + " / ".join(said[-3:])


@contextmanager
def compiler_for(machine: Machine) -> Iterator[Compiler]:
    """A compiling process for a machine, which ends with the block."""
    devices = Devices(platform=machine.platform, chip=machine.chip, grid=machine.grid, shard=dict(machine.shard))
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime.compile.child"],
            env=os.environ | environment(machine.platform, machine.devices),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdin is not None
        try:
            process.stdin.write(devices.model_dump_json() + "\n")
            yield Compiler(process, errors)
        finally:
            process.kill()
            process.wait()
