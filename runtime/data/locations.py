"""Finds the local files that a location names: a path, a folder, a pattern with `*`, `**`, `?`, `[…]` and `{a,b}`."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from runtime.data.file_formats import KINDS, kind_of
from runtime.errors import UserError

_MOST = 10_000
"""Patterns that the braces of one may stand for."""
_SHOWN = 5


def find(location: str, root: Path, *, allow_outside: bool = False) -> list[Path]:
    """The files that a path or pattern names, sorted and each once.

    A folder stands for all files below it, hidden ones (`.git`) left out; each must be of a kind that is read. So does
    a folder that a pattern finds and that is named like a file: `part.jsonl/`, as Spark writes it. Patterns don't find
    hidden files unless they say the dot. Whatever is there by the name as it stands is no pattern.

    Args:
        location: relative to `root`, or absolute.
        root: the project's folder. Links are followed, and where they lead has to be inside too.
        allow_outside: files may lie outside.

    Raises:
        UserError: nothing is found, or it is outside.
    """
    patterns = [location] if (root / location).exists() else alternatives(location)
    found = {path for pattern in patterns for path in _matches(pattern, root)}
    if not allow_outside:
        for path in sorted(found):
            if not path.resolve().is_relative_to(root.resolve()):
                raise UserError(
                    f"'{name_of(path, root)}' is outside the project, in {path.resolve().parent}",
                    "move it into the project, or say --allow-outside",
                )
    once = {path.resolve(): path for path in sorted(found, reverse=True)}  # links lead to a file by many names
    return sorted(once.values())


def name_of(path: Path, root: Path) -> str:
    """A file as people call it: relative to `root` where it lies in it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def alternatives(pattern: str) -> list[str]:
    """The patterns without braces that one with them stands for: `{a,b}/{c,d}` is four. Raises UserError."""
    done: list[str] = []
    left = [pattern]
    while left:
        each = left.pop()
        opening, closing = _innermost(each)
        if closing < 0:
            done.append(each)
            continue
        before, inside, after = each[:opening], each[opening + 1 : closing], each[closing + 1 :]
        left.extend(before + choice + after for choice in reversed(inside.split(",")))
        if len(left) + len(done) > _MOST:
            raise UserError(f"the braces of '{pattern}' stand for more than {_MOST:,} names", "write them with `*`")
    return list(dict.fromkeys(done))


def is_data(relative: str) -> bool:
    """Whether a file in a folder is one of its data, by its path in it: none that is hidden, or in a hidden folder."""
    return not any(part.startswith(".") for part in relative.split("/"))


def check_kinds(names: Iterable[str], folder: str) -> None:
    """UserError naming the first file of a folder that can't be read."""
    for name in names:
        try:
            kind_of(name)
        except UserError as error:
            raise UserError(
                f"{error.message}, and '{folder}' stands for all files in it",
                f"take it away, or say which to read: {folder.rstrip('/')}/**/*.jsonl (or {', '.join(KINDS)})",
                place=name,
            ) from error


def _innermost(pattern: str) -> tuple[int, int]:
    """Where the first pair of braces stands that has none inside; -1 twice where there is none."""
    opening = -1
    for at, character in enumerate(pattern):
        if character == "{":
            opening = at
        elif character == "}" and opening >= 0:
            return opening, at
    return -1, -1


def _matches(pattern: str, root: Path) -> list[Path]:
    path = root / pattern
    if path.is_dir():
        return _in_folder(path, root)
    if path.is_file():
        return [path]
    if not glob.has_magic(pattern):
        raise _no_match(pattern, root)
    found: list[Path] = []
    for match in glob.glob(pattern, root_dir=root, recursive=True):
        path = root / match
        if path.is_file():
            found.append(path)
        elif path.is_dir() and _is_named_like_a_file(path.name):
            found.extend(_in_folder(path, root))
    if not found:
        raise _no_match(pattern, root)
    return found


def _is_named_like_a_file(name: str) -> bool:
    try:
        kind_of(name)
    except UserError:
        return False
    return True


def _in_folder(folder: Path, root: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise error

    found = [Path(place, name) for place, _, names in os.walk(folder, onerror=refuse) for name in names]
    found = sorted(path for path in found if is_data(path.relative_to(folder).as_posix()))
    check_kinds((name_of(path, root) for path in found), name_of(folder, root))
    if not found:
        raise UserError(f"the folder '{name_of(folder, root)}' holds no file", "name another, or fill it")
    return found


def _no_match(pattern: str, root: Path) -> UserError:
    """Walks down as far as folders exist, and names what is nearest there."""
    relative = pattern.removeprefix("/")
    folder, rest = Path(root.anchor) if relative != pattern else root, list(Path(relative).parts)
    while rest and (folder / rest[0]).is_dir():
        folder = folder / rest.pop(0)
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    near = get_close_matches(rest[0], names, 1) if rest else []
    if near:
        help = f"did you mean '{near[0]}'? It is in {folder}"
    elif names:
        help = f"{folder} holds {', '.join(names[:_SHOWN])}" + (", …" if len(names) > _SHOWN else "")
    else:
        help = f"{folder} is empty" if folder.is_dir() else f"there is no folder {folder}"
    return UserError(f"no file matches '{pattern}'", help)
