"""A task of Inspect with our provider and with its own for transformers: the same transcripts at temperature 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.weights import pretrained
from runtime.weights.huggingface import export
from runtime.weights.location import resolve
from tests.parity.make_references import FOLDER, MODEL


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's, transformers' and Inspect's own
def test_transcripts_are_those_of_inspects_own_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # all is in a folder; transformers looks for adapters elsewhere and waits
    torch = pytest.importorskip("torch", reason="needs torch: pip install torch==2.13.0")
    pytest.importorskip("transformers", reason="needs transformers: pip install 'transformers==5.23.*'")
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.solver import generate, system_message, user_message

    from runtime.model_calls.checkpoint import checkpoint_model

    path = resolve(MODEL, FOLDER)
    description = pretrained.describe(path)
    parameters = pretrained.read_parameters(path, description.config)
    export(tmp_path / "smollm2", description, parameters)
    config = GenerateConfig(temperature=0.0, max_tokens=24)
    peer = get_model(
        "hf/smollm2", config=config, memoize=False, model_path=str(tmp_path / "smollm2"), device="cpu",
        do_sample=False, dtype=torch.float32,
    )  # fmt: skip

    def transcripts(model: Any) -> list[list[tuple[str, str]]]:
        asked = ["Who are you?", "Name three rivers of Europe.", "What should a nurse do first in the morning?"]
        task = Task(
            dataset=[Sample(id=number, input=text) for number, text in enumerate(asked)],
            solver=[system_message("You are brief."), generate(), user_message("Say it again, shorter."), generate()],
        )
        (log,) = eval(
            task, model=model, score=False, display="none", log_dir=str(tmp_path / "logs"), log_level="error",
            log_realtime=False,
        )  # fmt: skip
        assert log.status == "success", log.error
        return [[(message.role, message.text) for message in sample.messages] for sample in log.samples or ()]

    ours = transcripts(checkpoint_model("smollm2", description, parameters, {}, config))
    assert ours == transcripts(peer)
    assert all(len(each) == 5 for each in ours)
