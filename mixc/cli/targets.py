"""Which target a command is for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from compiler.targets import CHIPS
from dsl.declarations.studies import Study
from dsl.declarations.targets import Target
from dsl.diagnostics.suggest import nearest
from dsl.module import Module
from runtime.errors import UserError


def add_target_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", metavar="T", help="a target, as seen from FILE (default: that of the study)")


def target_of(module: Module, name: str | None, studies: Sequence[Study]) -> Target | None:
    """The target that was named, or that of the studies, if they have one.

    Raises UserError where there is none of that name, or the studies have several.
    """
    if name is None:
        own = {study.target.name: study.target for study in studies if study.target is not None}
        if len(own) > 1:
            message = f"the studies have several targets: {', '.join(own)}"
            raise UserError(message, f"name one with `--target`: {targets(module)}")
        return next(iter(own.values()), None)
    declared = module.find(name)
    if not isinstance(declared, Target):
        near = nearest(name, [each for each in module.names() if isinstance(module.find(each), Target)])
        hint = (
            f"did you mean '{near}'?"
            if near
            else f"it has: {targets(module)}; a target is declared in the file{_declared(name)}"
        )
        raise UserError(f"{module.path} has no target '{name}'", hint)
    return declared


def _declared(topology: str) -> str:
    """How a target of a topology is declared, where one was named instead of a target."""
    chip = CHIPS.get(topology.partition(":")[0].lower())
    if chip is None:
        return ""
    return f": `target {chip.name}: {{platform: {chip.platform}, topology: {topology}}}`"


def targets(module: Module) -> str:
    """The targets of a file, in words."""
    return ", ".join(each for each in module.names() if isinstance(module.find(each), Target)) or "none"
