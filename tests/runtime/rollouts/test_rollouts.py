"""From prompts to a batch: what is asked, what is written, and how answers are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler.program.policy import Advantage
from compiler.program.sampler import Continuation
from compiler.stages import GRPO, Rollout
from runtime.errors import UserError
from runtime.rewards.answered import Answered, Worth
from runtime.rollouts.asked import AskedPrompt
from runtime.rollouts.laid_out import LaidOut, laid_out, rows_part
from runtime.rollouts.rollout import questions, told_of, transcribed
from runtime.rollouts.transcripts import Judged, Transcript, read_transcripts, write_transcripts

OBJECTIVE = GRPO(
    group=2, beta="0", epsilon_low="1/5", epsilon_high="1/5", advantage="dr_grpo", iterations=1, truncated="train"
)
ROLLOUT = Rollout(temperature="7/10", top_p="1", max_tokens=4)
PROMPTS = [
    AskedPrompt((1, 2, 3), {"messages": []}, "aa", 0, "rows.jsonl:1"),
    AskedPrompt((4, 5), {"messages": []}, "bb", 0, "rows.jsonl:2"),
    AskedPrompt((4, 5), {"messages": []}, "bb", 1, "rows.jsonl:3"),
]
MADE = [
    Continuation(ids, ids[-1] == 9, np.linspace(-1, -2, len(ids), dtype=np.float32))
    for ids in ((6, 9), (6, 7, 8, 6), (9,), (7, 9), (8, 8, 8, 8), (7, 7, 9))
]


def written(values: Sequence[float | None], before: Judged = Judged()) -> tuple[list[Transcript], Judged]:  # noqa: B008
    def worth(answers: Sequence[Answered]) -> list[Worth]:
        return [
            Worth(value, {} if value is None else {"r": value}, "mumbled" if value is None else "") for value in values
        ]

    return transcribed(PROMPTS, MADE, OBJECTIVE, lambda ids: " ".join(map(str, ids)), worth, before, "spec.mix:1:1")


def test_each_answer_has_a_random_stream_of_its_own() -> None:
    asked = questions(PROMPTS, OBJECTIVE, ROLLOUT, seed=0, update=3)
    assert [each.ids for each in asked] == [prompt.tokens for prompt in PROMPTS for _ in range(2)]
    assert {(each.tokens, each.temperature, each.top_p) for each in asked} == {(4, 0.7, 1.0)}
    others = questions(PROMPTS, OBJECTIVE, ROLLOUT, seed=0, update=4), questions(PROMPTS, OBJECTIVE, ROLLOUT, 1, 3)
    assert len({each.seed for many in (asked, *others) for each in many}) == 18
    assert questions(PROMPTS, OBJECTIVE, ROLLOUT, seed=0, update=3) == asked
    assert all(0 <= each.seed < 2**64 for each in asked)


def test_answers_are_compared_within_their_group_and_an_unreadable_one_drops_it() -> None:
    found, judged = written([1.0, 0.0, 0.5, None, 2.0, 2.0])
    assert [each.advantage for each in found] == [0.5, -0.5, None, None, 0.0, 0.0]
    assert [each.dropped for each in found] == [False, False, True, True, False, False]
    assert [each.text for each in found] == ["6", "6 7 8 6", "", "7", "8 8 8 8", "7 7"]
    assert [each.finish for each in found] == ["stop", "length", "stop", "stop", "length", "stop"]
    assert judged == Judged(6, 1)
    told = told_of(found, 2)
    assert told["reward"] == pytest.approx(5 / 4)
    assert told["rewards/r"] == pytest.approx(5 / 4)
    assert told["reward_std"] == pytest.approx(np.std([1, 0], ddof=1) / 2)
    assert told["frac_reward_zero_std"] == 0.5
    assert told["groups/dropped"] == 1
    assert told["completions/clipped_ratio"] == pytest.approx(2 / 6)
    assert told["completions/mean_length"] == pytest.approx(16 / 6)


def test_all_groups_may_be_dropped() -> None:
    found, _ = written([None, 0.0, 0.5, None, 2.0, None])
    assert "reward" not in told_of(found, 2)
    made = lay_out(found)
    assert (made.denominator, made.tokens, made.trained_tokens) == (0, 0, 0)


def test_more_than_a_twentieth_unreadable_stops_and_a_few_do_not() -> None:
    nothing: list[float | None] = [None, 0.0, 0.0, 0.0, 0.0, 0.0]
    written(nothing, Judged(10, 4))  # 5 of 16: too few to be a share
    written(nothing, Judged(1000, 49))
    with pytest.raises(UserError, match=r"6 of 16 judgements can't be read(.|\n)*rows\.jsonl:1: mumbled"):
        written(nothing, Judged(10, 5))
    with pytest.raises(UserError, match="51 of 1,006 judgements"):
        written(nothing, Judged(1000, 50))


def test_transcripts_are_read_as_they_were_written(tmp_path: Path) -> None:
    found, judged = written([1.0, 0.25, 0.5, None, 2.0, 2.0])
    write_transcripts(tmp_path, 7, found, judged)
    assert read_transcripts(tmp_path, 7) == (found, judged)
    assert read_transcripts(tmp_path, 8) is None
    path = tmp_path / "rollouts" / "7.parquet"
    content = bytearray(path.read_bytes())
    for place in (len(content) // 5, len(content) // 3, len(content) - 20):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        assert read_transcripts(tmp_path, 7) in (None, (found, judged))  # never something else
    path.write_bytes(content[: len(content) // 2])
    assert read_transcripts(tmp_path, 7) is None


def lay_out(found: Sequence[Transcript], kind: Advantage = "dr_grpo", *, truncated: bool = True) -> LaidOut:
    return laid_out([each.tokens for each in PROMPTS], found, 8, 16, kind, 4, truncated=truncated)


def test_answers_stand_behind_their_prompts() -> None:
    made = lay_out(written([1.0, 0.0, 0.5, None, 2.0, 2.0])[0], "grpo")
    assert made.batch.tokens.shape == (8, 8)  # the longest has 7 tokens: two quarters of 16
    assert made.batch.tokens[:4].tolist() == [
        [1, 2, 3, 6, 9, 0, 0, 0],
        [1, 2, 3, 6, 7, 8, 6, 0],
        [4, 5, 8, 8, 8, 8, 0, 0],
        [4, 5, 7, 7, 9, 0, 0, 0],
    ]
    np.testing.assert_allclose(made.batch.weights[:2], [[0, 0, 0, 0.5, 0.5, 0, 0, 0], [0, 0, 0, *[0.25] * 4, 0]])
    assert made.batch.advantages[1].tolist() == [0, 0, 0, -0.5, -0.5, -0.5, -0.5, 0]
    np.testing.assert_allclose(made.batch.sampled[3], [0, 0, -1, -1.5, -2, 0, 0, 0])
    assert made.batch.segments[3].tolist() == [1] * 5 + [0] * 3
    assert not any(array[4:].any() for array in made.batch if array is not None)
    assert (made.tokens, made.trained_tokens, made.denominator) == (5 + 7 + 6 + 5, 2 + 4 + 4 + 3, 4)
    assert made.pairs == 15 + 28 + 21 + 15
    assert rows_part(made.batch, slice(2, 4)).tokens.shape == (2, 8)


def test_answers_that_were_cut_off_may_have_no_loss_and_count_all_the_same() -> None:
    found = written([1.0, 0.0, 0.5, 0.0, 2.0, 2.0])[0]
    made = lay_out(found, truncated=False)
    assert made.batch.weights.sum(axis=1).tolist() == [2, 0, 1, 2, 0, 3, 0, 0]
    assert made.denominator == 6 * 4
    assert lay_out(found).denominator == 6 * 4


def test_a_row_is_never_wider_than_the_sequence() -> None:
    (first, *_), _ = written([1.0, 0.0, 0.5, 0.0, 2.0, 2.0])
    long = replace(first, tokens=(6,) * 14, log_probabilities=(-1.0,) * 14, finish="length")
    made = laid_out([(1, 2, 3)], [long], 1, 17, "grpo", 14, truncated=True)
    assert made.batch.tokens.shape == (1, 17)
