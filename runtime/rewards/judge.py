"""The reward that a model gives: asked once, once more where its words can't be read, and stored either way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from compiler.stages import JudgeReward
from runtime.data.transforms.asking import shortened
from runtime.model_calls.calls import Caller
from runtime.model_calls.prompts import PromptFile, how_to_score, offered, offered_by, scored
from runtime.model_calls.requests import Exchange, Request
from runtime.rewards.answered import Answered, Worth

ATTEMPTS = 2
"""How often an answer is judged until the judgement can be read. Each attempt is a sample of its own of the judge's
answers: it is stored beside the first."""


def judged(answers: Sequence[Answered], reward: JudgeReward, prompt: str, caller: Caller) -> list[Worth]:
    """What the judge says of each answer.

    Its prompt shows the row's columns, `prompt` (the conversation so far, as text), `answer` and `scale`.

    Args:
        prompt: the text of `reward.prompt`.

    Raises:
        UserError: as `PromptFile` and `Caller.converse` raise it.
        Stopped: as `Caller.converse`.
    """
    low, high = Fraction(reward.low), Fraction(reward.high)
    names = ("answer", "prompt", "scale")
    file = PromptFile(prompt, reward.prompt, (*offered_by("prompts"), *names))

    def exchange(answered: Answered) -> Exchange[Worth]:
        shown = offered(answered.record, "prompts")
        given = {"answer": answered.text, "prompt": shown["transcript"], "scale": f"{reward.low} to {reward.high}"}
        text = file.filled({**shown, **given}, answered.place)
        asked = text if file.says_how else f"{text}\n\n{how_to_score(low, high)}"
        detail = ""
        for sample in range(ATTEMPTS):
            answer = yield Request([{"role": "user", "content": asked}], sample=sample)
            score = None if answer.problem else scored(answer.content, low, high)
            if score is not None:
                return Worth(float(score), {reward.name: float(score)})
            detail = answer.problem or f"{caller.name} said '{shortened(answer.content)}'"
        return Worth(None, {}, detail)

    def exchanges() -> Iterator[Exchange[Worth]]:
        return map(exchange, answers)

    return list(caller.converse(f"{reward.name} by {caller.name}", exchanges, len(answers)))
