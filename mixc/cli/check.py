"""`mixc check`: every error of every file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from dsl.check import findings
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.diagnostics.render import render, to_json
from dsl.files import Parses
from dsl.folders import mix_files, why_unreadable
from dsl.resolve import load
from mixc.cli.formats import as_text, to_github, to_sarif
from mixc.cli.sets import add_set_option

FORMATS = ("text", "json", "sarif", "github")


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("check", help=__doc__, description=__doc__)
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="a .mix file, or a folder with some (hidden ones are left out)"
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to print what is found")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    add_set_option(parser)
    parser.add_argument("--allow-outside", action="store_true", help="files may lie outside the project's folder")


def run(arguments: argparse.Namespace) -> int:
    """0 where there is no error (warnings are fine), 2 where a path names nothing to check, else 1."""
    found = find_files(arguments.paths)
    if found is None:
        return 2
    files, all_readable = found
    sets = dict(arguments.sets)
    if sets and len(files) != 1:
        print("error: --set goes with one file\nhelp: check the file that has the constant alone", file=sys.stderr)
        return 2
    parses: Parses = {}
    outside = arguments.allow_outside
    diagnostics = findings([load(file, sets=sets, allow_outside=outside, parses=parses) for file in files])
    sys.stdout.write(_printed(diagnostics, arguments.format))
    return 0 if all_readable and not any(one.severity == "error" for one in diagnostics) else 1


def find_files(paths: Sequence[str]) -> tuple[list[str], bool] | None:
    """The files that paths name, folders searched, and whether all that looks like one can be read; what can't is
    printed. None where a path names nothing."""
    files: list[str] = []
    errors: list[str] = []
    is_usage = False

    def tell(severity: str, message: str) -> None:
        print(f"{severity}: {message}", file=sys.stderr)
        if severity == "error":
            errors.append(message)

    for path in paths:
        if os.path.isdir(path):
            before = len(files), len(errors)
            files += mix_files(path, tell)
            if (len(files), len(errors)) == before:
                tell("error", f"the folder {path} has no .mix file")
                is_usage = True
        elif not os.path.lexists(path):
            tell("error", f"there is no {path}")
            is_usage = True
        elif why := why_unreadable(path):
            tell("error", f"can't read {path}: {why}")
            is_usage = True
        else:
            files.append(path)
    return None if is_usage else (list(dict.fromkeys(files)), not errors)


def wants_colour(stream: Any) -> bool:
    """Colour on a terminal that has it only, and never against NO_COLOR."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _printed(diagnostics: Sequence[Diagnostic], format: str) -> str:
    match format:
        case "json":
            return as_text(to_json(diagnostics))
        case "sarif":
            return as_text(to_sarif(diagnostics))
        case "github":
            return to_github(diagnostics)
        case _:
            return render(diagnostics, colour=wants_colour(sys.stdout))
