"""Rules for stages of training and rewards."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from dsl.checks.finding import Finding, at, given, is_given, item_place, key_place, says, title
from dsl.checks.formats import PLURAL, formats_of
from dsl.declarations.base import Declaration
from dsl.declarations.data import Mix
from dsl.declarations.models import ModelFlow
from dsl.declarations.optimizers import SGD, WSD, GroupSettings
from dsl.declarations.training import DPO, GRPO, Reward, Supervised, Train
from dsl.describe import alternatives
from dsl.hole import known
from dsl.values import Amount, Quantity

FEWEST_UPDATES = 20
_PER_UPDATE = ("batch", "objective", "packing")
TAKES = {Supervised: ("documents", "chat"), DPO: ("preference",), GRPO: ("prompts",)}
"""The formats of records that an objective is defined for."""

ANSWERS = ("assistant", "completion")
"""The losses that say what dpo and grpo are about anyway."""

BATCH_UNITS = {Supervised: ("tokens", "examples"), DPO: ("tokens", "examples"), GRPO: ("prompts",)}


def objective_fits_data(train: Train) -> Iterator[Finding]:
    """Preferences are for dpo, prompts for grpo, documents and chats for supervised training."""
    if train.data is None:
        return
    takes = TAKES[train.objective.__class__]
    for found, view in formats_of(train.data):
        if found not in takes:
            word = train.objective.__class__.__name__.lower()
            message = (
                f"{word} in {title(train)} is for {alternatives(_plural(takes))}, and {view.name} has {PLURAL[found]}"
            )
            yield Finding(message, at(train, "data", "objective"), f"train on {alternatives(_plural(takes))}")
            return


def loss_fits_data(train: Train) -> Iterator[Finding]:
    """Only chats have an assistant."""
    if train.data is None or not isinstance(train.objective, Supervised) or train.loss in ("all", None):
        return
    for found, view in formats_of(train.data):
        if found == "documents":
            message = f"'loss: {train.loss}' in {title(train)}, and {view.name} has documents"
            yield Finding(message, at(train, "data", "loss"), "write 'loss: all', or train on chats")
            return


def settings_have_effect(train: Train) -> Iterator[Finding]:
    """Nothing is silently ignored: each setting means something for the objective and the records."""
    word = train.objective.__class__.__name__.lower()
    if not isinstance(train.objective, Supervised) and train.loss not in (None, *ANSWERS):
        message = f"'loss: {train.loss}' does nothing in {title(train)}: {word} is about answers"
        yield Finding(message, at(train, "loss", "objective"), "leave 'loss' out")
    yield from _effects_of_settings(train)
    if isinstance(train.objective, GRPO) and train.packing != "none":
        message = f"'packing' does nothing in {title(train)}: the answers of grpo are written as it trains"
        yield Finding(message, at(train, "packing", "objective"), "leave 'packing' out")
    found = [] if train.data is None else [format for format, _ in formats_of(train.data)]
    if train.reasoning == "mask" and found and all(format == "documents" for format in found):
        message = f"'reasoning' does nothing in {title(train)}: documents have no reasoning apart"
        yield Finding(message, at(train, "reasoning", "data"), "leave 'reasoning' out, or train on chats")
    if train.overlong == "cut" and not isinstance(train.objective, Supervised):
        message = f"'overlong' does nothing in {title(train)}: {word} trains on no documents"
        yield Finding(message, at(train, "overlong", "objective"), "leave 'overlong' out")
    elif train.overlong == "cut" and found and all(format != "documents" for format in found):
        message = f"'overlong' does nothing in {title(train)}: {PLURAL[found[0]]} longer than a row are an error"
        help = "leave 'overlong' out; 'truncate' in the source's 'apply' cuts its rows"
        yield Finding(message, at(train, "overlong", "data"), help)


def _effects_of_settings(train: Train) -> Iterator[Finding]:
    """The same of what is optimised and how."""
    if isinstance(train.objective, GRPO) and train.reasoning == "mask":
        message = f"'reasoning' does nothing in {title(train)}: grpo trains on answers as they are sampled"
        yield Finding(message, at(train, "reasoning", "objective"), "leave 'reasoning' out")
    if isinstance(train.optimizer, SGD) and train.optimizer.nesterov and not train.optimizer.momentum:
        message = f"'nesterov' does nothing in {title(train)}: there is no momentum to look ahead with"
        yield Finding(message, at(train, "optimizer.nesterov", "optimizer"), "write 'momentum=0.9', or leave it out")
    if train.groups and known(train.adapter) is not None:
        message = f"'groups' does nothing in {title(train)}: its adapters are trained, and all else is frozen"
        yield Finding(message, at(train, "groups", "adapter"), "leave 'groups' out")
        return
    for index, group in enumerate(train.groups):
        settings = group.settings
        if isinstance(settings, GroupSettings) and known(settings.lr) is None and known(settings.weight_decay) is None:
            message = f"the group '{group.paths}' of {title(train)} has nothing of its own"
            help = "write '{lr: 10%}', '{weight_decay: 0}' or 'frozen'"
            yield Finding(message, key_place(train, f"groups[{index}]", "groups"), help)


def rollouts_are_scored(train: Train) -> Iterator[Finding]:
    """GRPO needs a reward and how to sample; nothing else takes them."""
    fields = given(train, ("reward", "rollout"))
    if isinstance(train.objective, GRPO):
        for field in [field for field in ("reward", "rollout") if field not in fields]:
            message = f"grpo in {title(train)} has no '{field}'"
            help = (
                "name a reward" if field == "reward" else "write 'rollout: sampling(temperature=1.0, max_tokens=1024)'"
            )
            yield Finding(message, at(train, "objective"), help)
    else:
        for field in fields:
            yield Finding(f"only grpo takes '{field}'", at(train, field), f"leave '{field}' out of {title(train)}")


def batch_fits_objective(train: Train) -> Iterator[Finding]:
    """Rollouts are counted in prompts, everything else in tokens or examples."""
    units = BATCH_UNITS[train.objective.__class__]
    if train.batch.unit not in units:
        word = train.objective.__class__.__name__.lower()
        message = f"a batch of {word} is counted in {alternatives(units)}, not {train.batch.unit}"
        yield Finding(message, at(train, "batch", "objective"), f"write 'batch: 64 {units[-1]}'")


def warmup_ends(train: Train) -> Iterator[Finding]:
    """The warm-up is over before the stage is."""
    length, warmup = length_of(train), train.schedule.warmup
    if not says(train, "schedule", *length_fields(train)):
        return
    if isinstance(warmup, Quantity):
        if length and length.unit == warmup.unit and warmup.count >= length.count:
            message = f"the warm-up of {title(train)} lasts {quantity(warmup)}, and the stage {quantity(length)}"
            place = at(train, "schedule.warmup", "schedule", *length_fields(train))
            yield Finding(message, place, "shorten it, or write a percent: 'warmup=3%'")
    elif warmup >= 1:
        yield Finding(
            f"the warm-up of {title(train)} is all of it", at(train, "schedule.warmup", "schedule"), "write 'warmup=3%'"
        )
    if isinstance(train.schedule, WSD):
        yield from _decay_fits(train, train.schedule, length)


def _decay_fits(train: Train, schedule: WSD, length: Quantity | None) -> Iterator[Finding]:
    """Warm-up and decay are no longer than the stage, both together."""
    shares = [_share(each, length) for each in (schedule.warmup, schedule.decay)]
    place = at(train, "schedule.decay", "schedule", *length_fields(train))
    if shares[1] == 0:
        message = f"the learning rate of {title(train)} never falls"
        yield Finding(message, place, "write 'decay=10%', or 'schedule: constant' for one that stays")
    elif None not in shares and sum(share or 0 for share in shares) > 1 and (shares[0] or 0) < 1:
        message = f"the warm-up and the decay of {title(train)} are longer than it is"
        yield Finding(message, place, "shorten one of them: 'wsd(warmup=3%, decay=10%)'")


def _share(part: Fraction | Quantity, length: Quantity | None) -> Fraction | None:
    """A part of a stage as a share of its length, where the text tells it."""
    if isinstance(part, Fraction):
        return part
    return part.count / length.count if length and length.unit == part.unit else None


def points_come(train: Train) -> Iterator[Finding]:
    """`until` and every `checkpoint` come before the stage's end."""
    length = length_of(train)
    if not says(train, "until", "checkpoint", *length_fields(train)):
        return
    if (
        isinstance(train.until, Quantity)
        and length
        and length.unit == train.until.unit
        and train.until.count > length.count
    ):
        message = f"'until' of {title(train)} is at {quantity(train.until)}, and the stage ends at {quantity(length)}"
        yield Finding(message, at(train, "until", *length_fields(train)), "write an earlier point")
    for point in train.checkpoint:
        if (
            isinstance(point.value, Quantity)
            and length
            and length.unit == point.value.unit
            and point.value.count > length.count
        ):
            late, end = quantity(point.value), quantity(length)
            message = f"a checkpoint of {title(train)} is at {late}, and the stage ends at {end}"
            place = at(train, "checkpoint", *length_fields(train))
            yield Finding(message, place, "write an earlier point, or a percent")


