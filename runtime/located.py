"""Finds what a location names, wherever it lies: on this machine, in a package, in a bucket or on a hub."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.data.locations import alternatives, find
from runtime.digests import digest_of
from runtime.errors import UserError
from runtime.weights.location import resolve

PACKAGE = "package://"


@dataclass(frozen=True)
class Located:
    """A file that was found.

    Attributes:
        name: relative to the project, package, bucket or repository that it lies in.
        shown: as people name it.
        size: in bytes.
        digest: gives its SHA-256; fetches it only where that isn't known without.
        fetch: gives its path on this machine.
    """

    name: str
    shown: str
    size: int
    digest: Callable[[], str]
    fetch: Callable[[], Path]


@dataclass(frozen=True)
class Place:
    """The files at a location, in the order of their names.

    Attributes:
        files: at least one.
        whole: gives the file on this machine that the location names, or the folder that holds all of them;
            fetched if need be.
        revision: the commit of a repository.
    """

    files: tuple[Located, ...]
    whole: Callable[[], Path]
    revision: str | None = None


def locate(location: str, root: Path, *, allow_outside: bool) -> Place:
    """The files of data or of texts at a location. Raises UserError, OSError."""
    scheme, separator, _ = location.partition("://")
    match scheme if separator else "":
        case "":
            return _local(find(location, root, allow_outside=allow_outside), root, "", root / location)
        case "package":
            return _packaged(location, root)
        case _:
            return _remote(location, of_weights=False)


def locate_weights(location: str, root: Path) -> Place:
    """The files of a model: the file, or the files in the folder, at a location. Raises UserError, OSError."""
    if not is_remote(location):
        path = resolve(location, root)
        files = [path] if path.is_file() else sorted(each for each in path.iterdir() if each.is_file())
        return _local(files, path.parent if path.is_file() else path, "", path)
    return _remote(location, of_weights=True)


_OF_TOKENIZER = frozenset(
    ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "config.json")
)


def locate_tokenizer(location: str, root: Path) -> Place:
    """What a model's tokenizer is read from: of a folder, the files beside the weights; errors as of weights."""
    place = locate_weights(location, root)
    files = tuple(file for file in place.files if Path(file.name).name in _OF_TOKENIZER)
    if not files or len(place.files) == 1:
        return place

    def whole() -> Path:
        paths = [file.fetch() for file in files]
        return paths[0].parent

    return Place(files, whole, place.revision)


def is_remote(location: str) -> bool:
    """Whether a location is on another machine."""
    return "://" in location and not location.startswith(PACKAGE)


def _remote(location: str, *, of_weights: bool) -> Place:
    from runtime.remote import hub, objects  # libraries that not everyone needs or has

    scheme = location.partition("://")[0]
    if scheme == "hf":
        return hub.locate(location, of_weights=of_weights)
    if scheme in objects.SCHEMES:
        return objects.locate(location, of_weights=of_weights)
    raise UserError(f"can't read '{location}'", "copy the files here, and name them by path")


def _packaged(location: str, root: Path) -> Place:
    name, _, inside = location.removeprefix(PACKAGE).partition("/")
    if not inside or not (glob.has_magic(inside) or "{" in inside):
        path = resolve(location, root)  # it says what is wrong with a location of one file
        if path.is_file():
            folder = path.parents[len(Path(inside).parts) - 1]
            return _local([path], folder, f"{PACKAGE}{name}/", path)
    folder = resolve(f"{PACKAGE}{name}/.", root)
    found = {path for pattern in alternatives(inside) for path in find(pattern, folder)}
    return _local(sorted(found), folder, f"{PACKAGE}{name}/", folder / inside)


def _local(paths: list[Path], base: Path, prefix: str, whole: Path) -> Place:
    def located() -> Iterator[Located]:
        for path in paths:
            name = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()
            yield Located(
                name=name,
                shown=prefix + name,
                size=path.stat().st_size,
                digest=lambda path=path: digest_of(path),
                fetch=lambda path=path: path,
            )

    return Place(tuple(located()), lambda: whole)
