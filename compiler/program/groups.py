"""Groups of parameters by the pattern of their paths, and which of them are trained."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, cast

from compiler.program.config import Parameters
from compiler.stages import Group


def leaves(tree: Parameters, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves of nested dictionaries with their paths (`("layers", "attention", "query", "weight")`)."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(cast(Parameters, value), (*path, name))
        else:
            yield (*path, name), value


def mapped(tree: Parameters, function: Callable[[tuple[str, ...]], Any]) -> Parameters:
    """The same dictionaries with what `function` gives for the path of each leaf."""
    return tree_of((path, function(path)) for path, _ in leaves(tree))


def group_of(groups: Sequence[Group], path: tuple[str, ...]) -> int | None:
    """Which group a parameter belongs to: the first whose pattern is its dotted path; `*` stands for anything."""
    dotted = ".".join(path)
    for number, group in enumerate(groups):
        if re.fullmatch(".*".join(re.escape(part) for part in group.paths.split("*")), dotted):
            return number
    return None


def is_frozen(group: Group) -> bool:
    """Whether its parameters aren't trained at all."""
    return group.lr is not None and Fraction(group.lr) == 0


def split(parameters: Parameters, groups: Sequence[Group]) -> tuple[Parameters, Parameters]:
    """What is trained of `parameters`, and what is frozen: two trees which `decoder.merged` puts together again.

    Nothing is copied; leaves may be arrays or their shapes.
    """
    parts: tuple[list[tuple[tuple[str, ...], Any]], list[tuple[tuple[str, ...], Any]]] = ([], [])
    for path, leaf in leaves(parameters):
        number = group_of(groups, path)
        parts[number is not None and is_frozen(groups[number])].append((path, leaf))
    return tree_of(parts[0]), tree_of(parts[1])


def idle(parameters: Parameters, groups: Sequence[Group]) -> list[Group]:
    """Groups that no parameter belongs to: their pattern fits none, or those that it fits belong to earlier ones."""
    used = {group_of(groups, path) for path, _ in leaves(parameters)}
    return [group for number, group in enumerate(groups) if number not in used]


def tree_of(parts: Iterable[tuple[tuple[str, ...], Any]]) -> Parameters:
    """The inverse of `leaves`."""
    tree: Parameters = {}
    for path, leaf in parts:
        holder = tree
        for name in path[:-1]:
            holder = holder.setdefault(name, {})
        holder[path[-1]] = leaf
    return tree
