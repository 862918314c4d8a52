"""The reward of an installed package: its function is given all answers at once, its results are checked."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any, cast

from compiler.stages import PlugInReward
from dsl.declarations.entry_points import Offer
from dsl.declarations.reward_plug_ins import reward_offers, version_of
from runtime.errors import UserError
from runtime.rewards.answered import Answered, Worth

_MEND = "mend its package, or name another reward"


def plugged_in(answers: Sequence[Answered], reward: PlugInReward) -> list[Worth]:
    """What the plug-in's `function(prompts, answers, fields)` gives: one finite number for each answer.

    It is called with three lists of one length: the prompts' messages, the answers' texts, and the prompts' rows
    without their messages.

    Raises:
        UserError: the plug-in isn't there, is another version than the plan was made with, fails, or gives something
            else.
    """
    offer = _offered(reward)
    prompts = [answered.record["messages"] for answered in answers]
    texts = [answered.text for answered in answers]
    fields = [{name: value for name, value in one.record.items() if name != "messages"} for one in answers]
    try:
        module, _, name = offer.target.partition(":")
        given: Any = getattr(import_module(module), name)(prompts, texts, fields)
        values: list[object] = list(given)
    except Exception as error:  # whatever the author's code raises, as a sentence
        reason = traceback.format_exception_only(error)[-1].strip()
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"{reward.plug_in} fails with {reason}",
            f"{_MEND}: it fails at {frame.filename}:{frame.lineno}",
            reward.name,
        ) from error
    if len(values) != len(answers):
        raise UserError(
            f"{reward.plug_in} gives {len(values):,} values for {len(answers):,} answers", _MEND, reward.name
        )
    return [_worth(value, answered, reward) for value, answered in zip(values, answers, strict=True)]


def _offered(reward: PlugInReward) -> Offer:
    offers = list(reward_offers().get(reward.plug_in, ()))
    if not offers:
        raise UserError(
            f"no installed package has the reward {reward.plug_in}", "install the package that has it", reward.name
        )
    if len(offers) > 1:
        packages = " and ".join(offer.package for offer in offers)
        raise UserError(f"{reward.plug_in} is a reward of {packages}", "uninstall all of them but one", reward.name)
    if (version := version_of(offers[0])) != reward.version:
        raise UserError(
            f"the plan is made with {reward.plug_in} {reward.version}, and {version} is installed here",
            "plan again, or install the same version on every machine",
            reward.name,
        )
    return offers[0]


def _worth(value: object, answered: Answered, reward: PlugInReward) -> Worth:
    try:
        number = float(cast(Any, value))  # a bool, or NumPy's numbers, are numbers too
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{reward.plug_in} gives {value!r}, which is no finite number", _MEND, answered.place)
    return Worth(number, {reward.name: number})
