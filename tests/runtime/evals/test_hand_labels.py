"""Files of hand labels: what is read, how readers are put together, and what is told of lines that can't be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler.evals import Judging
from compiler.operations import Asked
from runtime.data.rows import Record, Rows, canonical_json, make_rows
from runtime.errors import UserError
from runtime.evals.hand_labels import HandLabels, read_hand_labels
from runtime.evals.score import item_name

YES_NO = Judging(model=Asked(name="judge", api="x/y"), prompt="rubric.md", answers=("yes", "no"))
SCALE = Judging(model=Asked(name="judge", api="x/y"), prompt="rubric.md", low="1", high="10")


def read(tmp_path: Path, *written: Any, judging: Judging = YES_NO, items: tuple[Rows, ...] = ()) -> HandLabels:
    path = tmp_path / "hand.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in written))
    return read_hand_labels(path, "hand.jsonl", judging, items)


def labelled(label: Any, answer: str = "Fine.", **more: Any) -> dict[str, Any]:
    return {"prompt": "How are you?", "answer": answer, "label": label, **more}


def test_a_prompt_is_text_or_messages_or_an_item_of_the_evaluation(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "2 + 2?"}]
    record = {"messages": messages, "id": "sum", "right": "4"}
    rows = make_rows([Record(canonical_json(record), json.dumps(record), "prompts.jsonl", 1)])
    identity = item_name(bytes(rows.identity[0]), 0)
    found = read(
        tmp_path,
        labelled("yes"),
        {"messages": messages, "answer": "4", "label": "yes"},
        {"item": "sum", "answer": "5", "label": "no"},
        {"item": identity, "answer": "6", "label": "no"},
        items=(rows,),
    )
    assert found.labelled[0].record == {"messages": [{"role": "user", "content": "How are you?"}]}
    assert [each.record for each in found.labelled[1:]] == [record] * 3  # the judge's prompt can show `right`
    assert [each.hand for each in found.labelled] == ["yes", "yes", "no", "no"]
    assert [each.place for each in found.labelled] == [f"hand.jsonl:{line}" for line in range(1, 5)]


def test_the_judge_is_shown_no_label_of_a_hand(tmp_path: Path) -> None:
    found = read(tmp_path, labelled("yes", reader="ann", note="clear", level="hard"))
    assert set(found.labelled[0].record) == {"messages", "level"}


def test_readers_are_put_together(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        *(labelled(label, "a", reader=name) for name, label in (("ann", "yes"), ("bob", "yes"), ("eve", "no"))),
        *(labelled(label, "b", reader=name) for name, label in (("ann", "yes"), ("bob", "no"))),
        labelled("no", "c", reader="ann"),
        labelled("yes", "c", reader="ann"),
    )
    assert [(each.answer, each.hand) for each in found.labelled] == [("a", "yes"), ("c", "yes")]
    assert found.divided == ("hand.jsonl:4",)
    assert found.replaced == 1
    assert found.between_readers == 0.25  # of four pairs (three of a, one of b) one agrees


def test_scores_of_readers_are_averaged(tmp_path: Path) -> None:
    one = {"prompt": "p", "answer": "a", "score": 7, "reader": "ann"}
    found = read(tmp_path, one, {**one, "score": 8.5, "reader": "bob"}, judging=SCALE)
    assert [each.hand for each in found.labelled] == [7.75]
    assert found.between_readers == 1.5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "it is not JSON"),
        ('["yes"]', "it is JSON, but not an object"),
        ({"prompt": "p", "label": "yes"}, "it has no text in `answer`"),
        ({"prompt": "p", "answer": "a"}, "it has no `label`"),
        ({"prompt": "p", "answer": "a", "score": 3}, "it has no `label`, and the judge gives no score"),
        (labelled("Yes"), "its label \"Yes\" is none of yes, no; did you mean 'yes'?"),
        (labelled(True), "its label true is none of yes, no"),
        ({"answer": "a", "label": "yes"}, "it has no prompt: `messages`, `prompt` or `item`"),
        ({"item": "sums", "answer": "a", "label": "yes"}, 'its item "sums" is no row of the evaluation\'s prompts'),
        ({"messages": [], "answer": "a", "label": "yes"}, "it has no messages"),
        ({"prompt": 3, "answer": "a", "label": "yes"}, "it has no text in `prompt`"),
        (labelled("yes", reader=3), "its `reader` is 3, not a text"),
    ],
)
def test_a_line_that_cannot_be_used_is_told(tmp_path: Path, line: Any, message: str) -> None:
    with pytest.raises(UserError) as told:
        read(tmp_path, labelled("yes"), "", line)
    assert told.value.place == "hand.jsonl:3"
    assert message in told.value.message
    assert '"label": "yes"' in told.value.help


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (11, "lies outside the scale, 1 to 10"),
        ("8", 'its score "8" is no number'),
        (True, "its score true is no number"),
    ],
)
def test_a_score_has_to_be_on_the_scale(tmp_path: Path, score: Any, message: str) -> None:
    with pytest.raises(UserError, match="the line can't be used") as told:
        read(tmp_path, {"prompt": "p", "answer": "a", "score": score}, judging=SCALE)
    assert message in told.value.message


def test_several_broken_lines_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(UserError) as told:
        read(tmp_path, *["{}"] * 7)
    assert told.value.message.count("hand.jsonl:") == 4  # beside the place of the first
    assert told.value.message.endswith("and 2 more")


def test_one_answer_with_two_labels_and_no_reader_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"hand\.jsonl:1 and hand\.jsonl:2 say 'yes' and 'no' of the same answer"):
        read(tmp_path, labelled("yes"), labelled("no"))


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no hand label in the file"):
        read(tmp_path)
