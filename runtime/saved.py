"""Plans that ran, found again in the store by the names of their studies and models: without spec and without data."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ValidationError

from compiler.keys import Keys
from compiler.plan import Plan, PlannedArm
from compiler.steps import Result, Train
from runtime.errors import UserError
from runtime.files import Files
from runtime.progress import Reporter
from runtime.steps.context import Context
from runtime.store import Store

PLAN = "plan.json"
MEASURED = "measured.json"


class Measured(BaseModel):
    """What a plan was made with: the hashes of files by location, and the results of data steps."""

    files: dict[str, tuple[str, ...]]
    results: dict[str, Result]


def save_plan(context: Context, folder: Path) -> None:
    """Writes a plan and what it was made with beside the results of a study or model."""
    folder.mkdir(parents=True, exist_ok=True)
    measured = Measured(files=context.files.digests, results=context.keys.results)
    (folder / PLAN).write_text(context.keys.plan.model_dump_json(indent=1) + "\n")
    (folder / MEASURED).write_text(measured.model_dump_json(indent=1) + "\n")


def spec_of(folder: Path) -> str | None:
    """The file whose plan a folder holds, None where it holds none that can be read."""
    try:
        return json.loads((folder / PLAN).read_bytes()).get("spec")
    except (FileNotFoundError, ValueError, AttributeError):
        return None


def load_plan(folder: Path, store: Store, reporter: Reporter) -> Context:
    """The plan of a study or model that ran, with all that keys are made of. UserError where another version of mixc
    wrote it otherwise, or it is damaged."""
    try:
        plan = Plan.model_validate_json((folder / PLAN).read_text())
        measured = Measured.model_validate_json((folder / MEASURED).read_text())
    except (ValidationError, FileNotFoundError) as error:
        spec = spec_of(folder) or "FILE"
        raise UserError(
            f"the plan in {folder} is damaged, or of another version of mixc",
            f"run `mixc run {spec}` again: what is done and still the same is kept",
        ) from error
    keys = Keys(plan)
    keys.results = measured.results
    return Context(Path(plan.root), store, reporter, keys, Files(Path(plan.root), measured.files))


def find_study(name: str, store: Store, reporter: Reporter) -> Context:
    """The plan of a study that ran. Raises UserError where the store has none of that name."""
    folder = store.root / "studies" / name
    if not (folder / PLAN).is_file():
        raise _not_there("study", name, store.root / "studies")
    return load_plan(folder, store, reporter)


def find_trained(name: str, store: Store, reporter: Reporter) -> tuple[Context, PlannedArm]:
    """Like `find_arm`, for an arm whose training is done, as far as its study follows it. Raises UserError."""
    from runtime.steps.followed import followed_arm

    context, arm = find_arm(name, store, reporter)
    study = next((each for each in context.keys.plan.studies if f"{each.name}/" == name[: len(each.name) + 1]), None)
    arm = arm if study is None else followed_arm(context, study, arm)
    if arm.api is not None:
        raise UserError(f"{name} is {arm.api.api}, a served model: its weights aren't here", "name an arm of weights")
    step = context.keys.plan.steps[arm.final.step]
    if isinstance(step, Train) and store.find(context.key(arm.final.step)) is None:
        raise UserError(f"{name} is not trained to its end", f"go on with `mixc run {context.keys.plan.spec}`")
    return context, arm


def find_arm(name: str, store: Store, reporter: Reporter) -> tuple[Context, PlannedArm]:
    """A trained model by STUDY/ARM, STUDY/ARM@seed=N (else the first seed), or the name of a model that was run."""
    study, slash, rest = name.partition("/")
    if not slash:
        folder = store.root / "models" / name
        if not (folder / PLAN).is_file():
            raise _not_there("model", name, store.root / "models")
        context = load_plan(folder, store, reporter)
        return context, next(model for model in context.keys.plan.models if model.name == name)
    context = find_study(study, store, reporter)
    arm, at, seed = rest.partition("@seed=")
    planned = next(each for each in context.keys.plan.studies if each.name == study)
    arms = [each for each in planned.arms if each.name == arm and (not at or str(each.seed) == seed)]
    if not arms:
        has = ", ".join(dict.fromkeys(f"{study}/{each.name}" for each in planned.arms))
        raise UserError(f"the study {study} has no arm '{rest}'", f"it has {has}")
    return context, arms[0]


def _not_there(kind: str, name: str, folder: Path) -> UserError:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    near = get_close_matches(name, names, 1)
    if near:
        return UserError(f"no {kind} '{name}' ran in {folder.parent}", f"did you mean '{near[0]}'?")
    has = (
        f"it has {', '.join(names)}" if names else "run one first with `mixc run FILE`, or name its store with --store"
    )
    return UserError(f"no {kind} '{name}' ran in {folder.parent}", has)


def names_of_studies(store: Store) -> list[str]:
    """The studies that ran, by name."""
    folder = store.root / "studies"
    return sorted(path.name for path in folder.iterdir() if (path / PLAN).is_file()) if folder.is_dir() else []
