"""A package with small tasks of Inspect, installed into a folder: one that scores by itself, one that asks a grader,
one whose samples and scorer fail, and one with a tool."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "ward_tasks"

TASKS = '''\
"""Small tasks."""

from typing import Literal

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.solver import generate, solver, system_message, use_tools
from inspect_ai.tool import tool


@scorer(metrics={"vowel": [accuracy()], "length": [accuracy()]})
def letters():
    async def score(state, target):
        said = state.output.completion
        return Score(value={"vowel": float("a" in said), "length": len(said)}, explanation=f"{len(said)} characters")

    return score


@task
def asking(place: Literal["ward", "clinic"] = "ward", night: bool = False, count: int = 2):
    hour = "night" if night else "day"
    samples = [Sample(id=f"s{number}", input=f"Question {number} in the {place} by {hour}") for number in range(count)]
    return Task(dataset=samples, solver=[system_message("Be kind."), generate()], scorer=letters())


@scorer(metrics=[accuracy()])
def graded():
    async def score(state, target):
        said = await get_model(role="grader").generate(f"Is this kind? {state.output.completion}")
        verdict = "C" if said.completion.count("a") % 2 else "I"
        return Score(value=verdict, explanation=said.completion)

    return score


@task
def kindness():
    return Task(dataset=[Sample(id="k", input="Be kind.")], solver=generate(), scorer=graded())


@solver
def stumbling():
    async def solve(state, generate):
        if state.sample_id == "stumbles":
            raise RuntimeError("the patient left")
        return await generate(state)

    return solve


@scorer(metrics=[accuracy()])
def picky():
    async def score(state, target):
        if state.sample_id == "odd":
            raise ValueError("cannot read it")
        if state.sample_id == "blank":
            return Score.unscored(reason="grader_failed", explanation="no verdict")
        return Score(value="C")

    return score


@task
def stumbles():
    names = ["fine", "stumbles", "odd", "blank"]
    return Task(dataset=[Sample(id=name, input=name) for name in names], solver=stumbling(), scorer=picky())


@tool
def look():
    async def execute(where: str):
        """Looks somewhere.

        Args:
            where: the place.
        """
        return f"nothing in {where}"

    return execute


@task
def looking():
    return Task(dataset=[Sample(id="l", input="Look.")], solver=[use_tools(look()), generate()], scorer=letters())
'''


def put_package(folder: Path, version: str = "1.0") -> Path:
    """Writes the package into `folder`, as an installer leaves it, and returns `folder`."""
    metadata = folder / f"{NAME}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(f"[inspect_ai]\n{NAME} = {NAME}\n")
    (folder / f"{NAME}.py").write_text(TASKS)
    return folder


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """With what is installed in a folder; modules of it are forgotten after."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(NAME, None)
