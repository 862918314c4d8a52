"""Files that a plan reads: found at their locations, and known by the SHA-256 of what is in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from compiler.plan import Plan
from compiler.steps import AnyStep, Read, Weights
from runtime.data.read import expand
from runtime.errors import UserError
from runtime.weights.location import resolve


@dataclass
class Files:
    """Locations looked up so far. `digests` are the SHA-256 of the files at each, in the order of their paths."""

    root: Path
    digests: dict[str, tuple[str, ...]] = field(default_factory=dict)
    found: dict[str, list[Path]] = field(default_factory=dict)

    def look_up(self, plan: Plan) -> list[UserError]:
        """Finds and hashes the files of every step; what can't be found is an error with the step's place."""
        errors: list[UserError] = []
        for step in plan.steps.values():
            for location in _locations(step):
                if location in self.digests:
                    continue
                try:
                    paths = self._find(step, location)
                    self.digests[location] = tuple(_digest(path) for path in paths)
                    self.found[location] = paths
                except UserError as error:
                    errors.append(UserError(error.message, error.help, step.place or error.place))
                except OSError as error:
                    errors.append(
                        UserError(f"{location} can't be read: {error.strerror}", "look at its permissions", step.place)
                    )
        return errors

    def _find(self, step: AnyStep, location: str) -> list[Path]:
        if isinstance(step, Weights):
            path = resolve(location, self.root)
            return [path] if path.is_file() else sorted(each for each in path.iterdir() if each.is_file())
        return expand([location], self.root)

    def paths(self, location: str) -> list[Path]:
        """The files at a location that was looked up."""
        return self.found[location]

    def model(self, location: str) -> Path:
        """The file or folder of a model."""
        return resolve(location, self.root)


def _locations(step: AnyStep) -> tuple[str, ...]:
    match step:
        case Read(files=files):
            return files
        case Weights(location=location):
            return (location,)
        case _:
            return ()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
