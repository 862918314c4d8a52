"""The rule that keeps what is measured out of what is trained on."""

from __future__ import annotations

from collections.abc import Iterator

from dsl.checks.arms import Branch, branches_of, each
from dsl.checks.differ import same
from dsl.checks.evals import readable
from dsl.checks.finding import Finding, at, title
from dsl.declarations.data import Mix, SourceView
from dsl.declarations.evals import Eval
from dsl.declarations.studies import Study
from dsl.declarations.training import Train


def is_held_out(study: Study) -> Iterator[Finding]:
    """No arm trains on the rows that an eval measures, nor does the model that it starts from."""
    evals = readable(one.eval for one in study.evals)
    seen: set[int] = set()

    def of_branch(branch: Branch) -> Iterator[Finding]:
        for stage in branch.stages:
            if id(stage) not in seen:
                seen.add(id(stage))
                yield from each(evals, lambda eval, stage=stage: of_stage(branch, stage, eval))

    def of_stage(branch: Branch, stage: Train, eval: Eval) -> Iterator[Finding]:
        for view in _parts(stage.data):
            if _measures(eval, view):
                message = f"{branch.name} of {title(study)} trains on {view.name}, which {eval.name} measures"
                help = "train on other rows"
                if eval.loss:
                    help = f"measure '{eval.loss[0].source.name}.holdout', and train on '{view.source.name}'"
                yield Finding(message, at(study, branch.path, "matrix"), help)
                return

    yield from each(branches_of(study), of_branch)


def _parts(data: Mix | SourceView | None) -> Iterator[SourceView]:
    """The sources that a stage reads."""
    if isinstance(data, Mix):
        for part in [*data.parts, *(part for phase in data.phases for part in phase.parts)]:
            yield from _parts(part.of)
    elif data is not None:
        yield data


def _measures(eval: Eval, view: SourceView) -> bool:
    """Whether an eval's rows are among a view's or those that it is made from, or are made from the view's."""
    made_from = list(_origins(view))
    if any(_same_rows(measured, one) for measured in eval.loss for one in made_from):
        return True
    if any(_same_rows(one, view) for measured in eval.loss for one in _origins(measured)):
        return True
    file = eval.choice or eval.prompts
    return file is not None and any(file in one.source.files for one in made_from)


def _origins(view: SourceView) -> Iterator[SourceView]:
    """A view and those that it is made from."""
    yield view
    if view.source.from_ is not None:
        start = view.source.from_.start
        yield from _origins(SourceView.model_construct(source=start.source, holdout=start.holdout or view.holdout))


def _same_rows(measured: SourceView, view: SourceView) -> bool:
    """Whether two views are the same side of the same source, its rows not replaced where it is named."""
    ours, theirs = measured.source, view.source
    is_same = ours.name == theirs.name and measured.holdout == view.holdout
    return is_same and ours.files == theirs.files and same(ours.from_, theirs.from_)
