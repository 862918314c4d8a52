"""Choices and held-out loss of SmolLM2-135M against lm-evaluation-harness and transformers.

The reference file is by `make_choice_references.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compiler.program.branches import make_branch_log_probabilities
from compiler.program.config import Parameters
from compiler.program.step import make_log_probabilities
from runtime.evals.branches import score_branches
from runtime.evals.loss import LossItem, respond
from runtime.evals.sequences import TokenSequence
from runtime.weights import pretrained
from runtime.weights.huggingface import export
from runtime.weights.location import resolve
from tests.parity.make_choice_references import CONTEXT, FILE, PLAIN, TEXTS, pairs, references, story
from tests.parity.make_references import FOLDER, MODEL

KEPT = json.loads(FILE.read_text(encoding="utf-8"))
PAIRS = KEPT["pairs"]
CONFIG = pretrained.describe(resolve(MODEL, FOLDER)).config


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return jax.tree.map(jnp.asarray, pretrained.read_parameters(resolve(MODEL, FOLDER), CONFIG))


def _counted(tokens: list[int], first: int) -> TokenSequence:
    return TokenSequence(np.array(tokens, np.int32), np.arange(len(tokens)) >= first)


@pytest.fixture(scope="module")
def scored(parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """The log-probabilities of all continuations: from where ours begin, and from where the harness has them begin."""
    program = make_branch_log_probabilities(CONFIG)
    ours = [_counted(pair["tokens"]["all"], pair["tokens"]["first"]) for pair in PAIRS]
    theirs = [
        _counted(pair["harness"]["context"] + pair["harness"]["continuation"], len(pair["harness"]["context"]))
        for pair in PAIRS
    ]
    scores = score_branches([*ours, *theirs], lambda forest: program(parameters, forest)).log_probability
    return scores[: len(PAIRS)], scores[len(PAIRS) :]


def test_tokens_are_those_that_the_harness_was_given() -> None:
    for pair, kept in zip(pairs(), PAIRS, strict=True):
        assert (pair.tokens, pair.first) == (kept["tokens"]["all"], kept["tokens"]["first"])


def test_log_likelihoods_are_the_harness_s(scored: tuple[np.ndarray, np.ndarray]) -> None:
    ours, theirs = scored
    np.testing.assert_allclose(ours, [pair["tokens"]["value"] for pair in PAIRS], atol=1e-3, rtol=0)
    np.testing.assert_allclose(theirs, [pair["harness"]["value"] for pair in PAIRS], atol=1e-3, rtol=0)


def test_margins_of_chats_are_the_harness_s_own(scored: tuple[np.ndarray, np.ndarray]) -> None:
    chats = len(PAIRS) - len(PLAIN)
    theirs = np.array([pair["harness"]["value"] for pair in PAIRS[:chats]])
    np.testing.assert_allclose(scored[0][:chats:2] - scored[0][1:chats:2], theirs[::2] - theirs[1::2], atol=1e-3)


def test_it_is_encoded_as_the_harness_does_but_for_what_is_at_the_border() -> None:
    for pair in PAIRS:
        tokens, first = pair["tokens"]["all"], pair["tokens"]["first"]
        context, continuation = pair["harness"]["context"], pair["harness"]["continuation"]
        if context + continuation != tokens:  # the context's last token goes on in the continuation: it is cut wrongly
            assert tokens[: len(context)] != context
            assert first < len(context)
        elif pair["context"] == pair["context"].rstrip():
            assert len(context) == first
        else:  # the blanks at the end of a prompt count there
            assert len(context) <= first
    assert sum(pair["context"][-1].isspace() for pair in PAIRS) >= 4


def test_held_out_loss_is_that_of_transformers(parameters: Parameters) -> None:
    program = make_log_probabilities(CONFIG)
    items = []
    for name, length in TEXTS.items():
        tokens = story()[:length]
        assert tokens == KEPT["losses"][name]["tokens"]
        items.append(LossItem(name, np.array(tokens, np.int32), np.ones(length, np.bool_)))
    table = respond(items, CONTEXT, lambda *batch: program(parameters, *map(jnp.asarray, batch)))
    assert table["tokens"].to_pylist() == [KEPT["losses"][name]["count"] for name in TEXTS]
    np.testing.assert_allclose(table["nll"].to_numpy(), [KEPT["losses"][name]["nll"] for name in TEXTS], atol=2e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's, transformers' and the harness's own
def test_the_reference_file_still_holds(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install torch==2.13.0")
    pytest.importorskip("transformers", reason="needs transformers: pip install 'transformers==5.23.*'")
    pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness: pip install --no-deps lm_eval==0.4.13")
    path = resolve(MODEL, FOLDER)
    export(tmp_path, pretrained.describe(path), pretrained.read_parameters(path, CONFIG))
    made = references(tmp_path)
    for pair, kept in zip(made["pairs"], PAIRS, strict=True):
        for side in ("harness", "tokens"):
            assert pair[side].pop("value") == pytest.approx(kept[side]["value"], abs=1e-3)
            assert pair[side] == {name: value for name, value in kept[side].items() if name != "value"}
    for name in TEXTS:
        assert made["losses"][name]["nll"] == pytest.approx(KEPT["losses"][name]["nll"], abs=2e-3)
        assert made["losses"][name]["count"] == KEPT["losses"][name]["count"]
