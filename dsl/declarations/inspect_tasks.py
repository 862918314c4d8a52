"""Tasks of Inspect: which installed package has one, and its version; nothing of it is run."""

from __future__ import annotations

from dsl.declarations.entry_points import Offer, offered, version_with

GROUP = "inspect_ai"
"""The group of entry points under which a package names its tasks to Inspect: a word, and a module."""


def package_of(task: str) -> Offer | None:
    """The installed package that has the task `PACKAGE/NAME`; None where there is none, or more than one."""
    offers = offered(GROUP).get(task.partition("/")[0], ())
    return offers[0] if len(offers) == 1 else None


def version_of(task: str) -> str:
    """The version of the package that has a task, empty where none is installed."""
    offer = package_of(task)
    return "" if offer is None else version_with(offer, offer.target.partition(":")[0])


def mend_of(task: str) -> str:
    """What to install for a task of a package that isn't there."""
    package = task.partition("/")[0]
    if task.count("/") != 1 or ".py" in task:
        return "write PACKAGE/TASK: a task of an installed package; files of tasks aren't run from a spec"
    if package == "inspect_evals":
        return "install it: `pip install 'mixc[inspect-evals]'`"
    return f"install the package that names '{package}' to Inspect (entry points of the group inspect_ai)"
