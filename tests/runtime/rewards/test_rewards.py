"""What answers are worth: by pattern, plug-in, judge and sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from compiler.operations import Asked
from compiler.stages import JudgeReward, PatternReward, PlugInReward, Reward, SumReward
from dsl.declarations.reward_plug_ins import forget, reward_offers, version_of
from runtime.errors import UserError
from runtime.model_calls.calls import Caller
from runtime.rewards.answered import Answered, Worth
from runtime.rewards.rewards import names_of, worth
from tests.plug_ins import installed
from tests.runtime.model_calls.asking import ASKED, calling
from tests.runtime.model_calls.conftest import server as server
from tests.runtime.model_calls.server import Body, Server

PROMPT = "Score {{ answer }} as an answer to {{ prompt }}; right is {{ right }}."


def answered(*texts: str) -> list[Answered]:
    record = {"messages": [{"role": "user", "content": "2 + 2?"}], "right": "four"}
    return [Answered(record, text, "rows.jsonl:1", sample) for sample, text in enumerate(texts)]


def no_caller(asked: Asked) -> Caller:
    raise AssertionError(f"nobody is asked, and {asked.name} was")


def plain(answers: Sequence[Answered], reward: Reward) -> list[float | None]:
    return [each.value for each in worth(answers, reward, str, no_caller)]


def test_a_pattern_is_found_anywhere() -> None:
    assert plain(answered("It is 4.", "It is 5.", ""), PatternReward(name="right", pattern=r"\b4\b")) == [1.0, 0.0, 0.0]


def test_a_sum_weighs_its_terms() -> None:
    right, short = PatternReward(name="right", pattern="4"), PatternReward(name="short", pattern="^.{0,3}$")
    inner = SumReward(name="inner", terms=(("2", short),))
    reward = SumReward(name="both", terms=(("1", right), ("-1/2", inner)))
    found = worth(answered("4", "It is 4.", "5"), reward, str, no_caller)
    assert [each.value for each in found] == [0.0, 1.0, -1.0]
    assert found[0].terms == {"right": 1.0, "short": 1.0}
    assert names_of(reward) == ("right", "short")


CODE = """\
def exact(prompts, answers, fields):
    assert [prompt[-1]["content"] for prompt in prompts] == ["2 + 2?"] * len(answers)
    return [answer == field["right"] for answer, field in zip(answers, fields)]

def few(prompts, answers, fields):
    return [1.0]

def endless(prompts, answers, fields):
    return [float("inf") for _ in answers]

def failing(prompts, answers, fields):
    return [fields[0]["wrong"] for _ in answers]
"""


@pytest.fixture
def package(tmp_path: Path) -> Iterator[None]:
    """A package with rewards, as an installer leaves it."""
    metadata = tmp_path / "mixc_sums-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mixc-sums\nVersion: 1.0\n")
    words = ("exact", "few", "endless", "failing")
    lines = ["[mixc.rewards]", *(f"{word} = mixc_sums:{word}" for word in words), ""]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    (tmp_path / "mixc_sums.py").write_text(CODE)
    with installed(tmp_path):
        forget()
        yield
    forget()


def plug_in(word: str) -> PlugInReward:
    return PlugInReward(name="sums", plug_in=word, version=version_of(reward_offers()[word][0]))


def test_a_plug_in_sees_prompts_answers_and_fields(package: None) -> None:
    assert plain(answered("four", "five"), plug_in("exact")) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("few", "few gives 1 values for 2 answers"),
        ("endless", "endless gives inf, which is no finite number"),
        ("failing", "failing fails with KeyError: 'wrong'"),
    ],
)
def test_what_a_plug_in_does_wrong_is_told(package: None, word: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        plain(answered("four", "five"), plug_in(word))
    assert told.value.help


def test_another_version_of_a_plug_in_is_refused(package: None) -> None:
    stale = plug_in("exact").model_copy(update={"version": "0.9+0"})
    with pytest.raises(UserError, match=r"made with exact 0\.9\+0"):
        plain(answered("four"), stale)
    missing = plug_in("exact").model_copy(update={"plug_in": "other"})
    with pytest.raises(UserError, match="no installed package has the reward other"):
        plain(answered("four"), missing)


def judge(prompt: str = PROMPT) -> tuple[JudgeReward, str]:
    return JudgeReward(name="quality", model=ASKED, prompt="rubric.md", low="0", high="10"), prompt


def judged(store: Path, answers: Sequence[Answered], prompt: str = PROMPT) -> list[Worth]:
    reward, text = judge(prompt)
    with calling(store) as caller:
        return worth(answers, reward, lambda location: text, lambda asked: caller)


def test_a_judge_is_shown_the_row_and_asked_once(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: "I think so.\nANSWER: 7"
    first = judged(tmp_path, answered("four", "five"))
    assert first == [Worth(7.0, {"quality": 7.0})] * 2
    asked = [body["messages"][-1]["content"] for body in server.seen]
    assert sorted(text.split("\n\n")[0] for text in asked) == [
        "Score five as an answer to User: 2 + 2?; right is four.",
        "Score four as an answer to User: 2 + 2?; right is four.",
    ]
    assert all("a number from 0 to 10" in text for text in asked)
    assert judged(tmp_path, answered("four", "five")) == first
    assert len(server.seen) == 2


def test_what_cannot_be_read_is_asked_again_and_then_given_up(server: Server, tmp_path: Path) -> None:
    def answer(body: Body, count: int) -> str:
        text = body["messages"][-1]["content"]
        return "ANSWER: 3" if "four" in text.split(" as an answer")[0] and count == 1 else "Hard to say."

    server.answer = answer
    found = judged(tmp_path, answered("four", "five"))
    assert [each.value for each in found] == [3.0, None]
    assert found[1].unreadable == "writer said 'Hard to say.'"
    assert len(server.seen) == 4
    assert judged(tmp_path, answered("four", "five")) == found  # neither is asked again
    assert len(server.seen) == 4


def test_a_sum_has_no_value_where_a_judge_has_none(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, count: "Hard to say."
    reward, text = judge()
    both = SumReward(name="both", terms=(("1", PatternReward(name="right", pattern="four")), ("1", reward)))
    with calling(tmp_path) as caller:
        (found,) = worth(answered("four"), both, lambda location: text, lambda asked: caller)
    assert found.value is None
    assert found.terms == {"right": 1.0}
    assert found.unreadable


def test_a_prompt_that_asks_for_a_field_that_is_not_there_is_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"asks for something that rows\.jsonl:1 lacks"):
        judged(tmp_path, answered("four"), "{{ answer }} {{ wrong }}")
