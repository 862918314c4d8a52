"""The reference files still hold: torch and transformers, asked again through our own export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runtime.weights import pretrained
from runtime.weights.huggingface import export
from runtime.weights.location import resolve
from tests.parity.make_references import FOLDER, MODEL, references


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's and transformers' own
def test_the_reference_files_still_hold(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install torch==2.13.0")
    pytest.importorskip("transformers", reason="needs transformers: pip install 'transformers==5.23.*'")
    path = resolve(MODEL, FOLDER)
    description = pretrained.describe(path)
    export(tmp_path, description, pretrained.read_parameters(path, description.config))
    made = references(tmp_path)
    kept = json.loads((FOLDER / "tokens.json").read_text(encoding="utf-8"))
    assert made.tokens == {name: kept[name] for name in made.tokens}
    numbers = np.load(FOLDER / "numbers.npz")
    for name, value in made.numbers.items():
        np.testing.assert_allclose(value, numbers[name], atol=1e-3, rtol=1e-3, err_msg=name)
