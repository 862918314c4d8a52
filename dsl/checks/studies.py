"""Rules for studies: their arms, and what is measured on them."""

from __future__ import annotations

from collections.abc import Iterator

from dsl.checks.arms import Branch, arms_of, branches_of, each, flows_of, is_served, stage_names, stages_of
from dsl.checks.evals import as_declared, readable
from dsl.checks.finding import Finding, at, given, key_place, title
from dsl.checks.schedule import entry
from dsl.checks.training import flow_can_train, stage_has_data
from dsl.declarations.models import Model, ModelFlow
from dsl.declarations.studies import Study
from dsl.describe import known_help
from dsl.files import NAME, NAME_HELP
from dsl.hole import known


def compares_something(study: Study) -> Iterator[Finding]:
    """A study has arms or a matrix; a matrix needs a base, and levels."""
    if study.arms and study.matrix:
        yield Finding(f"{title(study)} has both arms and a matrix", at(study, "matrix"), "make two studies of it")
    elif not study.arms and not study.matrix and study.base is None:
        yield Finding(f"{title(study)} has nothing to compare", study.place, "write 'arms:', or 'base:' and 'matrix:'")
    elif study.matrix and study.base is None:
        yield Finding(f"the matrix of {title(study)} has no base", at(study, "matrix"), "write 'base: MODEL'")
    elif "arms" in study.places and not study.arms:
        help = "write 'NAME: base |> STAGE' below it, or leave 'arms' out"
        yield Finding(f"'arms' of {title(study)} is empty", at(study, "arms"), help)
    for index, factor in enumerate(study.matrix):
        if not factor.levels:
            help = "write its levels, such as 'none: none' and 'NAME: STAGE', or leave it out"
            place = at(study, f"matrix[{index}].{factor.name}", "matrix")
            yield Finding(f"factor {factor.name} of {title(study)} has no levels", place, help)


def does_something(study: Study) -> Iterator[Finding]:
    """A study measures something, or at least trains a model."""
    if study.evals:
        return
    if "evals" in study.places:
        help = "write the evals that it is for, or leave 'evals' out"
        yield Finding(f"'evals' of {title(study)} is empty", at(study, "evals"), help)
    elif (flows := flows_of(study)) and not any(map(stages_of, flows.values())):
        yield Finding(f"{title(study)} trains nothing and measures nothing", study.place, "write 'evals:', or a stage")


def arm_names_are_free(study: Study) -> Iterator[Finding]:
    """Arms, factors and levels have names; none is `base`, and no factor `at`."""
    labels = {f"arms.{name}": name for name in study.arms}
    for index, factor in enumerate(study.matrix):
        labels[f"matrix[{index}].{factor.name}"] = factor.name
        labels |= {f"matrix[{index}].{factor.name}.{level.name}": level.name for level in factor.levels}
        if factor.name == "at":
            message = f"a factor called at in {title(study)}"
            help = "in a claim, 'at' says when: take another name"
            yield Finding(message, key_place(study, f"matrix[{index}].at", "matrix"), help)
    for path, name in labels.items():
        place = key_place(study, path, "arms", "matrix")
        if name == "base":
            help = "the base is always evaluated beside the arms: take another name"
            yield Finding(f"an arm called base in {title(study)}", place, help)
        elif not NAME.fullmatch(name):
            yield Finding(f"'{name}' in {title(study)} is not a name", place, NAME_HELP)


def arms_can_train(study: Study) -> Iterator[Finding]:
    """Stages have data, and no served model is trained."""
    yield from each(branches_of(study), lambda branch: _can_train(study, branch))


def dose_is_of_something(study: Study) -> Iterator[Finding]:
    """`match: tokens(of=NAME)` names a factor or a stage."""
    if study.match is not None and study.match.of is not None:
        names = [*(factor.name for factor in study.matrix), *stage_names(arms_of(study).values())]
        if study.match.of not in names:
            message = f"{title(study)} has no factor or stage '{study.match.of}'"
            yield Finding(message, at(study, "match.of", "match"), known_help(study.match.of, names))


def has_log_probabilities(study: Study) -> Iterator[Finding]:
    """`choice` and `loss` need log-probabilities, which a served model doesn't give."""
    evals = readable(one.eval for one in study.evals)

    def of(branch: Branch) -> Iterator[Finding]:
        if isinstance(branch.flow, ModelFlow) and is_served(branch.flow.start):
            for eval in evals:
                for way in given(eval, ("choice", "loss")):
                    message = f"{eval.name} is a '{way}', and {branch.flow.start.name} gives no log-probabilities"
                    help = "measure it with a 'prompts' eval, or leave the model out"
                    yield Finding(message, at(study, branch.path), help)

    yield from each(branches_of(study), of)


def one_tokenizer(study: Study) -> Iterator[Finding]:
    """Losses in nats a token and doses in tokens are compared within one tokenizer."""
    said = {flow.start.name: _root(flow.start).tokenizer for flow in flows_of(study).values()}
    tokenizers = {tokenizer for tokenizer in said.values() if tokenizer is not None}
    if len(tokenizers) < 2:
        return
    losses = [one for one in readable(one.eval for one in study.evals) if one.loss]
    if losses or known(study.match) is not None:
        what = f"{losses[0].name} compares" if losses else "'match' counts"
        message = f"{what} tokens of {len(tokenizers)} tokenizers in {title(study)}"
        place = at(study, "evals" if losses else "match")
        yield Finding(message, place, f"compare models with one tokenizer: {' and '.join(sorted(said))} differ")


def evals_are_declared(study: Study) -> Iterator[Finding]:
    """What a study measures are evals as they are declared, so that claims can name them."""
    for index, scheduled in enumerate(study.evals):
        yield from each([scheduled.eval], lambda eval, index=index: as_declared(study, entry(study, index), eval))


def _can_train(study: Study, branch: Branch) -> Iterator[Finding]:
    if isinstance(branch.flow, ModelFlow):
        yield from flow_can_train(branch.flow, study, branch.path)
        return
    for stage in branch.stages:
        yield from stage_has_data(stage, study, branch.path)
    if branch.stages and study.base is not None and is_served(study.base.start):
        message = f"{study.base.start.name} is a served model: it can't be trained"
        yield Finding(message, at(study, "base"), "start from weights: a model with 'from:'")


def _root(model: Model) -> Model:
    while isinstance(model.from_, ModelFlow) and model.tokenizer is None:
        model = model.from_.start
    return model
