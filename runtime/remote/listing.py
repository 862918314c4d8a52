"""Which of the files in a bucket or repository a pattern names: as on this machine, by names alone."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import PurePosixPath
from types import ModuleType
from typing import TypeAlias

from runtime.data.locations import alternatives, check_kinds, is_data
from runtime.errors import UserError

NamesBelow: TypeAlias = Callable[[str, int | None], Iterable[str]]
"""The files below a folder (`""` is all), so many levels deep (None is all)."""

INSTALL = "pip install 'mixc[remote]'"
_OF_A_MODEL = (".json", ".safetensors", ".jinja", ".model", ".txt")
"""What a folder of weights has that is read; the same weights for other frameworks may lie beside."""


def library(name: str, scheme: str) -> ModuleType:
    """A library that comes with the extra `remote`. Raises UserError where it isn't installed."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UserError(f"{scheme}:// needs the package '{package}', which isn't installed", INSTALL) from error


def chosen(location: str, pattern: str, names_below: NamesBelow) -> list[str]:
    """The files that a pattern names, sorted and each once.

    Args:
        location: as the spec writes it, for messages.
        pattern: a file, a folder (all files below it), or a pattern with `*`, `**`, `?`, `[…]` and braces.
        names_below: lists files.

    Raises UserError where it names none.
    """
    found: set[str] = set()
    for each in alternatives(pattern.strip("/")):
        names = _chosen(each, names_below)
        if not names:
            raise UserError(f"no file matches '{location}'", _help(each, names_below))
        found.update(names)
    return sorted(found)


def weights_in(location: str, path: str, names_below: NamesBelow) -> list[str]:
    """The file of a model, or the files right in a folder that hold weights, tokenizer and chat template, sorted.

    Raises UserError where there are none.
    """
    path = path.strip("/")
    if path and path in names_below(_parent(path), 1):
        return [path]
    names = [name for name in names_below(path, 1) if name.endswith(_OF_A_MODEL)]
    names = [name for name in names if not name.rpartition("/")[2].startswith("consolidated")]  # Mistral's own copy
    if not names:
        raise UserError(f"'{location}' holds no weights", "name a folder with config.json and safetensors, or a file")
    return sorted(names)


def _chosen(pattern: str, names_below: NamesBelow) -> list[str]:
    from fsspec.utils import glob_translate

    if not glob.has_magic(pattern):
        beside = names_below(_parent(pattern), 1) if pattern else ()
        if pattern in beside:
            return [pattern]
        names = sorted(name for name in names_below(pattern, None) if is_data(name.removeprefix(f"{pattern}/")))
        check_kinds(names, pattern or ".")
        return names
    matches = re.compile(glob_translate(pattern)).match
    folder = _fixed(pattern)
    levels = None if "**" in pattern else len(PurePosixPath(pattern).parts) - len(PurePosixPath(folder).parts)
    shows_hidden = pattern.startswith(".") or "/." in pattern
    names = [name for name in names_below(folder, levels) if shows_hidden or is_data(name)]
    return [name for name in names if matches(name)]


def _fixed(pattern: str) -> str:
    """The folder before the first part with a wildcard."""
    parts = PurePosixPath(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[:fixed])


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _help(pattern: str, names_below: NamesBelow) -> str:
    folder = _fixed(pattern) if glob.has_magic(pattern) else _parent(pattern)
    names = sorted(names_below(folder, 1))[:5]
    return f"'{folder or '.'}' holds {', '.join(names)}" if names else f"there is no file in '{folder or '.'}'"