def length_is_said(train: Train) -> Iterator[Finding]:
    """An epoch of a mix is its budget; shares alone have none."""
    if not isinstance(train.data, Mix) or (train.for_ is not None and train.for_.unit != "epochs"):
        return
    if shares := _without_length(train.data):
        what = f"{quantity(train.for_)} of {train.data.name}" if train.for_ else f"a pass over {train.data.name}"
        whose = "which has shares alone" if shares is train.data else f"and mix {shares.name} in it has shares alone"
        message = f"{title(train)} is as long as {what}, {whose}"
        help = f"write 'budget:' in mix {shares.name}, or 'for:' in tokens, examples or steps"
        yield Finding(message, at(train, "for", "data"), help)


def _without_length(mix: Mix) -> Mix | None:
    """The mix of shares alone, this one or one in it, because of which an epoch has no length."""
    if mix.budget is not None:
        return None
    parts = [*mix.parts, *(part for phase in mix.phases for part in phase.parts)]
    if len(parts) > 1 and not any(part.amount and part.amount.kind in ("quantity", "all") for part in parts):
        return mix
    whole = [part.of for part in parts if _is_passes(part.amount, is_only=len(parts) == 1)]
    inner = (_without_length(one) for one in whole if isinstance(one, Mix))
    return next((one for one in inner if one is not None), None)


