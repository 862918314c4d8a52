"""Canaries: chosen once, judged anew with samples of their own, and compared with their first judgement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from compiler.evals import Judging
from compiler.operations import Asked
from runtime.evals.canary import CANARIES, Canaries, canary_file, canary_key, choose, drift, judged_again, load, save
from runtime.evals.judging import JudgedAnswer, Judgement

YES_NO = Judging(model=Asked(name="judge", api="x/y"), prompt="rubric.md", answers=("yes", "no"))
SCALE = Judging(model=Asked(name="judge", api="x/y"), prompt="rubric.md", low="0", high="10")


def answers(count: int) -> list[JudgedAnswer]:
    return [
        JudgedAnswer({"messages": [{"role": "user", "content": f"Question {number}?"}]}, f"Answer {number}", "a:1")
        for number in range(count)
    ]


def says(label: str) -> Judgement:
    return Judgement(label, None, f"ANSWER: {label}")


def scores(value: float) -> Judgement:
    return Judgement(None, value, f"ANSWER: {value}")


UNREADABLE = Judgement(None, None, "hm", "it said 'hm'")


def chosen(count: int, judgement: Judgement) -> Canaries:
    found = choose(answers(count), [judgement] * count, "key", "2026-11-20")
    assert found is not None
    return found


class Fake:
    """A judge that notes what it is asked: the number of answers and the first sample."""

    def __init__(self, judge: Callable[[JudgedAnswer, int], Judgement]) -> None:
        self.judge, self.asked = judge, list[tuple[int, int]]()

    def __call__(self, some: Sequence[JudgedAnswer], sample: int) -> list[Judgement]:
        self.asked.append((len(some), sample))
        return [self.judge(each, sample) for each in some]


def test_the_same_few_are_chosen_in_whatever_order_they_come() -> None:
    some = answers(40)
    found = choose(some, [says("yes")] * 40, "key", "2026-11-20")
    assert found is not None
    assert len(found.canaries) == CANARIES
    assert choose(some[::-1], [says("yes")] * 40, "key", "2026-11-20") == found
    other = choose(some, [says("yes")] * 40, "other", "2026-11-20")
    assert other is not None
    assert {each.text for each in other.canaries} != {each.text for each in found.canaries}


def test_what_cannot_be_read_is_no_canary() -> None:
    found = choose(answers(2), [UNREADABLE, says("no")], "key", "2026-11-20")
    assert found is not None
    assert [(each.text, each.first) for each in found.canaries] == [("Answer 1", "no")]
    assert choose(answers(2), [UNREADABLE] * 2, "key", "2026-11-20") is None


def test_a_judge_that_stays_the_same_does_not_drift() -> None:
    judge = Fake(lambda answer, sample: says("yes"))
    watched = judged_again(chosen(3, says("yes")), YES_NO, judge, "2026-11-24")
    assert drift(watched) is None
    assert judge.asked == [(3, 4)]
    again = judged_again(watched, YES_NO, judge, "2026-11-25")
    assert judge.asked == [(3, 4), (3, 8)]  # samples of its own in every run, and none of those that score answers
    assert [each.date for each in again.watches] == ["2026-11-24", "2026-11-25"]


def test_a_judge_that_changed_is_told() -> None:
    changed = ("Answer 0", "Answer 1")
    judge = Fake(lambda answer, sample: says("no" if answer.text in changed else "yes"))
    watched = judged_again(chosen(3, says("yes")), YES_NO, judge, "2026-11-24")
    assert judge.asked == [(3, 4), (2, 6)]
    assert drift(watched) == "the judge answers 2 of 3 canaries differently than on 2026-11-20"
    assert drift(judged_again(watched, YES_NO, Fake(lambda answer, sample: says("yes")), "2026-11-25")) is None


def test_a_judge_that_is_not_sure_has_not_changed() -> None:
    judge = Fake(lambda answer, sample: says("yes" if sample == 6 else "no"))
    watched = judged_again(chosen(3, says("yes")), YES_NO, judge, "2026-11-24")
    assert (watched.watches[0].changed, watched.watches[0].unsure) == (0, 3)
    assert drift(watched) is None


def test_a_judge_that_cannot_be_read_any_more_has_changed() -> None:
    watched = judged_again(chosen(3, says("yes")), YES_NO, Fake(lambda answer, sample: UNREADABLE), "2026-11-24")
    assert watched.watches[0].changed == 3


@pytest.mark.parametrize(("now", "told"), [(6.0, None), (7.5, "canaries differently than on 2026-11-20, 2.5 higher")])
def test_scores_count_as_the_same_within_a_tenth_of_the_scale(now: float, told: str | None) -> None:
    found = drift(judged_again(chosen(2, scores(5.0)), SCALE, Fake(lambda answer, sample: scores(now)), "2026-11-24"))
    assert found is None if told is None else told in (found or "")


def test_canaries_are_kept_by_judge_settings_and_prompt(tmp_path: Path) -> None:
    key = canary_key(YES_NO, ["a"])
    save(tmp_path, key, chosen(2, says("yes")))
    assert load(tmp_path, key) == chosen(2, says("yes"))
    renamed = YES_NO.model_copy(update={"prompt": "moved.md", "model": Asked(name="other", api="x/y", spend="5")})
    assert canary_key(renamed, ["a"]) == key
    warmer = YES_NO.model_copy(update={"model": Asked(name="judge", api="x/y", temperature="1")})
    others = {canary_key(YES_NO, ["b"]), canary_key(warmer, ["a"]), canary_key(SCALE, ["a"])}
    assert len(others - {key}) == 3
    canary_file(tmp_path, key).write_text("{")
    assert load(tmp_path, key) is None
