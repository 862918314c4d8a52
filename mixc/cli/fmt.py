"""`mixc fmt`: one way to write it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from dsl.diagnostics.render import render
from dsl.format import format_source
from dsl.source import SourceFile
from mixc.cli.check import mix_files, wants_colour


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("fmt", help=__doc__, description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a .mix file, a folder with some, or - for stdin")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 where a file would change")


def run(arguments: argparse.Namespace) -> int:
    """0 where all is formatted now; 1 where a file has mistakes of form or, with --check, would change."""
    if arguments.paths == ["-"]:
        return _format_stdin(check=arguments.check)
    files, missing = mix_files(arguments.paths)
    for path in missing:
        print(f"error: {path} is no .mix file and no folder with one", file=sys.stderr)
    if missing:
        return 2
    return max([_format_file(Path(path), check=arguments.check) for path in files])


def _format_stdin(*, check: bool) -> int:
    try:
        text = sys.stdin.read()
    except UnicodeDecodeError as error:
        print(f"error: can't read stdin: {error}", file=sys.stderr)
        return 1
    formatted = _formatted(SourceFile("<stdin>", text))
    if formatted is None:
        return 1
    if check:
        return int(formatted != text)
    sys.stdout.write(formatted)
    return 0


def _format_file(path: Path, *, check: bool) -> int:
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        print(f"error: can't read {path}: {error}", file=sys.stderr)
        return 1
    formatted = _formatted(SourceFile(str(path), text))
    if formatted is None:
        return 1
    if formatted != text:
        print(f"{'would reformat' if check else 'reformatted'} {path}")
        if not check:
            _replace(path, formatted)
    return int(check and formatted != text)


def _formatted(source: SourceFile) -> str | None:
    """The text as it should be; None where its form is wrong, which is printed."""
    formatted, diagnostics = format_source(source)
    if any(one.severity == "error" for one in diagnostics):
        sys.stderr.write(render(diagnostics, colour=wants_colour(sys.stderr)))
        return None
    return formatted


def _replace(path: Path, text: str) -> None:
    """Write a file so that it is whole at any moment, also one behind a link, and keeps its permissions."""
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{os.getpid()}.new")
    beside.write_bytes(text.encode())
    beside.chmod(target.stat().st_mode)
    beside.replace(target)
