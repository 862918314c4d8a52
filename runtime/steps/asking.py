"""Runs a transform that asks a model: its prompts, the caller, and where answers are kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, assert_never, cast

from compiler import operations
from compiler.operations import Asked, ModelMade
from compiler.steps import Transform, Weights
from runtime.data.encode import encode_documents
from runtime.data.rows import Format, Rows
from runtime.data.tokenize import Consumer
from runtime.data.transforms.outcome import Outcome
from runtime.steps.context import Context

if TYPE_CHECKING:
    from compiler.program.config import Parameters
    from runtime.model_calls.answers import Answers
    from runtime.model_calls.calls import Caller
    from runtime.weights.description import ModelDescription


def ask(
    context: Context, step: Transform, operation: ModelMade, rows: Rows, consumer: Consumer | None, path: Path
) -> Outcome:
    """The rows that a model makes. Raises UserError, and Stopped when asked to stop; answers so far are stored."""
    from runtime.data.transforms.generate import generate_rows
    from runtime.data.transforms.judge import judge_rows, score_rows
    from runtime.data.transforms.rewrite import rewrite_rows
    from runtime.data.transforms.sample import sample_rows
    from runtime.model_calls.answers import Answers

    format = cast(Format, step.format)
    with Answers(context.store.root, context.reporter.say) as answers:
        caller = caller_of(context, operation.model, answers)
        match operation:
            case operations.Sample():
                return sample_rows(rows, operation, caller, path)
            case operations.Judge(prompt=prompt):
                return judge_rows(rows, format, operation, context.text(prompt), caller, path)
            case operations.Score(prompt=prompt):
                return score_rows(rows, format, operation, context.text(prompt), caller, path)
            case operations.Rewrite(prompt=prompt):
                return rewrite_rows(rows, format, operation, context.text(prompt), caller, path)
            case operations.Generate(plan=plan, prompt=prompt):
                planned = None if plan is None else context.text(plan)
                lengths = None if consumer is None else partial(_lengths, consumer)
                return generate_rows(rows, operation, planned, context.text(prompt), caller, path, lengths)
            case _:
                assert_never(operation)


def caller_of(context: Context, asked: Asked, answers: Answers, *, keep: bool = False) -> Caller:
    """Who asks a model of a plan. With `keep` weights of ours are left on the devices, for who asks them next."""
    from runtime.model_calls.callers import own_caller, served_caller

    if asked.point is None:
        return served_caller(asked, answers, context.reporter, context.stop)
    point, weights = asked.point, asked.weights
    assert weights is not None

    def load() -> tuple[ModelDescription, Parameters]:
        from runtime.steps.log_probabilities import loaded
        from runtime.steps.models import parameters

        if keep:
            return context.model(weights), loaded(context, point, weights)[1]
        return context.model(weights), parameters(context, point, weights)

    step = context.keys.plan.steps[point.step]
    if isinstance(step, Weights):
        content = context.keys.results[point.step].content
    else:
        content = f"{context.key(point.step)}@{context.update(point.step, point.at)}"
    return own_caller(asked, answers, context.reporter, context.stop, content=content, load=load)


def _lengths(consumer: Consumer, texts: Sequence[str]) -> list[int]:
    """Tokens of each text as the consumer reads it."""
    assert consumer.model.eos is not None
    return encode_documents(consumer.model.tokenizer, texts, consumer.model.eos).lengths.tolist()
