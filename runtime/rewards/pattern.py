"""The reward of a pattern: one for an answer that it is found in, else zero."""

from __future__ import annotations

from collections.abc import Sequence

import re2

from compiler.stages import PatternReward
from runtime.rewards.answered import Answered, Worth


def matched(answers: Sequence[Answered], reward: PatternReward) -> list[Worth]:
    """Whether the RE2 pattern, which the checker has compiled before, is found anywhere in each answer."""
    pattern = re2.compile(reward.pattern)
    values = [float(pattern.search(answered.text) is not None) for answered in answers]
    return [Worth(value, {reward.name: value}) for value in values]
