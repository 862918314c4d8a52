"""Weights of ours, asked through Inspect's model API."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from threading import Event

import pytest
from rich.console import Console

from compiler.operations import Asked, ModelPoint
from compiler.program.config import Parameters
from compiler.program.decoder import create, parameters_of
from compiler.program.sampler import Prompt, sample
from runtime.model_calls.answers import Answers
from runtime.model_calls.batches import ROWS, Batches
from runtime.model_calls.callers import own_caller
from runtime.model_calls.requests import Answer, Exchange, Request
from runtime.progress import Reporter
from tests.tiny import tiny_description

DESCRIPTION = tiny_description()
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return parameters_of(create(DESCRIPTION.config, 0))


def ids(text: str) -> list[int]:
    return DESCRIPTION.tokenizer.tokenizer.encode(text, add_special_tokens=False).ids


def continued(parameters: Parameters, prompts: list[Prompt]) -> list[tuple[int, ...]]:
    batches = Batches(DESCRIPTION.config, parameters, DESCRIPTION.tokenizer.stops)
    try:
        return [future.result().text_ids for future in [batches.submit(prompt) for prompt in prompts]]
    finally:
        batches.close()


def test_the_most_likely_tokens_are_those_of_one_conversation_alone(parameters: Parameters) -> None:
    texts = ["a", "hello there, who are you?", "x" * 70]
    made = continued(parameters, [Prompt(ids(text), 12, 0.0, 1.0, 0) for text in texts])
    for text, tokens in zip(texts, made, strict=True):
        alone = sample(
            DESCRIPTION.config, parameters, ids(text), tokens=12, temperature=0.0, seed=0,
            stops=DESCRIPTION.tokenizer.stops,
        )  # fmt: skip
        assert tokens == tuple(alone)


def test_an_answer_does_not_depend_on_its_neighbours(parameters: Parameters) -> None:
    prompts = [Prompt(ids(f"prompt {number}"), 4 + number, 1.0, 0.9, number) for number in range(ROWS + 3)]
    together = continued(parameters, prompts)
    assert continued(parameters, prompts[5:6]) == together[5:6]
    assert continued(parameters, prompts[::-1]) == together[::-1]
    assert len(set(together)) > 1


def test_an_answer_ends_with_the_models_context(parameters: Parameters) -> None:
    context = DESCRIPTION.config.context
    (made,) = continued(parameters, [Prompt([5] * (context - 3), 100, 0.7, 1.0, 1)])
    assert len(made) <= 3


def asked(store: Path, parameters: Parameters, requests: list[Request], **settings: str | int) -> list[Answer]:
    model = Asked.model_validate(
        {"name": "tiny", "point": ModelPoint(step="w"), "weights": "w", "max_tokens": 12, **settings}
    )
    loads: list[int] = []

    def load() -> tuple[object, Parameters]:
        loads.append(1)
        return DESCRIPTION, parameters

    def exchange(request: Request) -> Exchange[Answer]:
        answer = yield request
        return answer

    with Answers(store, print) as answers:
        caller = own_caller(
            model, answers, Reporter(Console(file=io.StringIO())), Event(), content="c0ffee", load=load  # type: ignore[arg-type]
        )  # fmt: skip
        found = list(caller.converse("ask", lambda: map(exchange, requests), len(requests)))
        again = list(caller.converse("ask", lambda: map(exchange, requests), len(requests)))
        assert found == again
        assert len(loads) == 1
    return found


def test_samples_differ_and_come_again_in_another_store(parameters: Parameters, tmp_path: Path) -> None:
    message = [{"role": "user", "content": "Who are you?"}]
    requests = [Request(message, sample=number) for number in range(6)]
    first = asked(tmp_path / "a", parameters, requests, temperature="1")
    assert len({answer.content for answer in first}) == 6
    assert all(answer.output_tokens is not None and answer.output_tokens <= 12 for answer in first)
    assert all(
        answer.input_tokens == len(ids("<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n"))
        for answer in first
    )
    second = asked(tmp_path / "b", parameters, requests[::-1], temperature="1")
    assert [answer.content for answer in second] == [answer.content for answer in first[::-1]]


def test_what_a_tiny_model_cannot_do_is_an_outcome(parameters: Parameters, tmp_path: Path) -> None:
    long = Request([{"role": "user", "content": "x" * 5000}])
    tools = Request([{"role": "user", "content": "Look."}], [TOOL])
    too_long, cut = asked(tmp_path, parameters, [long, tools], temperature="0")
    assert too_long.problem == "longer than the model reads"
    assert cut.problem in ("cut off at max_tokens", None)


def test_inspect_finds_it_by_name(parameters: Parameters) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Inspect's own
        from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model

        import runtime.model_calls.checkpoint  # noqa: F401 (registers the provider)

        async def answer() -> str:
            model = get_model(
                "mixc/tiny", config=GenerateConfig(max_tokens=4, temperature=0.0), memoize=False,
                description=DESCRIPTION, parameters=parameters, template_args={},
            )  # fmt: skip
            async with model:
                output = await model.generate([ChatMessageUser(content="hi")])
            assert output.usage is not None
            assert output.usage.output_tokens <= 4
            return str(model)

        assert asyncio.run(answer()) == "mixc/tiny"
