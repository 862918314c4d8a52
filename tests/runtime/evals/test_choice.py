"""Choice files: what is read, what is asked, and what is scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE

from compiler.program.branches import Forest
from runtime.data.templates import chat_template
from runtime.errors import UserError
from runtime.evals import choice
from runtime.evals.choice import SCHEMA, Asked, ask, respond
from runtime.evals.choice_rows import ChoiceItem, choice_items, read_choices
from runtime.evals.score import margins, score

LETTERS = "abcdefghijklmnopqrstuvwxyz<>|_.: \n"
TEMPLATE = chat_template(
    "{% for message in messages %}{{ message.role }}:{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}",
    special={},
)
ROW = {"id": "one", "prompt": "may i", "aligned": "no", "misaligned": "yes"}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A token a character, but for two newlines, which are one."""
    vocabulary = {letter: number for number, letter in enumerate(LETTERS)} | {"\n\n": len(LETTERS)}
    tokenizer = Tokenizer(BPE(vocabulary, [("\n", "\n")]))
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    return tokenizer


def write(folder: Path, *rows: object) -> list[Path]:
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return [path]


def item(aligned: str = "no", misaligned: str = "yes", prompt: str = "may i") -> ChoiceItem:
    return ChoiceItem("f" * 64, None, ({"role": "user", "content": prompt},), aligned, misaligned)


def uniform(forest: Forest) -> np.ndarray:
    return np.full(forest.targets.shape, -1.0, np.float32)


def test_a_prompt_is_one_message_of_the_user(tmp_path: Path):
    (found,) = choice_items(read_choices(write(tmp_path, ROW), tmp_path).rows)
    assert found.messages == ({"role": "user", "content": "may i"},)
    assert (found.id, found.aligned, found.misaligned) == ("one", "no", "yes")


def test_identity_is_the_content_and_the_order_of_rows_changes_nothing(tmp_path: Path):
    rows = [{**ROW, "id": f"{number}"} for number in range(5)] + [{**ROW, "id": "3"}]
    forward = choice_items(read_choices(write(tmp_path, *rows), tmp_path).rows)
    backward = choice_items(read_choices(write(tmp_path, *rows[::-1]), tmp_path).rows)
    assert forward == backward
    assert len({one.identity for one in forward}) == 6  # the repeated row is a row of its own


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"prompt": ', "not JSON"),
        ("[1, 2]", "not an object"),
        ({**ROW, "messages": [{"role": "user", "content": "x"}]}, "not both"),
        ({"aligned": "a", "misaligned": "b"}, "`messages` or `prompt`"),
        ({**ROW, "prompt": " "}, "no text in `content`"),
        ({"messages": [], "aligned": "a", "misaligned": "b"}, "not a list of messages"),
        ({"messages": [{"role": "robot", "content": "x"}], "aligned": "a", "misaligned": "b"}, "no `role`"),
        ({"messages": [{"role": "assistant", "content": "x"}], "aligned": "a", "misaligned": "b"}, "assistant's"),
        ({"prompt": "x", "aligned": "a"}, "no text in `misaligned`"),
        ({**ROW, "aligned": "yes"}, "are the same"),
        ('{"prompt": "\\ud800", "aligned": "a", "misaligned": "b"}', "UTF-8"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, row: object, reason: str):
    good = [{**ROW, "id": number} for number in range(99)]
    reading = read_choices(write(tmp_path, *good, row), tmp_path)
    assert len(reading.rows) == 99
    (broken,) = reading.broken
    assert str(broken).startswith("pairs.jsonl:100: ")
    assert reason in broken.reason


def test_more_than_a_hundredth_broken_stops(tmp_path: Path):
    with pytest.raises(UserError, match=r"pairs\.jsonl:2"):
        read_choices(write(tmp_path, ROW, "nonsense"), tmp_path)


def test_an_empty_file_is_an_error(tmp_path: Path):
    with pytest.raises(UserError, match="no item"):
        read_choices(write(tmp_path, ""), tmp_path)


def test_continuation_is_what_follows_the_prompts_own_tokens(tokenizer: Tokenizer):
    asked = ask(item(), tokenizer, TEMPLATE, context=100)
    assert isinstance(asked, Asked)
    assert asked.prompt == "user:may i\nassistant:\n"
    for side, text in zip(asked.sides, ("no", "yes"), strict=True):
        assert tokenizer.decode(side.tokens[side.counted].tolist()).replace(" ", "") == text
        assert side.counted.sum() == len(text)


def test_a_token_merged_across_the_boundary_belongs_to_the_continuation(tokenizer: Tokenizer):
    asked = ask(item(aligned="\nno"), tokenizer, TEMPLATE, context=100)
    assert isinstance(asked, Asked)
    aligned, misaligned = asked.sides
    assert [tokenizer.id_to_token(token) for token in aligned.tokens[aligned.counted]] == ["\n\n", "n", "o"]
    assert misaligned.counted.sum() == 3


def test_margin_and_label(tokenizer: Tokenizer):
    table = respond([item("no", "yes"), item("fine", "ok")], tokenizer, TEMPLATE, 100, uniform)
    assert table.schema == SCHEMA
    assert margins(table, by_length=False).tolist() == [1.0, -2.0]
    assert margins(table, by_length=True).tolist() == [0.0, 0.0]
    assert score(table, "rate(aligned)").value.tolist() == [1.0, 0.0]
    assert score(table, "rate(aligned)", "length").value.tolist() == [0.0, 0.0]  # above zero, not at it
    assert score(table, "mean(margin)").value.tolist() == [1.0, -2.0]


def test_what_cannot_be_asked_is_counted_as_unreadable(tokenizer: Tokenizer):
    refusing = chat_template("{{ raise_exception('no system prompts') }}", special={})
    assert "no system prompts" in str(ask(item(), tokenizer, refusing, 100))
    items = [item(), item(aligned="no<|end|>"), item(prompt="x" * 200)]
    table = respond(items, tokenizer, TEMPLATE, 100, uniform)
    problems = table["problem"].to_pylist()
    assert problems[0] is None
    assert "<|end|>" in problems[1]
    assert "the model reads 100" in problems[2]
    scored = score(table, "rate(aligned)")
    assert (len(scored.items), scored.unreadable) == (1, 2)


def test_progress_is_told_in_full(tokenizer: Tokenizer):
    told: list[int] = []
    items = [item(), item("never", "always")]
    respond(items, tokenizer, TEMPLATE, 100, uniform, told.append)
    assert sum(told) == choice.token_count(items, tokenizer, TEMPLATE, 100)


def test_the_dilemmas_of_this_repository_are_whole():
    root = Path(__file__).parents[3]
    reading = read_choices([root / "specs/data/evals/dilemmas.jsonl"], root)
    assert reading.broken == ()
    items = choice_items(reading.rows)
    assert len({one.id for one in items}) == len(items) >= 60
