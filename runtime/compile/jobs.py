"""What is asked of a compiling process and what it answers, as values that travel as JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from compiler.steps import Train
from compiler.values import Frozen


class Devices(Frozen):
    """The devices to compile for (see `targets.Machine`)."""

    platform: Literal["cpu", "gpu", "tpu"]
    chip: str | None
    grid: tuple[int, ...]
    shard: dict[str, int]


class Job(Frozen):
    """One program."""

    name: str
    """As the user knows it."""
    kind: Literal["train", "scorer", "sampler"]
    config: dict[str, Any]
    """The fields of a `DecoderConfig`."""
    rows: int
    """Of the whole batch."""
    length: int
    """Tokens of a row; of a sampler, those of the prompt and the answer together."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    step: Train | None = None
    """Of a train program: the step."""
    parts: int = 0
    updates: int = 1000
    warmup: str = "0"
    decay: str = "0"
    """Fractions of the updates. Neither changes the program's size."""
    micro_batches: int = 1
    remat: Literal["none", "projections", "full"] = "projections"
    attention: Literal["auto", "xla", "splash", "pallas", "cudnn"] = "auto"
    folder: str | None = None
    """Where the program's text is to be written."""


class Buffer(Frozen):
    """One of a program's largest arrays."""

    bytes: int
    """On a device."""
    what: str
    """Its dtype and shape there."""
    source: str
    """What it holds, and the field that makes it smaller."""


class Compiled(Frozen):
    """What became of a job. All bytes are those of one device."""

    name: str
    kind: str
    kernel: str
    """Of attention."""
    notes: tuple[str, ...]
    """What isn't as it would be on the machine, or not as spread as the mesh could have it."""
    micro_batches: int
    remat: str
    rows: int
    """With those that fill the mesh."""
    idle: float
    """The share of the devices' time that goes into filled-up rows."""
    parameters_bytes: int
    optimizer_bytes: int
    frozen_bytes: int
    batch_bytes: int
    gradients_bytes: int
    arguments_bytes: int
    temporaries_bytes: int
    """Gradients, activations and work space. Of a program that the compiler refused: what it said."""
    code_bytes: int
    memory_bytes: int
    """At most in use at once."""
    refused: str | None = None
    """Why the compiler made no program, where it didn't."""
    lower_seconds: float
    compile_seconds: float
    cpu_seconds: float
    """Of lowering and compiling, on all cores."""
    largest: tuple[Buffer, ...] = ()
    shardings: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The place of every array by path: `{"shape": [...], "dtype": "float32", "spec": [null, "fsdp"]}`."""


class Failed(Frozen):
    """Why nothing could be compiled: an error of the user's."""

    message: str
    help: str
