"""Rules for what stands twice in a study, so that the same would be run or counted again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from dsl.checks.arms import each
from dsl.checks.differ import same
from dsl.checks.evals import is_changed, repeated
from dsl.checks.finding import Finding, at, key_place, title
from dsl.checks.schedule import entry
from dsl.declarations.base import Written
from dsl.declarations.studies import Factor, Study
from dsl.hole import HOLE, IncompleteError


def factors_differ(study: Study) -> Iterator[Finding]:
    """Each factor of a matrix has its own name."""
    names = [factor.name for factor in study.matrix]
    for index, name in enumerate(names):
        if name in names[:index]:
            place = at(study, f"matrix[{index}].{name}", "matrix")
            yield Finding(f"two factors of {title(study)} are called '{name}'", place, "rename one")


def seeds_differ(study: Study) -> Iterator[Finding]:
    """A seed stands once."""
    seen: set[int] = set()
    for index, seed in enumerate(study.seeds):
        if seed is HOLE:
            continue
        if seed in seen:
            place, help = at(study, f"seeds[{index}]", "seeds"), "leave one out: it would be the same run"
            yield Finding(f"seed {seed} stands twice in {title(study)}", place, help)
        seen.add(seed)


def evals_differ(study: Study) -> Iterator[Finding]:
    """An eval is measured once, whether named or a member of a suite."""
    paths = [entry(study, index) for index in range(len(study.evals))]
    known = [
        HOLE if one.eval is HOLE or is_changed(study, path, one.eval) else one.eval
        for one, path in zip(study.evals, paths, strict=True)
    ]
    for index, message, is_member in repeated(known, title(study)):
        place = key_place(study, paths[index], "evals")
        help = "leave one out" if is_member else "list its points together: 'NAME: [start, end]'"
        yield Finding(message, place, help)


def arms_differ(study: Study) -> Iterator[Finding]:
    """No two arms, and no two levels of a factor, say the same."""
    if not study.matrix:
        flows: dict[str, Any] = {f"arms.{name}": flow for name, flow in study.arms.items()}
        base = {} if study.base is None else {"base": study.base}
        yield from _same(study, base | flows, "arm", "two runs of the same flow differ in nothing: leave one out")
    for index, factor in enumerate(study.matrix):
        yield from each([factor], lambda factor, index=index: _same_levels(study, index, factor))


def _same_levels(study: Study, index: int, factor: Factor) -> Iterator[Finding]:
    levels = {f"matrix[{index}].{factor.name}.{level.name}": level.stages for level in factor.levels}
    yield from _same(study, levels, "level", f"leave one of them out of factor {factor.name}")


def _same(study: Study, written: Mapping[str, Any], word: str, help: str) -> Iterator[Finding]:
    """What says the same as something before it, by path; the first is what it is compared with."""
    paths = list(written)

    def of(path: str) -> Iterator[Finding]:
        name = path.rpartition(".")[2]
        for earlier in paths[: paths.index(path)]:
            if same(written[earlier], written[path]):
                _must_be_whole(written[path])
                other = earlier.rpartition(".")[2]
                message = f"{word} {name} of {title(study)} says the same as {other}"
                yield Finding(message, key_place(study, path, "arms", "matrix"), help)
                return

    yield from each(paths, of)


def _must_be_whole(value: Any) -> None:
    """Raises IncompleteError where there is a hole anywhere in a value: it may say something else."""
    if value is HOLE:
        raise IncompleteError
    if isinstance(value, Written):
        for name in type(value).facts():
            _must_be_whole(getattr(value, name))
    elif isinstance(value, tuple | dict):
        parts = cast(Any, value.values() if isinstance(value, dict) else value)
        for part in parts:
            _must_be_whole(part)
