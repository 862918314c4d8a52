"""Rules for studies: their arms, and what is measured on them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from dsl.checks.evals import flattened
from dsl.checks.finding import Finding, at, title
from dsl.checks.training import flow_can_train, length_of, quantity, stage_has_data
from dsl.declarations.data import Mix, SourceView
from dsl.declarations.evals import Eval
from dsl.declarations.models import Model, ModelFlow
from dsl.declarations.studies import Study
from dsl.declarations.training import Train
from dsl.describe import known_help
from dsl.files import NAME, NAME_HELP
from dsl.values import Point, Quantity


def arms_of(study: Study) -> dict[str, ModelFlow]:
    """The arms by name; those of a matrix are `LEVEL.LEVEL` and start from the base."""
    if not study.matrix or study.base is None:
        return study.arms
    base, found = study.base, dict(study.arms)
    for levels in product(*(factor.levels for factor in study.matrix)):
        stages = tuple(stage for level in levels for stage in level.stages)
        found[".".join(level.name for level in levels)] = ModelFlow.model_construct(
            start=base.start, stages=(*base.stages, *stages)
        )
    return found


def compares_something(study: Study) -> Iterator[Finding]:
    """A study has arms or a matrix; a matrix needs a base."""
    if study.arms and study.matrix:
        yield Finding(f"{title(study)} has both arms and a matrix", at(study, "matrix"), "make two studies of it")
    elif not study.arms and not study.matrix and study.base is None:
        yield Finding(f"{title(study)} has nothing to compare", study.place, "write 'arms:', or 'base:' and 'matrix:'")
    elif study.matrix and study.base is None:
        yield Finding(f"the matrix of {title(study)} has no base", at(study, "matrix"), "write 'base: MODEL'")


def arm_names_are_free(study: Study) -> Iterator[Finding]:
    """Arms, factors and levels have names, and none is `base`."""
    labels = {f"arms.{name}": name for name in study.arms}
    for index, factor in enumerate(study.matrix):
        labels[f"matrix[{index}].{factor.name}"] = factor.name
        labels |= {f"matrix[{index}].{factor.name}.{level.name}": level.name for level in factor.levels}
    for path, name in labels.items():
        if name == "base":
            help = "the base is always evaluated beside the arms: take another name"
            yield Finding(f"an arm called base in {title(study)}", at(study, path, "arms", "matrix"), help)
        elif not NAME.fullmatch(name):
            yield Finding(f"'{name}' in {title(study)} is not a name", at(study, path, "arms", "matrix"), NAME_HELP)


def factors_differ(study: Study) -> Iterator[Finding]:
    """Each factor of a matrix has its own name."""
    names = [factor.name for factor in study.matrix]
    for index, name in enumerate(names):
        if name in names[:index]:
            place = at(study, f"matrix[{index}].{name}", "matrix")
            yield Finding(f"two factors of {title(study)} are called '{name}'", place, "rename one")


def arms_can_train(study: Study) -> Iterator[Finding]:
    """Stages have data, and no served model is trained."""
    if study.base is not None:
        yield from flow_can_train(study.base, study, "base")
    for name, flow in study.arms.items():
        yield from flow_can_train(flow, study, f"arms.{name}")
    for index, factor in enumerate(study.matrix):
        for level in factor.levels:
            path = f"matrix[{index}].{factor.name}.{level.name}"
            for stage in level.stages:
                yield from stage_has_data(stage, study, path)
            if level.stages and study.base is not None and study.base.start.api is not None:
                message = f"{study.base.start.name} is a served model: it can't be trained"
                yield Finding(message, at(study, "base"), "start from weights: a model with 'from:'")


def seeds_differ(study: Study) -> Iterator[Finding]:
    """A seed stands once, an eval too."""
    if not study.seeds:
        yield Finding(f"{title(study)} has no seed, so nothing would run", at(study, "seeds"), "write 'seeds: [0]'")
    for index, seed in enumerate(study.seeds):
        if seed in study.seeds[:index]:
            place = at(study, f"seeds[{index}]", "seeds")
            yield Finding(
                f"seed {seed} stands twice in {title(study)}", place, "leave one out: it would be the same run"
            )
    names = [one.eval.name for one in study.evals]
    for index, name in enumerate(names):
        if name in names[:index]:
            place = at(study, f"evals[{index}]", "evals")
            yield Finding(
                f"{name} stands twice in {title(study)}", place, "list its points together: 'NAME: [start, end]'"
            )


def stages_are_there(study: Study) -> Iterator[Finding]:
    """A point `of STAGE` names a stage that an arm has."""
    known = sorted(
        {name for flow in arms_of(study).values() for stage in flow.stages for name in _names(stage)}, key=len
    )
    for scheduled in study.evals:
        for point in scheduled.when:
            if point.of is not None and point.of not in known:
                message = f"no arm of {title(study)} has a stage '{point.of}'"
                place = at(study, f"evals.{scheduled.eval.name}", "evals")
                yield Finding(message, place, known_help(point.of, known))


def points_come(study: Study) -> Iterator[Finding]:
    """A point in steps or tokens comes in at least one arm."""
    for scheduled in study.evals:
        for point in scheduled.when:
            lengths = [length_of(stage) for stage in _timed(study, point)]
            if not isinstance(point.value, Quantity) or not lengths:
                continue
            known = [one.count for one in lengths if one is not None and one.unit == point.value.unit]
            if len(known) == len(lengths) and max(known) < point.value.count:
                longest = quantity(Quantity(max(known), point.value.unit))
                message = (
                    f"{scheduled.eval.name} is due at {quantity(point.value)}, and no arm is longer than {longest}"
                )
                yield Finding(
                    message, at(study, f"evals.{scheduled.eval.name}", "evals"), "write an earlier point, or a percent"
                )


def dose_is_of_something(study: Study) -> Iterator[Finding]:
    """`match: tokens(of=NAME)` names a factor or a stage."""
    if study.match is not None and study.match.of is not None:
        stages = {name for flow in arms_of(study).values() for stage in flow.stages for name in _names(stage)}
        known = [factor.name for factor in study.matrix] + sorted(stages)
        if study.match.of not in known:
            message = f"{title(study)} has no factor or stage '{study.match.of}'"
            yield Finding(message, at(study, "match"), known_help(study.match.of, known))


def has_log_probabilities(study: Study) -> Iterator[Finding]:
    """`choice` and `loss` need log-probabilities, which a served model doesn't give."""
    flows = {"base": study.base, **{f"arms.{name}": flow for name, flow in study.arms.items()}}
    for eval in flattened(tuple(one.eval for one in study.evals)):
        for path, flow in flows.items():
            if flow is not None and flow.start.api is not None and (eval.choice is not None or eval.loss):
                what = "choice" if eval.choice is not None else "loss"
                message = f"{eval.name} is a '{what}', and {flow.start.name} gives no log-probabilities"
                yield Finding(message, at(study, path), "measure it with a 'prompts' eval, or leave the model out")


