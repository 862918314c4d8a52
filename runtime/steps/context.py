"""What a running step can ask for: the plan, the results before it, models, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

from compiler.keys import Keys
from compiler.steps import Weights
from compiler.values import ModelPoint, Moment
from runtime.data.engine import Engine
from runtime.data.lines import text_of_file
from runtime.errors import UserError
from runtime.files import Files
from runtime.progress import Reporter
from runtime.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compiler.program.config import DecoderConfig, Parameters, Precision
    from compiler.program.optimizer import Optimizer
    from compiler.program.step import TrainStep
    from runtime.evals.score import Scored
    from runtime.weights.description import ModelDescription


@dataclass(frozen=True)
class Running:
    """How train steps are run: what changes their speed, and their results to rounding only. In no key."""

    shard: Mapping[str, int] = field(default_factory=dict[str, int])
    """Axes of the mesh and their sizes; empty for all devices that are here."""
    micro_batch: tuple[int, Literal["examples", "tokens"]] | None = None
    """How much of a batch is computed at once; None for all."""
    remat: Literal["none", "projections", "full"] = "projections"
    """What is computed again for the backward pass (see `compiler.program.execution.Remat`)."""
    kernel: Literal["xla", "splash", "pallas", "cudnn"] | None = None
    """Of attention; None for what suits the devices."""


@dataclass
class Context:
    """One run of a plan. `root` is the folder that the plan's locations are relative to."""

    root: Path
    store: Store
    reporter: Reporter
    keys: Keys
    files: Files
    stop: Event = field(default_factory=Event)
    running: Running = field(default_factory=Running)
    engine: Engine | None = None
    """Where the work of data is done; None is wherever on this machine it is done soonest."""
    descriptions: dict[str, ModelDescription] = field(default_factory=dict)
    compiled: dict[tuple[str, DecoderConfig, Precision], Callable[..., Any]] = field(default_factory=dict)
    """Forward passes compiled so far, by what they take."""
    programs: dict[tuple[object, ...], tuple[Optimizer, TrainStep]] = field(default_factory=dict)
    """Train steps compiled so far, by all that they are made of."""
    embedded: dict[tuple[str, int], NDArray[np.float32]] = field(default_factory=dict)
    """Rows that distances were measured with so far: their embeddings by the key of their step and their number."""
    loaded: tuple[str, Parameters] | None = None
    """The parameters read last, by the content of the model: evaluations of one model come one after the other."""
    scores: dict[str, Scored] = field(default_factory=dict[str, "Scored"])
    """Scores that stops were judged by so far, by key."""
    judged: dict[str, str] = field(default_factory=dict[str, str])
    """What stops were judged by where they held, else "", by arm and moment."""
    watched: set[str] = field(default_factory=set)
    """Served judges whose canaries this run has asked, by `evals.canary.canary_key`."""

    def key(self, description: str) -> str:
        """The key of a step whose inputs are known."""
        key = self.keys.of(description, self.files.digests)
        assert key is not None, f"{self.keys.plan.steps[description].kind} step before its inputs"
        return key

    def update(self, train: str, moment: Moment) -> int:
        """The update of a train step at which a moment fires."""
        update = self.keys.update(train, moment)
        assert update is not None
        return update

    def weights_folder(self, model: ModelPoint) -> Path:
        """Where the weights of a trained model lie."""
        return self.folder(model.step) / "weights" / str(self.update(model.step, model.at))

    def folder(self, description: str) -> Path:
        """Where the results of a done step lie."""
        return self.store.folder(self.key(description))

    def paths(self, locations: Iterable[str]) -> list[Path]:
        """The files at locations of a step, on this machine."""
        return [path for location in locations for path in self.files.paths(location)]

    def text(self, location: str) -> str:
        """What the one file at a location says. UserError where it isn't one file of text."""
        paths = self.files.paths(location)
        if len(paths) != 1:
            raise UserError(f"{location} names {len(paths)} files", "name one file")
        return text_of_file(paths[0], location)

    def model(self, weights: str) -> ModelDescription:
        """Configuration and tokenizer of a `weights` step."""
        from compiler.program.config import DecoderConfig
        from runtime.weights import pretrained
        from runtime.weights.description import ModelDescription, check_vocabulary

        if weights not in self.descriptions:
            step = self.keys.plan.steps[weights]
            assert isinstance(step, Weights)
            tokenizer = None
            if step.tokenizer is not None:
                tokenizer = pretrained.describe_tokenizer(self.files.tokenizer(step.tokenizer))
            if step.architecture is None:
                described = pretrained.describe(self.weights_path(weights))
                described = described if tokenizer is None else replace(described, tokenizer=tokenizer)
            else:
                assert tokenizer is not None, "the checker reports a model from scratch without a tokenizer"
                described = ModelDescription(DecoderConfig(**step.architecture), tokenizer)
            if tokenizer is not None:
                check_vocabulary(described, step.place)
            if step.template is not None:
                tokenizer = replace(described.tokenizer, chat_template=self.text(step.template))
                described = replace(described, tokenizer=tokenizer)
            self.descriptions[weights] = described
        return self.descriptions[weights]

    def weights_path(self, weights: str) -> Path:
        step = self.keys.plan.steps[weights]
        assert isinstance(step, Weights)
        assert step.location is not None
        return self.files.model(step.location)
