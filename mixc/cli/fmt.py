"""`mixc fmt`: one way to write it."""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Any

from dsl.diagnostics.diagnostic import Diagnostic
from dsl.diagnostics.render import render
from dsl.files import read_text
from dsl.folders import reason
from dsl.format import format_source
from dsl.source import SourceFile, Span
from mixc.cli.check import find_files, wants_colour


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("fmt", help=__doc__, description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a .mix file, a folder with some, or - for stdin")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 where a file would change")


def run(arguments: argparse.Namespace) -> int:
    """0 where all is formatted now; 1 where a file has mistakes of form or, with --check, would change."""
    if arguments.paths == ["-"]:
        return _format_stdin(check=arguments.check)
    found = find_files(arguments.paths)
    if found is None:
        return 2
    files, all_readable = found
    return max([int(not all_readable), *(_format_file(Path(path), check=arguments.check) for path in files)])


def _format_stdin(*, check: bool) -> int:
    try:
        text = sys.stdin.read()
    except UnicodeDecodeError:
        print("error: can't read stdin: it isn't UTF-8\nhelp: save it as UTF-8", file=sys.stderr)
        return 1
    formatted = _formatted(SourceFile("<stdin>", text))
    if formatted is None:
        return 1
    if check:
        if formatted != text:
            print("would reformat <stdin>")
        return int(formatted != text)
    sys.stdout.write(formatted)
    return 0


def _format_file(path: Path, *, check: bool) -> int:
    try:
        text = read_text(path)
    except OSError as error:
        return _unread(path, error.strerror or str(error))
    except UnicodeDecodeError:
        return _unread(path, "it isn't UTF-8", "save it as UTF-8")
    formatted = _formatted(SourceFile(str(path), text))
    if formatted is None:
        return 1
    if formatted == text:
        return 0
    if check:
        print(f"would reformat {path}")
        return 1
    try:
        _replace(path, formatted)
    except PermissionError as error:
        print(f"error: can't write {path}: {reason(error)}\nhelp: {_mend(path)}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: can't write {path}: {reason(error)}", file=sys.stderr)
        return 1
    print(f"reformatted {path}")
    return 0


def _unread(path: Path, why: str, help: str | None = None) -> int:
    """Says, as `check` does, that a file can't be read."""
    one = Diagnostic("MIX0214", f"can't read '{path}': {why}", SourceFile(str(path), ""), Span(0, 0), help)
    sys.stderr.write(render([one], colour=wants_colour(sys.stderr)))
    return 1


def _formatted(source: SourceFile) -> str | None:
    """The text as it should be; None where its form is wrong, which is printed."""
    formatted, diagnostics = format_source(source)
    if any(one.severity == "error" for one in diagnostics):
        sys.stderr.write(render(diagnostics, colour=wants_colour(sys.stderr)))
        return None
    return formatted


def _replace(path: Path, text: str) -> None:
    """Write a file so that it is whole at any moment, also one behind a link, and keeps its permissions.

    Raises OSError, also for a file that is read-only: only the folder has to be writable to replace it.
    """
    target = Path(os.path.realpath(path))
    mode = target.stat().st_mode
    if not _is_writable(target):
        raise PermissionError(errno.EACCES, "it is read-only")
    beside = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        beside.write_bytes(text.encode())
        beside.chmod(mode)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _is_writable(target: Path) -> bool:
    """Whether we may write a file; for root too its mode counts, which is how someone protects it."""
    return bool(target.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)) and os.access(target, os.W_OK)


def _mend(path: Path) -> str:
    target = Path(os.path.realpath(path))
    return f"`chmod u+w {shlex.quote(str(path if not _is_writable(target) else target.parent))}`"
