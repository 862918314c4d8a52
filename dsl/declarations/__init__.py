"""What a spec can declare: one class a kind, and the table of kinds."""

from __future__ import annotations

from dsl.declarations import data, evals, models, optimizers, studies, targets, training, transforms
from dsl.declarations.base import Declaration, Written
from dsl.declarations.data import Augment, Mix, Source
from dsl.declarations.evals import Eval
from dsl.declarations.models import Model
from dsl.declarations.studies import Study
from dsl.declarations.targets import Target
from dsl.declarations.training import Reward, Train

KINDS: dict[str, type[Declaration]] = {
    "source": Source,
    "augment": Augment,
    "mix": Mix,
    "model": Model,
    "train": Train,
    "reward": Reward,
    "eval": Eval,
    "study": Study,
    "target": Target,
}
"""The class of every kind word."""


def complete() -> None:
    """Build the validators of all classes, whose annotations refer to one another across files.

    Only what describes or validates declarations needs them (the reference, the JSON schema, tests): the binder makes
    values that are right by construction, and `check` starts faster without.
    """
    modules = (data, evals, models, optimizers, studies, targets, training, transforms)
    names = {name: value for module in modules for name, value in vars(module).items()}
    for value in list(names.values()):
        if isinstance(value, type) and issubclass(value, Written):
            value.model_rebuild(_types_namespace=names)
