"""Tasks of Inspect: sampled with a model of ours, and scored by their own scorers."""

from __future__ import annotations

import gc
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from rich.console import Console

from compiler.evals import InspectTask
from compiler.operations import Asked, ModelPoint
from compiler.program.config import Parameters
from compiler.program.decoder import create, parameters_of
from dsl.declarations.inspect_tasks import version_of
from runtime.errors import UserError
from runtime.evals.inspect_sampling import logs_in, sample_tasks
from runtime.evals.inspect_scoring import score_tasks
from runtime.evals.judged import Judged
from runtime.model_calls.answers import Answers
from runtime.model_calls.callers import own_caller
from runtime.model_calls.calls import Caller
from runtime.progress import Reporter
from runtime.stopping import Stopped
from tests.inspect_package import installed, put_package
from tests.tiny import tiny_description

# Inspect leaves streams of its own open.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
DESCRIPTION = tiny_description()
PLACE = "study.mix:3:1"


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return parameters_of(create(DESCRIPTION.config, 0))


@pytest.fixture(autouse=True)
def package(tmp_path: Path) -> Iterator[None]:
    with installed(put_package(tmp_path / "site")):
        yield
    gc.collect()  # so that what Inspect left open is met here


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    with Answers(tmp_path / "store", print) as opened:
        yield opened


@pytest.fixture
def caller(parameters: Parameters, answers: Answers) -> Callable[..., Caller]:
    """Makes callers of the tiny model; `loads` counts how often its weights were read."""

    def made(name: str = "arm", stop: Event | None = None, **settings: str | int) -> Caller:
        asked = Asked.model_validate(
            {"name": name, "point": ModelPoint(step="w"), "weights": "w", "max_tokens": 6, "temperature": "1"}
            | settings
        )

        def load() -> tuple[object, Parameters]:
            loads.append(name)
            return DESCRIPTION, parameters

        return own_caller(asked, answers, reporter(), stop or Event(), content="c0ffee", load=load)  # type: ignore[arg-type]

    loads: list[str] = []
    made.loads = loads  # type: ignore[attr-defined]
    return made


def reporter() -> Reporter:
    return Reporter(Console(file=io.StringIO()))


def tasks(name: str, *arguments: dict[str, str]) -> list[InspectTask]:
    version = version_of(f"ward_tasks/{name}")
    return [InspectTask(name=f"ward_tasks/{name}", version=version, args=each) for each in arguments or ({},)]


def sampled(made: list[InspectTask], caller: Caller, folder: Path, samples: int = 2, seed: int = 0) -> dict[str, int]:
    return sample_tasks(made, caller, folder, samples=samples, seed=seed, what="ask", place=PLACE)


def scored(made: list[InspectTask], folder: Path, metric: str, judge: Caller | None = None) -> list[Judged]:
    number = len(list(folder.parent.glob("score*")))
    into = folder.parent / f"score{number}"
    into.mkdir()
    return score_tasks(
        made, logs_in(folder), judge, metric, into, reporter=reporter(), what="score", place=PLACE
    )  # fmt: skip


