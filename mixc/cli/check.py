"""`mixc check`: every error of every file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsl.check import check
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.diagnostics.render import render, to_json
from mixc.cli.formats import as_text, to_github, to_sarif

FORMATS = ("text", "json", "sarif", "github")


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("check", help=__doc__, description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a .mix file, or a folder with some")
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to print what is found")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    parser.add_argument("--allow-outside", action="store_true", help="files may lie outside the project's folder")


def run(arguments: argparse.Namespace) -> int:
    """0 where there is no error (warnings are fine), else 1."""
    files, missing = mix_files(arguments.paths)
    for path in missing:
        print(f"error: {path} is no .mix file and no folder with one", file=sys.stderr)
    if missing:
        return 2
    diagnostics = check(files, allow_outside=arguments.allow_outside)
    sys.stdout.write(_printed(diagnostics, arguments.format))
    return 1 if any(one.severity == "error" for one in diagnostics) else 0


def mix_files(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files that paths name, folders searched for `.mix` files, and the paths that name none."""
    files: list[str] = []
    missing: list[str] = []
    for path in paths:
        found = sorted(map(str, Path(path).rglob("*.mix"))) if os.path.isdir(path) else [path]
        if not found or not all(map(os.path.isfile, found)):
            missing.append(path)
        files += found
    return list(dict.fromkeys(files)), missing


def wants_colour(stream: Any) -> bool:
    """Colour on a terminal only, and never against NO_COLOR."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR")


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
