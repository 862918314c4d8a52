"""Plans that read locations and do nothing else."""

from __future__ import annotations

from pathlib import Path

from compiler.plan import Plan
from compiler.steps import Read
from runtime.files import Files


def read_step(*locations: str) -> Plan:
    step = Read(name="s", place="study.mix:1", format="documents", files=locations, fields={})
    return Plan(spec="study.mix", root=".", steps={"s": step}, studies=(), models=())


def looked_up(root: Path, *locations: str) -> Files:
    files = Files(root)
    assert files.look_up(read_step(*locations)) == []
    return files
