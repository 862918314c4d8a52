"""A policy in a train step: its answers to an update's prompts, and the batches that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from compiler.operations import Asked
from compiler.program.config import Parameters, training_flops
from compiler.program.decoder import merged, parameter_shapes
from compiler.program.policy import PolicyBatch
from compiler.program.sampler import Continuation, on_host, sample_batch
from compiler.program.step import TrainState, make_log_probabilities
from compiler.stages import GRPO
from compiler.steps import Pack, Tokenize
from runtime.data.rows import Rows
from runtime.distributed import current
from runtime.model_calls.answers import Answers
from runtime.model_calls.calls import Caller
from runtime.progress import Reporter, Tracker, Work
from runtime.rewards.answered import Answered, Worth
from runtime.rewards.rewards import worth
from runtime.rollouts.asked import AskedPrompt, asked_prompts
from runtime.rollouts.laid_out import LaidOut, laid_out, rows_part
from runtime.rollouts.rollout import questions, told_of, transcribed
from runtime.rollouts.transcripts import Judged, Transcript, read_transcripts, write_transcripts
from runtime.steps.asking import caller_of
from runtime.steps.batches import PackedRows
from runtime.steps.context import Context
from runtime.steps.data import sorted_inputs
from runtime.steps.models import parameters, part, whole
from runtime.steps.stage import Stage
from runtime.steps.transforms import rows_of
from runtime.stopping import Stopped
from runtime.train.prepared import Prepared


class PolicyBatches:
    """Batches of answers that the policy gives as it is before the update.

    What was sampled and judged for an update is written into the train step's folder first, and read from there by a
    run that goes on from before it: it trains on the same answers, and asks no judge again.

    Args:
        frozen: what the decoder is made of beside what is trained (see `Split.frozen`).
    """

    ahead = False

    def __init__(self, stage: Stage, frozen: Callable[[], Parameters]) -> None:
        context, step = stage.context, stage.step
        assert isinstance(step.objective, GRPO)
        assert step.rollout is not None
        assert step.reward is not None
        pack = context.keys.plan.steps[step.pack]
        assert isinstance(pack, Pack)
        self._stage, self._frozen = stage, frozen
        self._objective, self._rollout, self._reward = step.objective, step.rollout, step.reward
        self._sequence = pack.sequence
        self._rows = PackedRows(stage)
        self._sources = [cache(partial(_rows, context, each)) for each in sorted_inputs(context, pack)]
        self._processes = current().branch("rollouts")
        temperature = float(Fraction(step.rollout.temperature))
        program = partial(
            make_log_probabilities,
            stage.config,
            step.precision,
            execution=stage.execution,
            temperature=temperature,
        )
        self._policy = program(lora=stage.lora)
        self._plain = program()
        self._reference = cache(self._loaded_reference)

    @property
    def _folder(self) -> Path:
        return self._stage.context.store.open(self._stage.context.key(self._stage.description))

    def prepare(self, update: int, state: TrainState) -> Prepared:
        objective, stage = self._objective, self._stage
        prompts = asked_prompts(self._rows.packing, self._rows.stores, self._sources, update)
        transcripts = self._transcripts(update, state, prompts)
        rows = int(self._rows.packing.rows) * objective.group
        made = laid_out(
            [prompt.tokens for prompt in prompts],
            transcripts,
            rows,
            self._sequence,
            objective.advantage,
            self._rollout.max_tokens,
            truncated=objective.truncated == "train",
        )
        batch = rows_part(self._with_log_probabilities(made, rows, state), stage.placement.rows(rows))
        return Prepared(
            batch=batch,
            rows=rows,
            places=rows * made.batch.tokens.shape[1],
            tokens=made.tokens,
            trained_tokens=made.trained_tokens,
            denominator=made.denominator,
            flops=objective.iterations * training_flops(stage.config, made.tokens, made.pairs),
            told=told_of(transcripts, objective.group),
        )

    def places(self, update: int) -> str:
        return self._rows.places(update)

    def _transcripts(self, update: int, state: TrainState, prompts: Sequence[AskedPrompt]) -> list[Transcript]:
        """The answers of an update: as they were written, or new ones, which are written."""
        folder, processes = self._folder, self._processes
        stored = processes.told(lambda: self._stored(update, prompts) is not None)
        if not stored:
            made = self._sampled(update, state, prompts)
            if processes.first:
                write_transcripts(folder, update, *self._judged(update, prompts, made))
            processes.together()
        found = self._stored(update, prompts)
        assert found is not None
        return found

    def _stored(self, update: int, prompts: Sequence[AskedPrompt]) -> list[Transcript] | None:
        """What is written for an update, if it is of these prompts."""
        read = read_transcripts(self._folder, update)
        if read is None:
            return None
        wanted = [(each.identity, each.occurrence) for each in prompts for _ in range(self._objective.group)]
        return read[0] if [(each.identity, each.occurrence) for each in read[0]] == wanted else None

    def _sampled(self, update: int, state: TrainState, prompts: Sequence[AskedPrompt]) -> list[Continuation]:
        stage = self._stage
        tokenizer = stage.context.model(stage.step.weights).tokenizer
        return sample_batch(
            stage.config,
            self._merged(state),
            questions(prompts, self._objective, self._rollout, stage.step.sampling_seed, update),
            tokenizer.stops,
            precision=stage.step.precision,
            between=self._look_up,
        )

    def _look_up(self) -> None:
        # Of several processes, all have to sample to the end: the loop stops them together after the update.
        if self._processes.count == 1 and self._stage.context.stop.is_set():
            raise Stopped

    def _merged(self, state: TrainState) -> Parameters:
        """The whole policy as one model, an adapter merged in float32."""
        return whole(self._stage.config, self._stage.lora, state.parameters, self._frozen())

    def _judged(
        self, update: int, prompts: Sequence[AskedPrompt], made: Sequence[Continuation]
    ) -> tuple[list[Transcript], Judged]:
        context, step = self._stage.context, self._stage.step
        decode = context.model(step.weights).tokenizer.tokenizer.decode
        before = read_transcripts(self._folder, update - 1)
        with Answers(context.store.root, context.reporter.say) as answers:

            def caller(asked: Asked) -> Caller:
                return replace(caller_of(context, asked, answers), reporter=_Beside(context.reporter.console))

            def worth_of(answered: Sequence[Answered]) -> list[Worth]:
                return worth(answered, self._reward, context.text, caller)

            return transcribed(
                prompts,
                made,
                self._objective,
                lambda ids: decode(list(ids)),
                worth_of,
                Judged() if before is None else before[1],
                step.place,
            )

    def _with_log_probabilities(self, made: LaidOut, rows: int, state: TrainState) -> PolicyBatch:
        """The batch with what the policy says of it before several updates, and what the reference says."""
        batch = made.batch
        given = self._stage.placement.put((batch.tokens, batch.segments, batch.positions), rows)
        if self._objective.iterations > 1:
            old = on_host(self._policy(merged(state.parameters, self._frozen()), *given))[:rows]
            batch = batch._replace(old=cast(Any, old))
        if Fraction(self._objective.beta):
            reference = on_host(self._plain(self._reference(), *given))[:rows]
            batch = batch._replace(reference=cast(Any, reference))
        return batch

    def _loaded_reference(self) -> Parameters:
        """The stage's input: what an adapter lies on, if that is it, else a copy of its own."""
        stage, step = self._stage, self._stage.step
        if step.adapter is not None and step.base is None:
            return part(self._frozen(), parameter_shapes(stage.config))
        return stage.placement.laid_out(parameters(stage.context, step.model, step.weights, stage.placement))


class _Beside(Reporter):
    """Says what happens to calls, and draws no progress of theirs: that of the training is there already."""

    @contextmanager
    def work(self, what: str, total: int, unit: str, rate_unit: str = "tokens") -> Iterator[Tracker]:
        yield Tracker(Work(what, total, unit, rate_unit), None)


def _rows(context: Context, tokens: str) -> Rows:
    """The rows that a `tokenize` step has taken."""
    step = context.keys.plan.steps[tokens]
    assert isinstance(step, Tokenize)
    return rows_of(context, step.rows)
