"""Preference pairs from records to batches: both sides of a pair in one row, whatever it is packed with."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.batches import batch, by_segment, digest, held_by, rows_of
from runtime.data.encode import encode
from runtime.data.encoded import Encoded
from runtime.data.order import Order, make_order
from runtime.data.packed import held
from runtime.data.packing import Method, pack
from runtime.data.rows import Record, Rows, canonical_json, make_rows
from runtime.data.store import TokenStore, finish_store, open_store, store_digest, write_piece
from runtime.data.templates import chat_template
from runtime.data.tokenize import Consumer, measure, tokenize
from runtime.errors import UserError
from runtime.weights.tokenizer import ModelTokenizer
from tests.runtime.data import chat_templates
from tests.runtime.data.test_packing import order_of, place
from tests.tiny import CHATML, tiny_description

USER = {"role": "user", "content": "Why?"}


def pair(chosen: str, rejected: str, *before: dict[str, str]) -> dict[str, Any]:
    return {"messages": list(before) or [USER], "chosen": chosen, "rejected": rejected}


def rows_of_pairs(*pairs: dict[str, Any]) -> Rows:
    return make_rows(Record(text := canonical_json(each), text, "a.jsonl", line) for line, each in enumerate(pairs, 1))


def sides(encoded: Encoded, tokenizer: Any) -> list[tuple[str, str, str, str]]:
    """Of each row what is untrained and trained of the chosen, then of the rejected side, as text."""
    assert encoded.seconds is not None
    found = []
    for first, stop, second in zip(encoded.offsets[:-1], encoded.offsets[1:], encoded.seconds, strict=True):
        row = []
        for part in (slice(first, first + second), slice(first + second, stop)):
            tokens, trained = encoded.tokens[part], encoded.trained[part]
            row += [tokenizer.decode(tokens[mask].tolist(), skip_special_tokens=False) for mask in (~trained, trained)]
        found.append(tuple(row))
    return found


def test_a_row_is_the_prompt_with_each_answer_up_to_its_end_of_turn() -> None:
    tokenizer = tiny_description().tokenizer.tokenizer
    template = chat_template(CHATML, {})
    encoded = encode("preference", tokenizer, template, [pair("yes", "no, never")], "completion")
    prompt = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    assert sides(encoded, tokenizer) == [(prompt, "yes<|im_end|>", prompt, "no, never<|im_end|>")]
    assert encoded.seconds is not None
    assert encoded.longest.tolist() == [encoded.lengths[0] - encoded.seconds[0]] > encoded.seconds.tolist()
    earlier = [USER, {"role": "assistant", "content": "Because."}, USER]
    (row,) = sides(encode("preference", tokenizer, template, [pair("a", "b", *earlier)], "completion"), tokenizer)
    assert (row[1], row[3]) == ("a<|im_end|>", "b<|im_end|>")


@pytest.mark.parametrize("template", [chat_templates.LLAMA3, chat_templates.MISTRAL, chat_templates.QWEN3])
def test_templates_of_other_families(smollm2: ModelTokenizer, template: str) -> None:
    compiled = chat_template(template, {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"})
    pairs = [pair("yes", "no"), pair("two words", "a longer answer than that")]
    encoded = encode("preference", smollm2.tokenizer, compiled, pairs, "completion")
    for told, (asked, yes, asked_again, no) in zip(pairs, sides(encoded, smollm2.tokenizer), strict=True):
        assert asked == asked_again
        assert "Why?" in asked
        assert told["chosen"] in yes
        assert told["rejected"] in no
        assert yes.replace(told["chosen"], "") == no.replace(told["rejected"], "")


def test_reasoning_may_be_masked() -> None:
    tokenizer = tiny_description().tokenizer.tokenizer
    template = chat_template(CHATML, {})
    thought = pair("<think>\nhm\n</think>\n\nyes", "no")
    ((_, yes, _, no),) = sides(encode("preference", tokenizer, template, [thought], "completion", "mask"), tokenizer)
    assert (yes, no) == ("yes<|im_end|>", "no<|im_end|>")


def test_pairs_that_are_none_once_they_are_rendered(smollm2: ModelTokenizer) -> None:
    template = chat_template(chat_templates.LLAMA3, {"bos_token": ""})
    pairs = [pair("yes", "yes "), pair("a", "b"), pair("a", "<|im_end|>"), pair("<|im_end|>", "<|im_end|>!")]
    encoded = encode("preference", smollm2.tokenizer, template, pairs, "completion")
    assert encoded.kept.tolist() == [1]
    assert encoded.set_aside == {
        0: "the chat template writes its chosen and rejected answers alike",
        2: "its rejected answer: its text holds the control token <|im_end|>",
        3: "its chosen answer: its text holds the control token <|im_end|>",
    }
    answer = "{{ messages[-1].content }}"
    rewriting = chat_template("{% for message in messages %}[" + answer + "]{{ message.content }};{% endfor %}", {})
    turned = encode("preference", smollm2.tokenizer, rewriting, [pair("a", "b")], "completion")
    assert turned.set_aside == {
        0: "the chat template writes its prompt otherwise before the chosen than the rejected answer"
    }


def test_tokenizing_counts_both_sides_and_what_is_set_aside(tmp_path: Path) -> None:
    model = tiny_description().tokenizer
    pairs = [pair(f"yes {number}", f"no, not {number}") for number in range(200)]
    rows = rows_of_pairs(*pairs, pair("<|im_end|>", "no"))
    consumer = Consumer(model, "completion", {})
    tokenized = tokenize(rows, "preference", consumer, tmp_path / "store")
    measured = measure(rows, "preference", consumer)
    store = tokenized.store
    assert len(store) == 200
    assert tokenized.set_aside.counts == {"its chosen answer: its text holds the control token <|im_end|>": 1}
    assert store.lengths.tolist() == measured.tokens.tolist()
    assert store.longest.tolist() == measured.longest.tolist()
    assert (store.longest == store.lengths - store.seconds).all()
    assert store.source("pairs", "x").total("tokens") == int(store.lengths.sum())
    opened = open_store(tmp_path / "store")
    assert (opened.seconds == store.seconds).all()
    assert (opened.select(np.array([3])).seconds == store.seconds[3]).all()


def pairs_store(folder: Path, lengths: list[tuple[int, int]], salt: int = 0) -> TokenStore:
    """Pairs with sides of these lengths. Every token is another number; all but the first two of a side is trained."""
    rows = make_rows(Record(text := canonical_json([salt, number]), text, "x", 1) for number in range(len(lengths)))
    each = np.array(lengths, np.int64).reshape(-1)
    offsets = np.concatenate([[0], np.cumsum(each)])
    tokens = np.arange(offsets[-1], dtype=np.int32) + 1_000_000 * salt
    trained = np.ones(len(tokens), np.bool_)
    for first, stop in pairwise(offsets.tolist()):
        trained[first : min(first + 2, stop - 1)] = False
    roles = np.full(len(tokens), 3, np.uint8)
    kept = np.arange(len(lengths))
    encoded = Encoded(kept, offsets[::2], tokens, trained, roles, {}, seconds=each[::2])
    write_piece(folder, 0, encoded, rows.identity, rows.occurrence)
    return finish_store(folder, 1)


@given(
    st.lists(st.tuples(st.integers(2, 20), st.integers(2, 20)), min_size=1, max_size=40),
    st.integers(1, 4),
    st.integers(1, 2),
    st.sampled_from(["none", "first_fit", "best_fit"]),
)
@settings(max_examples=30, deadline=None)
def test_both_sides_of_a_pair_stand_side_by_side(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[tuple[int, int]], rows: int, epochs: int, method: Method
) -> None:
    store = pairs_store(tmp_path_factory.mktemp("store"), lengths)
    order = order_of([store], epochs)
    packing = pack(order, [store], method, 20, rows, place)
    read: list[int] = []
    names = np.arange(len(packing.lengths), dtype=np.float32) + 1
    examples = 0
    for step in range(packing.updates):
        made = batch(packing, [store], step)
        assert made.tokens.shape[1] <= 40
        assert made.trained.sum() == packing.trained_by_update[step] == held_by(packing, step).trained_tokens
        pieces = rows_of(packing, [store], step)
        for chosen, rejected in zip(pieces[::2], pieces[1::2], strict=True):
            assert (chosen.row, chosen.number) == (rejected.row, rejected.number)
            assert (chosen.begin, chosen.length) == (0, store.seconds[chosen.number])
            assert rejected.begin == chosen.length
            assert rejected.column == chosen.column + chosen.length
            segments = made.segments[chosen.row]
            odd = int(segments[chosen.column])
            assert odd % 2 == 1
            for piece, segment in ((chosen, odd), (rejected, odd + 1)):
                of = slice(piece.column, piece.column + piece.length)
                assert (segments[of] == segment).all()
                assert (made.positions[piece.row, of] == np.arange(piece.length)).all()
                start = store.starts[piece.number] + piece.begin
                assert (made.tokens[piece.row, of] == np.arange(start, start + piece.length)).all()
        read += made.tokens[made.segments > 0].tolist()
        of_segments = by_segment(packing, names, step)
        assert of_segments.shape[1] % 2 == 0
        first = int(packing.edges[step])
        assert of_segments[of_segments > 0].tolist() == (names[first : first + len(pieces)]).tolist()
        halves = [by_segment(packing, names, step, slice(*cut)) for cut in ((0, rows // 2), (rows // 2, rows))]
        assert (np.concatenate(halves) == of_segments).all()
        examples += held_by(packing, step).examples
    assert sorted(read) == sorted(list(range(int(store.lengths.sum()))) * epochs)
    assert examples == len(order) == held(packing, 1, packing.updates)[0, 0]
    assert (int(packing.split), int(packing.cut)) == (0, 0)


def test_a_side_may_be_as_long_as_the_sequence_and_no_longer(tmp_path: Path) -> None:
    store = pairs_store(tmp_path, [(5, 9), (12, 3), (4, 4)])
    assert pack(order_of([store]), [store], "best_fit", 12, 1, place).widths.tolist() == [24, 24]
    assert pack(order_of([store]), [store], "none", 12, 3, place).widths.tolist() == [16]
    for method in ("none", "first_fit", "best_fit"):
        with pytest.raises(UserError, match="a pair's longer side has 12 tokens, more than a sequence of 11") as error:
            pack(order_of([store]), [store], method, 11, 1, place)
        assert error.value.place == "source 0: row 1"


def test_where_the_second_side_begins_is_part_of_what_a_store_is(tmp_path: Path) -> None:
    one, other = pairs_store(tmp_path / "a", [(5, 9)]), pairs_store(tmp_path / "b", [(6, 8)])
    flat = one.select(np.arange(1))
    assert len({store_digest(one), store_digest(other), store_digest(flat)}) == 2
    assert store_digest(one) == store_digest(flat)


def test_amounts_count_pairs_and_the_tokens_of_both_sides(tmp_path: Path) -> None:
    from fractions import Fraction

    from dsl.values import Amount, Quantity
    from runtime.data.mixed import Mixed, Part, Phase

    stores = [pairs_store(tmp_path / "a", [(3, 4)] * 30), pairs_store(tmp_path / "b", [(10, 11)] * 30, 1)]

    def order(budget: Quantity) -> Order:
        parts = tuple(Part(number, Amount("percent", Fraction(1, 2))) for number in range(2))
        sources = [store.source(str(number), str(number)) for number, store in enumerate(stores)]
        return make_order(sources, Mixed((Phase(None, parts),), budget, Fraction(4)), None, 3)

    assert order(Quantity(Fraction(20), "examples")).used.tolist() == [10, 10]
    assert order(Quantity(Fraction(420), "tokens")).used.tolist() == [30, 10]
    made = pack(order(Quantity(Fraction(420), "tokens")), stores, "best_fit", 11, 4, place)
    assert (made.tokens, len(made.lengths)) == (420, 80)
    assert len(digest(made, stores)) == 64
