"""The files that are open in an editor, with what is written in them now, and those that they import."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from dsl.check import findings
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.editor.view import View
from dsl.files import Parses, read_text
from dsl.folders import mix_files, why_unreadable
from dsl.resolve import Loaded, load

_Reads = dict[Path, str | None]
"""The text of every file that something rests on; None for one that couldn't be read."""

_MOST_FILES = 2000
"""How many `.mix` files of a project's folder are searched for a name: beyond that an answer would take too long."""


class Project:
    """Open files by their real path. What is made from a text is made once, until a file that it rests on changes."""

    def __init__(self, *, allow_outside: bool = False) -> None:
        self.allow_outside = allow_outside
        self._open: dict[Path, str] = {}
        self._disk: dict[Path, tuple[tuple[int, int], str]] = {}
        self._parses: Parses = {}
        self._loads: dict[Path, tuple[_Reads, Loaded, View | None]] = {}
        self._checked: tuple[list[Loaded], dict[Path, list[Diagnostic]]] = [], {}

    def put(self, path: Path, text: str) -> None:
        """Take `text` for what is in a file, whatever is on disk."""
        self._open[path] = text

    def drop(self, path: Path) -> None:
        """Take what is on disk for what is in a file again."""
        self._open.pop(path, None)

    def text(self, path: Path) -> str | None:
        """The text of an open file."""
        return self._open.get(path)

    def read(self, path: Path) -> str:
        """A file's text as the editor has it, else from disk. Raises OSError and UnicodeDecodeError."""
        if path in self._open:
            return self._open[path]
        if why := why_unreadable(str(path)):
            raise OSError(why)
        status = path.stat()
        stamp = status.st_mtime_ns, status.st_size
        known = self._disk.get(path)
        if known is None or known[0] != stamp:
            known = self._disk[path] = stamp, read_text(path)
        return known[1]

    def view(self, path: Path) -> View | None:
        """A file as it is now; None where it can't be read."""
        return self._load(path)[1]

    def check(self) -> dict[Path, list[Diagnostic]]:
        """All that is wrong in the open files and in what they import, by file; an empty list where all is well."""
        loads = [self._load(path)[0] for path in sorted(self._open)]
        known, found = self._checked
        if len(known) != len(loads) or any(one is not other for one, other in zip(known, loads, strict=True)):
            new: dict[Path, list[Diagnostic]] = {path: [] for path in self._open}
            for one in findings(loads):
                new.setdefault(Path(os.path.realpath(one.source.path)), []).append(one)
            self._checked = loads, new
            return new
        return found

    def views_with(self, word: str, root: Path) -> Iterator[View]:
        """The open files, and those in a project's folder, whose text has a word."""
        files = islice(mix_files(str(root), _ignored), _MOST_FILES)
        paths = dict.fromkeys([*self._open, *(Path(os.path.realpath(file)) for file in files)])
        for path in paths:
            text = self._readable(path)
            view = self.view(path) if text is not None and word in text else None
            if view is not None:
                yield view

    def _load(self, path: Path) -> tuple[Loaded, View | None]:
        known = self._loads.get(path)
        if known is None or any(self._readable(each) != text for each, text in known[0].items()):
            reads: _Reads = {}

            def read(each: Path) -> str:
                reads[each] = None
                text = reads[each] = self.read(each)
                return text

            loaded = load(path, allow_outside=self.allow_outside, read=read, parses=self._parses)
            scope = loaded.scope
            view = View(scope, loaded, self._parses[scope.path].document) if scope else None
            known = self._loads[path] = reads, loaded, view
        return known[1:]

    def _readable(self, path: Path) -> str | None:
        try:
            return self.read(path)
        except (OSError, UnicodeDecodeError):
            return None


def _ignored(severity: str, message: str) -> None:
    """A folder that can't be opened has no names to tell of."""