def one_tokenizer(study: Study) -> Iterator[Finding]:
    """Losses in nats a token and doses in tokens are compared within one tokenizer."""
    said = {flow.start.name: _root(flow.start).tokenizer for flow in arms_of(study).values()}
    known = {tokenizer for tokenizer in said.values() if tokenizer is not None}
    if len(known) < 2:
        return
    losses = [one for one in flattened(tuple(one.eval for one in study.evals)) if one.loss]
    if losses or study.match is not None:
        what = f"{losses[0].name} compares" if losses else "'match' counts"
        message = f"{what} tokens of {len(known)} tokenizers in {title(study)}"
        place = at(study, "evals" if losses else "match")
        yield Finding(message, place, f"compare models with one tokenizer: {' and '.join(sorted(said))} differ")


def is_held_out(study: Study) -> Iterator[Finding]:
    """No arm trains on the rows that an eval measures."""
    evals = flattened(tuple(one.eval for one in study.evals))
    for name, flow in arms_of(study).items():
        for stage in flow.stages:
            for view in _rows(stage.data):
                for eval in evals:
                    if _measures(eval, view):
                        message = f"{name} of {title(study)} trains on {view.name}, which {eval.name} measures"
                        help = f"measure '{view.source.name}.holdout', and train on '{view.source.name}'"
                        place = at(study, f"arms.{name}", "matrix")
                        yield Finding(message, place, help if eval.loss else "train on other rows")


def _root(model: Model) -> Model:
    while isinstance(model.from_, ModelFlow) and model.tokenizer is None:
        model = model.from_.start
    return model


def _names(stage: Train) -> tuple[str, ...]:
    """What a stage may be called: as seen from the loaded file, or by its own name."""
    return (stage.name, stage.name.rpartition(".")[2])


def _timed(study: Study, point: Point) -> list[Train]:
    """The stages in which a point may come, one an arm: the one that it names, else the last."""
    found: list[Train] = []
    for flow in arms_of(study).values():
        stages = [stage for stage in flow.stages if point.of is None or point.of in _names(stage)]
        found += stages[-1:]
    return found


def _rows(data: Mix | SourceView | None) -> Iterator[SourceView]:
    """The sources that a stage reads, and those that they are made from."""
    if isinstance(data, Mix):
        for part in [*data.parts, *(part for phase in data.phases for part in phase.parts)]:
            yield from _rows(part.of)
    elif data is not None:
        yield data
        if data.source.from_ is not None:
            start = data.source.from_.start
            yield from _rows(SourceView.model_construct(source=start.source, holdout=start.holdout or data.holdout))


def _measures(eval: Eval, view: SourceView) -> bool:
    if any(_same_rows(measured, view) for measured in eval.loss):
        return True
    file = eval.choice or eval.prompts
    return file is not None and file in view.source.files


def _same_rows(measured: SourceView, view: SourceView) -> bool:
    """Whether the measured rows are among those of a view, by name and side."""
    return measured.source.name == view.source.name and measured.holdout == view.holdout
