"""`mixc explain`: what a diagnostic means, why it matters, and what to write instead."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from dsl.describe import known_help
from dsl.diagnostics.pages import codes, read_page
from mixc.cli.formats import as_text


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("explain", help=__doc__, description=__doc__)
    parser.add_argument("code", metavar="CODE", help="as printed with an error: MIX0203")
    parser.add_argument("--json", action="store_true", help="the sections as JSON")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """0, or 1 where there is no such code."""
    code = arguments.code.upper()
    page = read_page(code)
    if page is None:
        print(f"error: there is no code {code}\nhelp: {known_help(code, codes())}", file=sys.stderr)
        return 1
    if arguments.json or arguments.format == "json":
        sys.stdout.write(as_text({"code": page.code, "title": page.title, "sections": page.sections}))
        return 0
    sections = "\n\n".join(f"{heading}\n\n{body}" for heading, body in page.sections.items())
    sys.stdout.write(f"{page.code}: {page.title.removeprefix(f'{page.code}: ')}\n\n{sections}\n")
    return 0