def test_every_combination_of_arguments_is_a_cluster_of_its_samples(
    caller: Callable[..., Caller], tmp_path: Path
) -> None:
    made = tasks("asking", {"place": "ward", "night": "true", "count": "1"}, {"place": "clinic", "count": "2"})
    assert sampled(made, caller(), tmp_path / "respond") == {"items": 3, "answers": 6, "errors": 0}
    rows = scored(made, tmp_path / "respond", "mean(length)")
    assert [row.id for row in rows][::2] == [
        "s0 place=ward night=true count=1", "s0 place=clinic count=2", "s1 place=clinic count=2",
    ]  # fmt: skip
    assert [row.sample for row in rows] == [0, 1] * 3
    assert len({row.item for row in rows}) == 3
    assert [row.value for row in rows] == [len(row.answer) for row in rows]
    assert len({row.answer for row in rows}) > 3
    assert rows[0].conversation == [
        {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Question 0 in the ward by night"},
    ]  # fmt: skip
    assert {row.label for row in scored(made, tmp_path / "respond", "rate(vowel)")} <= {"vowel", "not vowel"}


def test_nothing_is_asked_twice_and_seeds_differ(
    caller: Callable[..., Caller], answers: Answers, tmp_path: Path
) -> None:
    made = tasks("asking", {"count": "1"})
    for folder in ("first", "second"):
        sampled(made, caller(), tmp_path / folder, samples=3)
    assert len(answers) == 3
    assert caller.loads == ["arm"]  # type: ignore[attr-defined]
    first, second = (scored(made, tmp_path / folder, "mean(length)") for folder in ("first", "second"))
    assert [row.answer for row in first] == [row.answer for row in second]
    sampled(made, caller(), tmp_path / "seed", samples=3, seed=1)
    assert len(answers) == 6


def test_a_judge_grades_and_another_one_samples_nothing(
    caller: Callable[..., Caller], answers: Answers, tmp_path: Path
) -> None:
    made = tasks("kindness")
    sampled(made, caller(), tmp_path / "respond", samples=2)
    assert len(answers) == 2
    rows = scored(made, tmp_path / "respond", "rate(correct)", caller("judge"))
    assert {row.label for row in rows} <= {"correct", "incorrect"}
    assert all((row.value == 1) == (row.label == "correct") == bool(row.detail.count("a") % 2) for row in rows)
    assert len(answers) == 4
    scored(made, tmp_path / "respond", "mean(score)", caller("judge"))
    assert len(answers) == 4
    with pytest.raises(UserError, match="asks a model"):
        scored(made, tmp_path / "respond", "rate(correct)")


def test_what_fails_is_unreadable_with_its_reason(caller: Callable[..., Caller], tmp_path: Path) -> None:
    made = tasks("stumbles")
    assert sampled(made, caller(), tmp_path / "respond", samples=1)["errors"] == 1
    found = {row.id: row for row in scored(made, tmp_path / "respond", "rate(correct)")}
    assert found["fine"].label == "correct"
    assert found["fine"].unreadable is None
    reasons = {name: row.unreadable for name, row in found.items() if row.unreadable}
    assert "the patient left" in (reasons["stumbles"] or "")
    assert "cannot read it" in (reasons["odd"] or "")
    assert reasons["blank"] == "grader failed"
    assert found["blank"].detail == "no verdict"
    assert all(row.label is None for name, row in found.items() if name != "fine")


def test_logs_of_both_steps_are_inspects_own(caller: Callable[..., Caller], tmp_path: Path) -> None:
    from inspect_ai.log import list_eval_logs, read_eval_log

    made = tasks("asking", {"count": "1"})
    sampled(made, caller(), tmp_path / "respond", samples=1)
    scored(made, tmp_path / "respond", "mean(length)")
    (asked,) = list_eval_logs(str(tmp_path / "respond" / "logs"))
    (with_scores,) = list_eval_logs(str(tmp_path / "score0" / "logs"))
    before, after = read_eval_log(asked), read_eval_log(with_scores)
    assert before.samples
    assert after.samples
    assert not before.samples[0].scores
    assert after.samples[0].scores
    assert before.samples[0].output.completion == after.samples[0].output.completion
    assert sum(event.event == "model" for event in before.samples[0].events) == 1


@pytest.mark.parametrize(
    ("name", "arguments", "message", "help"),
    [
        ("askin", {}, "no task 'askin'", "ward_tasks/asking"),
        ("asking", {"plac": "ward"}, "no argument 'plac'", "'place'"),
        ("asking", {"place": "garden"}, "'garden' can't be the argument 'place'", "one that it takes"),
        ("asking", {"count": "many"}, "'many' can't be", "one that it takes"),
        ("asking", {"count": "0"}, "has no samples", "arguments"),
    ],
)
def test_what_the_spec_gets_wrong(
    caller: Callable[..., Caller], tmp_path: Path, name: str, arguments: dict[str, str], message: str, help: str
) -> None:
    with pytest.raises(UserError) as raised:
        sampled(tasks(name, arguments), caller(), tmp_path / "respond")
    assert message in raised.value.message
    assert help in raised.value.help
    assert raised.value.place == PLACE


def test_a_key_that_scores_do_not_have(caller: Callable[..., Caller], tmp_path: Path) -> None:
    made = tasks("asking", {"count": "1"})
    sampled(made, caller(), tmp_path / "respond", samples=1)
    with pytest.raises(UserError, match="no 'harmful'") as raised:
        scored(made, tmp_path / "respond", "rate(harmful)")
    assert "length" in raised.value.help


def test_another_version_or_none_is_told(caller: Callable[..., Caller], tmp_path: Path) -> None:
    (made,) = tasks("asking")
    with pytest.raises(UserError, match=r"made with ward_tasks/asking 0\.9"):
        sampled([made.model_copy(update={"version": "0.9"})], caller(), tmp_path / "respond")
    nowhere = InspectTask(name="inspect_evalz/mmlu", version=version_of("inspect_evalz/mmlu"), args={})
    assert nowhere.version == ""
    with pytest.raises(UserError, match="no installed package"):
        sampled([nowhere], caller(), tmp_path / "respond")


def test_it_stops_when_asked_to(caller: Callable[..., Caller], answers: Answers, tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Stopped):
        sampled(tasks("asking", {"count": "1"}), caller(stop=stop), tmp_path / "respond")
    assert len(answers) == 0