def _is_passes(amount: Amount | None, *, is_only: bool) -> bool:
    """Whether an amount is counted in passes over a part; a share is, where there is no other part."""
    if amount is not None and isinstance(amount.value, Quantity):
        return amount.value.unit == "epochs"
    return is_only or (amount is not None and amount.kind == "all")


def enough_updates(train: Train) -> Iterator[Finding]:
    """Fewer than 20 updates train nothing that can be told from noise."""
    updates = updates_in(train, length_of(train))
    if updates is not None and updates < FEWEST_UPDATES and says(train, *length_fields(train), *_PER_UPDATE):
        message = f"{title(train)} makes {_count(updates)}"
        yield Finding(
            message,
            at(train, *length_fields(train), "batch"),
            f"train longer or lower the batch: at least {FEWEST_UPDATES} updates",
        )


def enough_updates_until(train: Train) -> Iterator[Finding]:
    """The same of a branch that `until` cuts off."""
    length = length_of(train)
    until = train.until
    if isinstance(until, Fraction):
        until = Quantity(length.count * until, length.unit) if length else None
    updates, whole = updates_in(train, until), updates_in(train, length)
    is_long = whole is None or whole >= FEWEST_UPDATES
    if updates and updates < FEWEST_UPDATES and is_long and says(train, "until", *length_fields(train), *_PER_UPDATE):
        message = f"{title(train)} makes {_count(updates)} until there"
        yield Finding(message, at(train, "until"), f"branch off later: at least {FEWEST_UPDATES} updates tell more")


