"""Files that a plan reads: found at their locations, and known by the SHA-256 of what is in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from compiler.keys import locations_of
from compiler.lock import PinnedFile, PinnedLocation
from compiler.plan import Plan
from compiler.steps import AnyStep, Weights
from runtime.errors import UserError
from runtime.located import Place, is_remote, locate, locate_tokenizer, locate_weights
from runtime.weights.location import resolve


@dataclass
class Files:
    """Locations looked up so far.

    Attributes:
        root: the project's folder; paths are relative to it.
        digests: the SHA-256 of the files at each location, in the order of their names.
        allow_outside: data may lie outside of `root`.
        pinned: what a lock keeps of each location.
        names: what files that were fetched are called.
    """

    root: Path
    digests: dict[str, tuple[str, ...]] = field(default_factory=dict)
    allow_outside: bool = False
    pinned: dict[str, PinnedLocation] = field(default_factory=dict)
    names: dict[Path, str] = field(default_factory=dict)
    _places: dict[str, Place] = field(default_factory=dict)

    def look_up(self, plan: Plan) -> list[UserError]:
        """Finds and hashes the files of every step; what can't be found is an error with the step's place."""
        errors: list[UserError] = []
        for step in plan.steps.values():
            for location in locations_of(step):
                if location in self.digests:
                    continue
                try:
                    self._look_up(location, self._locate(step, location))
                except UserError as error:
                    errors.append(UserError(error.message, error.help, step.place or error.place))
                except OSError as error:
                    errors.append(
                        UserError(f"{location} can't be read: {error.strerror}", "look at its permissions", step.place)
                    )
        return errors

    def paths(self, location: str) -> list[Path]:
        """The files at a location that was looked up, on this machine; fetched if need be.

        Raises UserError where one isn't there, or no longer what was looked up.
        """
        place = self._place(location, lambda: locate(location, self.root, allow_outside=self.allow_outside))
        paths: list[Path] = []
        for file in place.files:
            path = file.fetch()
            self.names[path] = file.shown
            paths.append(path)
        return paths

    def model(self, location: str) -> Path:
        """The file or folder of a model, fetched if need be; errors as in `paths`, for what is elsewhere."""
        if not is_remote(location):
            return resolve(location, self.root)
        return self._place(location, lambda: locate_weights(location, self.root)).whole()

    def tokenizer(self, location: str) -> Path:
        """The file or folder that a tokenizer is read from; otherwise as `model`."""
        if not is_remote(location):
            return resolve(location, self.root)
        return self._place(location, lambda: locate_tokenizer(location, self.root)).whole()

    def _place(self, location: str, find: Callable[[], Place]) -> Place:
        if location not in self._places:  # a plan of another day
            place = find()
            if self.digests.get(location) != tuple(file.digest() for file in place.files):
                raise UserError(
                    f"{location} is no longer what this ran with",
                    "put back what it was, or name the revision that it was: hf://ORGANISATION/NAME@COMMIT",
                )
            self._places[location] = place
        return self._places[location]

    def _locate(self, step: AnyStep, location: str) -> Place:
        if isinstance(step, Weights) and location == step.location:
            return locate_weights(location, self.root)
        if isinstance(step, Weights) and location == step.tokenizer:
            return locate_tokenizer(location, self.root)
        return locate(location, self.root, allow_outside=self.allow_outside)

    def _look_up(self, location: str, place: Place) -> None:
        digests = tuple(file.digest() for file in place.files)
        pinned = (
            PinnedFile(name=file.name, sha256=digest, bytes=file.size)
            for file, digest in zip(place.files, digests, strict=True)
        )
        self.digests[location] = digests
        self.pinned[location] = PinnedLocation(files=tuple(pinned), revision=place.revision)
        self._places[location] = place
