"""What a policy is asked for an update, and its answers with what they are worth, compared within each group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from compiler.program.policy import advantages_of, equal_groups
from compiler.program.sampler import Continuation, Prompt
from compiler.stages import GRPO, Rollout
from runtime.errors import UserError
from runtime.rewards.answered import Answered, Worth
from runtime.rollouts.asked import AskedPrompt, sample_seed
from runtime.rollouts.transcripts import Judged, Transcript

_MOST_UNREADABLE = 20
"""One judgement in so many may be unreadable; more stop the stage."""
_FEWEST = 100
"""Of fewer judgements, as many may be unreadable as of these: one is no share."""


def questions(
    prompts: Sequence[AskedPrompt], objective: GRPO, rollout: Rollout, seed: int, update: int
) -> list[Prompt]:
    """What the policy is asked for an update: each prompt as often as its group has answers, one after the other.

    Args:
        seed: of the stage's sampling.
    """
    return [
        Prompt(
            prompt.tokens,
            rollout.max_tokens,
            float(Fraction(rollout.temperature)),
            float(Fraction(rollout.top_p)),
            sample_seed(seed, update, number, prompt, sample),
        )
        for number, prompt in enumerate(prompts)
        for sample in range(objective.group)
    ]


def transcribed(
    prompts: Sequence[AskedPrompt],
    made: Sequence[Continuation],
    objective: GRPO,
    decode: Callable[[Sequence[int]], str],
    worth: Callable[[Sequence[Answered]], Sequence[Worth]],
    before: Judged,
    place: str,
) -> tuple[list[Transcript], Judged]:
    """The answers of an update with what they are worth, group by group.

    Args:
        made: what the policy says to `questions`.
        decode: tokens to text.
        worth: what answers are worth.
        before: judgements of the stage before this update.
        place: of the stage, for errors.

    Returns:
        The answers, and the judgements with those of this update.

    Raises:
        UserError: more than 5% of the stage's judgements can't be read.
    """
    group = objective.group
    texts = [decode(continuation.text_ids) for continuation in made]
    answers = [
        Answered(prompts[index // group].record, text, prompts[index // group].place, index % group)
        for index, text in enumerate(texts)
    ]
    worths = worth(answers)
    unreadable = [index for index, each in enumerate(worths) if each.value is None]
    judged = Judged(before.answers + len(worths), before.unreadable + len(unreadable))
    _check(judged, [(answers[index], worths[index]) for index in unreadable], place)
    values = np.array([np.nan if each.value is None else each.value for each in worths]).reshape(-1, group)
    dropped = np.any(np.isnan(values), axis=1)
    assert isinstance(dropped, np.ndarray)
    advantages = advantages_of(np.where(dropped[:, None], 0.0, values), objective.advantage).reshape(-1)
    return [
        Transcript(
            prompt=index // group,
            sample=index % group,
            identity=prompts[index // group].identity,
            occurrence=prompts[index // group].occurrence,
            place=prompts[index // group].place,
            text=texts[index],
            tokens=continuation.ids,
            log_probabilities=tuple(continuation.log_probabilities.tolist()),
            finish="stop" if continuation.stopped else "length",
            reward=worths[index].value,
            terms=worths[index].terms,
            unreadable=worths[index].unreadable,
            advantage=None if dropped[index // group] else float(advantages[index]),
            dropped=bool(dropped[index // group]),
        )
        for index, continuation in enumerate(made)
    ], judged


def told_of(transcripts: Sequence[Transcript], group: int) -> Mapping[str, float]:
    """What telemetry says of an update's answers, where trl has a name for it by that.

    Rewards are means over the answers of groups that count; so are `reward_std`, over groups, and
    `frac_reward_zero_std`, the share of groups whose rewards are all equal.
    """
    lengths = np.array([len(each.tokens) for each in transcripts])
    told = {
        "completions/mean_length": float(lengths.mean()),
        "completions/clipped_ratio": float(np.mean([each.finish == "length" for each in transcripts])),
        "groups/dropped": float(sum(each.dropped for each in transcripts) / group),
    }
    counted = [each for each in transcripts if not each.dropped]
    if not counted:
        return told
    values: NDArray[np.float64] = np.array([each.reward for each in counted], np.float64).reshape(-1, group)
    told["reward"] = float(values.mean())
    told["reward_std"] = float(values.std(axis=1, ddof=min(group - 1, 1)).mean())
    told["frac_reward_zero_std"] = float(equal_groups(values).mean())
    for name in counted[0].terms:
        told[f"rewards/{name}"] = float(np.mean([each.terms[name] for each in counted]))
    return told


def _check(judged: Judged, unreadable: Sequence[tuple[Answered, Worth]], place: str) -> None:
    if judged.unreadable * _MOST_UNREADABLE <= max(judged.answers, _FEWEST):
        return
    shown = "".join(f"\n  {answered.place}: {worth.unreadable}" for answered, worth in unreadable[:5])
    raise UserError(
        f"{judged.unreadable:,} of {judged.answers:,} judgements can't be read, though each was asked for twice; more "
        f"than 5% stops here:{shown}",
        "say in the judge's prompt how to answer, raise its `max_tokens:`, or ask a better judge",
        place,
    )
