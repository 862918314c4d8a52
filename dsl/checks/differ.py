"""The rule for `differ`: arms differ in nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from dsl.checks.finding import Finding, at, title
from dsl.checks.studies import arms_of
from dsl.declarations.base import UNWRITTEN, Declaration, Written
from dsl.declarations.models import ModelFlow
from dsl.declarations.studies import Study
from dsl.declarations.training import Train
from dsl.describe import known_help


def arms_differ_only_there(study: Study) -> Iterator[Finding]:
    """`differ` names the only field or factor in which arms may differ."""
    if study.differ is None:
        return
    allowed = study.differ.text
    factors = [factor.name for factor in study.matrix]
    known = [*factors, "model", *Train.by_written_name()]
    if allowed.split(".")[0] not in [name.split(".")[0] for name in known]:
        message = f"no factor or field '{allowed}' in {title(study)}"
        yield Finding(message, at(study, "differ"), known_help(allowed, known))
        return
    if allowed in factors:
        for factor in study.matrix:
            if factor.name != allowed and len(factor.levels) > 1:
                message = f"arms of {title(study)} differ in {factor.name} too"
                yield Finding(message, at(study, "differ"), f"'differ: {allowed}' allows one level of {factor.name}")
        return
    arms = list(arms_of(study).items())
    for name, flow in arms[1:]:
        others = sorted(
            {path for path in differences(arms[0][1], flow) if path != allowed and not path.startswith(f"{allowed}.")}
        )
        if others:
            message = f"arms {arms[0][0]} and {name} of {title(study)} differ in {' and '.join(others)}"
            help = f"'differ: {allowed}' allows {allowed} alone"
            yield Finding(message, at(study, f"arms.{name}", "differ"), help)


def differences(left: ModelFlow, right: ModelFlow) -> Iterator[str]:
    """In what two arms differ: `model`, or a field of a stage. Stages are paired from the last; more of them on one
    side make another model."""
    shared = min(len(left.stages), len(right.stages))
    if not same(left.start, right.start) or len(left.stages) != len(right.stages):
        yield "model"
    for index in range(1, shared + 1):
        yield from _fields_apart(left.stages[-index], right.stages[-index], "")


def same(left: Any, right: Any) -> bool:
    """Whether two values say the same, wherever they are written."""
    if left is right:
        return True
    if isinstance(left, Written) and type(left) is type(right):
        fields = set(type(left).model_fields) - UNWRITTEN - {"doc"}
        return all(same(getattr(left, name), getattr(right, name)) for name in fields)
    if isinstance(left, tuple) and isinstance(right, tuple):
        ours, theirs = cast(tuple[Any, ...], left), cast(tuple[Any, ...], right)
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(left == right)


def _fields_apart(left: Written, right: Written, prefix: str) -> Iterator[str]:
    for written, field in left.__class__.by_written_name().items():
        one, other = getattr(left, field.name), getattr(right, field.name)
        if field.facts.role == "computation" and not same(one, other):
            if isinstance(one, Written) and one.__class__ is other.__class__ and not isinstance(one, Declaration):
                yield from _fields_apart(one, other, f"{prefix}{written}.")
            else:
                yield prefix + written
