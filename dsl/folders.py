"""The `.mix` files of a folder, whatever else lies there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import Literal

_UNSEARCHED = ("node_modules", "__pycache__", "venv")

Tell = Callable[[Literal["error", "note"], str], None]


def mix_files(folder: str, tell: Tell) -> Iterator[str]:
    """The regular `.mix` files of a folder and of those inside, by name.

    What is hidden (Emacs' lock links too) and what belongs to other tools is left out without a word. `tell` takes an
    error for a folder that can't be opened and for what only looks like a file, and a note for a link to a folder,
    which isn't followed.
    """

    def closed(error: OSError) -> None:
        tell("error", f"can't open the folder {error.filename}: {reason(error)}")

    for above, folders, files in os.walk(folder, onerror=closed):
        folders[:] = sorted(one for one in folders if not one.startswith(".") and one not in _UNSEARCHED)
        for path in (os.path.join(above, one) for one in folders):
            if os.path.islink(path):
                tell("note", f"{os.path.normpath(path)} is a link to a folder, which isn't followed: name it too")
        for name in sorted(files):
            if name.startswith(".") or not name.endswith(".mix"):
                continue
            path = os.path.normpath(os.path.join(above, name))
            if why := why_unreadable(path):
                tell("error", f"can't read {path}: {why}")
            else:
                yield path


def why_unreadable(path: str) -> str | None:
    """Why nothing can be read from a path; None for a regular file, which may still not be for us to open."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return "it is a link that leads nowhere" if os.path.islink(path) else reason(error)
    return None if stat.S_ISREG(mode) else "it is no regular file"


def reason(error: OSError) -> str:
    """What the system says, without its number."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
