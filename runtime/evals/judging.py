"""Asks a judge about sampled answers: one of a list of labels, or a score on a scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from compiler.evals import Judging
from runtime.data.transforms.asking import shortened
from runtime.model_calls.calls import Caller
from runtime.model_calls.prompts import (
    PromptFile,
    chosen,
    how_to_choose,
    how_to_score,
    offered,
    offered_by,
    scored,
    transcript,
)
from runtime.model_calls.requests import Exchange, Request

ATTEMPTS = 2
"""How often an answer is judged until the judgement can be read. Each attempt is a sample of its own of the judge's
answers: it is stored beside the first."""


@dataclass(frozen=True)
class JudgedAnswer:
    """An answer that is judged."""

    record: Mapping[str, Any]
    """The prompt's row: `messages`, and whatever columns it has beside them."""
    text: str
    place: str
    """FILE:LINE of the row, for errors."""


@dataclass(frozen=True)
class Judgement:
    """What a judge says of an answer: a label, or a score; neither where it can't be read."""

    label: str | None
    value: float | None
    detail: str
    """The judge's words."""
    unreadable: str | None = None
    """Why there is neither."""


def judge_answers(
    answers: Sequence[JudgedAnswer], judging: Judging, prompt: str, caller: Caller, first: int = 0
) -> list[Judgement]:
    """What the judge says of each answer, in their order.

    Its prompt shows the row's columns, `prompt` (the conversation so far, as text), `answer`, `transcript` (both), and
    `answers` or `scale`.

    Args:
        prompt: the text of `judging.prompt`.
        first: the sample of the judge's answers that is asked for first; another one is another judgement.

    Raises:
        UserError: as `PromptFile` and `Caller.converse` raise it.
        Stopped: as `Caller.converse`.
    """
    assert judging.prompt is not None
    if judging.answers:
        how, given = how_to_choose(judging.answers), {"answers": list(judging.answers)}
    else:
        low, high = _scale(judging)
        how, given = how_to_score(low, high), {"scale": f"{judging.low} to {judging.high}"}
    file = PromptFile(prompt, judging.prompt, (*offered_by("prompts"), "prompt", "answer", *given))

    def exchange(answer: JudgedAnswer) -> Exchange[Judgement]:
        shown = offered(answer.record, "prompts")
        spoken = {"role": "assistant", "content": answer.text}
        whole = transcript([*answer.record["messages"], spoken])
        values = {**shown, **given, "prompt": shown["transcript"], "answer": answer.text, "transcript": whole}
        text = file.filled(values, answer.place)
        asked = text if file.says_how else f"{text}\n\n{how}"
        detail = why = ""
        for sample in range(first, first + ATTEMPTS):
            said = yield Request([{"role": "user", "content": asked}], sample=sample)
            detail = said.content
            if said.problem is None:
                label = chosen(said.content, judging.answers) if judging.answers else None
                value = None if judging.answers else scored(said.content, *_scale(judging))
                if label is not None or value is not None:
                    return Judgement(label, None if value is None else float(value), detail)
            why = said.problem or f"{caller.name} said '{shortened(said.content)}'"
        return Judgement(None, None, detail, why)

    def exchanges() -> Iterator[Exchange[Judgement]]:
        return map(exchange, answers)

    return list(caller.converse(f"judged by {caller.name}", exchanges, len(answers)))


def _scale(judging: Judging) -> tuple[Fraction, Fraction]:
    assert judging.low is not None
    assert judging.high is not None
    return Fraction(judging.low), Fraction(judging.high)