def suffix_is_meant(train: Train) -> Iterator[Finding]:
    """`64k` is 64000; where a power of two is usual, that may not be meant."""
    for field in ("sequence", "batch"):
        place = at(train, field)
        number = place.source.text[place.span.start : place.span.end].split(" ")[0]
        if (
            field in train.places
            and number[:-1].isdigit()
            and number[-1:] == "k"
            and _is_power_of_two(int(number[:-1]))
        ):
            message = f"'{number}' is {int(number[:-1])}000"
            yield Finding(
                message, place, f"write '{number[:-1]}Ki' for {int(number[:-1]) * 1024}, or '{number[:-1]}000'"
            )


def flow_can_train(flow: ModelFlow, owner: Declaration, path: str) -> Iterator[Finding]:
    """What a flow trains has weights, and each of its stages has data."""
    if known(flow.start.api) is not None and flow.stages:
        message = f"{flow.start.name} is a served model: it can't be trained"
        place = item_place(at(owner, path), flow.start.name.rpartition(".")[2])
        yield Finding(message, place, "start from weights: a model with 'from:'")
    for stage in flow.stages:
        yield from stage_has_data(stage, owner, path)


def stage_has_data(stage: Train, owner: Declaration, path: str) -> Iterator[Finding]:
    if stage.data is None:
        word = stage.name.rpartition(".")[2]
        message = f"{title(stage)} has no data in {title(owner)}"
        yield Finding(message, item_place(at(owner, path), word), f"write '{word}(data=NAME)', a mix or a source")


def one_measure(reward: Reward) -> Iterator[Finding]:
    """A reward comes from a judge, a check or a sum; a judge needs a prompt and a scale."""
    ways = ("judge", "verify", "sum")
    found = given(reward, ways)
    if len(found) != 1:
        message = f"{title(reward)} has {' and '.join(found) or 'nothing that scores'}"
        yield Finding(message, at(reward, *found[1:]), f"write one of {alternatives(ways)}")
    for field in ("prompt", "scale"):
        if is_given(reward, field) != is_given(reward, "judge") and len(found) == 1:
            missing = is_given(reward, "judge")
            message = (
                f"the judge of {title(reward)} has no '{field}'"
                if missing
                else f"'{field}' in {title(reward)} is for a judge"
            )
            yield Finding(
                message, at(reward, "judge" if missing else field), f"write '{field}:'" if missing else "leave it out"
            )


def _plural(formats: tuple[str, ...]) -> list[str]:
    return [PLURAL[one] for one in formats]


def length_fields(train: Train) -> tuple[str, ...]:
    """The fields that say how long a stage is."""
    return ("data",) if train.for_ is None else ("for",)


def length_of(train: Train) -> Quantity | None:
    """How long a stage is, as far as the text tells: its `for`, else the budget of its mix."""
    if train.for_ is not None:
        return train.for_
    return train.data.budget if isinstance(train.data, Mix) else None


def updates_in(train: Train, length: Quantity | None) -> int | None:
    """How many updates a length makes; None where that needs the data."""
    if length is None:
        return None
    if length.unit == "steps":
        return int(length.count)
    if isinstance(train.objective, GRPO) and length.unit == "completions":
        length = Quantity(length.count / train.objective.group, "prompts")
    if length.unit == train.batch.unit and train.batch.count and (length.unit != "tokens" or train.packing != "none"):
        return -int(-length.count // train.batch.count)
    return None


def quantity(value: Quantity) -> str:
    return f"{float(value.count):g} {value.unit}" if value.count.denominator > 1 else f"{int(value.count)} {value.unit}"


def _count(updates: int) -> str:
    return f"{updates} update{'s' * (updates != 1)}"


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
