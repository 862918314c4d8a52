"""A reward of a plan, applied to answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import assert_never

from compiler.operations import Asked
from compiler.stages import JudgeReward, PatternReward, PlugInReward, Reward, SumReward
from runtime.model_calls.calls import Caller
from runtime.rewards.answered import Answered, Worth
from runtime.rewards.judge import judged
from runtime.rewards.pattern import matched
from runtime.rewards.plug_in import plugged_in


def worth(
    answers: Sequence[Answered], reward: Reward, text: Callable[[str], str], caller: Callable[[Asked], Caller]
) -> list[Worth]:
    """What each answer is worth. A sum has no value where one of its judges has none.

    Args:
        text: what the file at a location says.
        caller: of a judge.

    Raises:
        UserError: a judge can't be asked, or a plug-in fails.
        Stopped: while a judge was asked.
    """
    match reward:
        case JudgeReward(model=model, prompt=prompt):
            return judged(answers, reward, text(prompt), caller(model))
        case PatternReward():
            return matched(answers, reward)
        case PlugInReward():
            return plugged_in(answers, reward)
        case SumReward(terms=terms):
            weights = [float(Fraction(weight)) for weight, _ in terms]
            each = [worth(answers, term, text, caller) for _, term in terms]
            return [_added(weights, of_answer) for of_answer in zip(*each, strict=True)]
        case _:
            assert_never(reward)


def names_of(reward: Reward) -> tuple[str, ...]:
    """What its parts that are no sums are called, in their order."""
    if isinstance(reward, SumReward):
        return tuple(dict.fromkeys(name for _, term in reward.terms for name in names_of(term)))
    return (reward.name,)


def _added(weights: Sequence[float], terms: Sequence[Worth]) -> Worth:
    found = {name: value for term in terms for name, value in term.terms.items()}
    for term in terms:
        if term.value is None:
            return Worth(None, found, term.unreadable)
    values = [term.value for term in terms if term.value is not None]
    return Worth(sum(weight * value for weight, value in zip(weights, values, strict=True)), found)
