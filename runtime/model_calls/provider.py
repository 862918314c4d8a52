"""What Inspect finds as the provider `mixc`: its module imports neither JAX nor weights before a model is asked for."""

from __future__ import annotations

from inspect_ai.model import ModelAPI, modelapi


@modelapi(name="mixc")
def mixc() -> type[ModelAPI]:
    """Models of studies that ran, `mixc/STUDY/ARM@STEP`."""
    from runtime.model_calls.checkpoint import CheckpointAPI

    return CheckpointAPI
