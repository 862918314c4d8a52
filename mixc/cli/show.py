"""`mixc show`: what a declaration resolves to, and where from."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from dsl.describe import known_help
from dsl.diagnostics.render import render
from dsl.module import Module
from dsl.resolve import load
from dsl.show import Row, constant, find, origin, outline, rows_of, show, show_constant
from mixc.cli.check import wants_colour
from mixc.cli.formats import as_text


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("show", help=__doc__, description=__doc__)
    parser.add_argument("file", metavar="FILE", help="a .mix file")
    parser.add_argument("name", metavar="NAME", nargs="?", help="a declaration or a constant: reasons, common.finetune")
    parser.add_argument("--resolved", action="store_true", help="every field with its value and where it is written")
    parser.add_argument("--json", action="store_true", help="the resolved fields as JSON")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--set", dest="sets", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("--allow-outside", action="store_true", help="files may lie outside the project's folder")


def run(arguments: argparse.Namespace) -> int:
    """0, 1 where the file has errors or no such declaration, 2 where `--set` has no value."""
    sets = dict(one.split("=", 1) for one in arguments.sets if "=" in one)
    if len(sets) < len(arguments.sets):
        print("error: write --set NAME=VALUE, each name once", file=sys.stderr)
        return 2
    loaded = load(arguments.file, sets=sets, allow_outside=arguments.allow_outside)
    sys.stderr.write(render(loaded.diagnostics, colour=wants_colour(sys.stderr)))
    if loaded.module is None:
        return 1
    as_json = arguments.json or arguments.format == "json"
    if arguments.name is None:
        sys.stdout.write(as_text(_outline(loaded.module)) if as_json else outline(loaded.module))
        return 0
    declaration = find(loaded.module, arguments.name)
    row = None if declaration is not None or loaded.scope is None else constant(loaded.scope, arguments.name)
    if declaration is None and row is None:
        help = known_help(arguments.name, _names(loaded.module))
        print(f"error: {arguments.file} has no '{arguments.name}'\nhelp: {help}", file=sys.stderr)
        return 1
    if as_json:
        rows = [row] if row is not None else list(rows_of(declaration)) if declaration is not None else []
        sys.stdout.write(as_text([_as_json(one) for one in rows]))
    elif row is not None:
        sys.stdout.write(show_constant(row, resolved=arguments.resolved))
    else:
        sys.stdout.write(show(loaded.module, arguments.name, resolved=arguments.resolved))
    return 0


def _names(module: Module) -> list[str]:
    """All that can be shown by name, but held-out sides and members of suites."""
    constants = [f"{alias}.{name}" for alias, one in module.imports.items() for name in one.constants]
    return [*module.names(), *module.constants, *constants]


def _outline(module: Module) -> dict[str, Any]:
    kinds = {name: type(one).__name__.lower() for name, one in module.declarations.items()}
    imports = {alias: one.source.path for alias, one in module.imports.items()}
    return {"imports": imports, "constants": dict(module.constants), "declarations": kinds}


def _as_json(row: Row) -> dict[str, str]:
    return {"field": row.path, "value": row.value, "origin": origin(row.place)}
