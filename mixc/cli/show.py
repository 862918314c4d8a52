"""`mixc show`: what a declaration or an arm of a study resolves to, and where from."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from dsl.describe import known_help
from dsl.diagnostics.render import render
from dsl.diagnostics.suggest import nearest
from dsl.module import Module
from dsl.resolve import Loaded, load
from dsl.show import Row, constant, find, origin, outline, rows_of, show, show_constant
from dsl.show_arm import arm_names, find_arm, rows_of_arm, show_arm
from mixc.cli.check import wants_colour
from mixc.cli.formats import as_text
from mixc.cli.sets import add_set_option


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("show", help=__doc__, description=__doc__)
    parser.add_argument("file", metavar="FILE", help="a .mix file")
    parser.add_argument("name", metavar="NAME", nargs="?", help="a declaration, an arm (STUDY.ARM) or a constant")
    parser.add_argument("--resolved", action="store_true", help="every field with its value and where it is written")
    parser.add_argument("--json", action="store_true", help="the resolved fields as JSON")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    add_set_option(parser)
    parser.add_argument("--allow-outside", action="store_true", help="files may lie outside the project's folder")


def run(arguments: argparse.Namespace) -> int:
    """0, or 1 where the file has errors or no such declaration."""
    loaded = load(arguments.file, sets=dict(arguments.sets), allow_outside=arguments.allow_outside)
    sys.stderr.write(render(loaded.diagnostics, colour=wants_colour(sys.stderr)))
    if loaded.module is None:
        return 1
    as_json = arguments.json or arguments.format == "json"
    if arguments.name is None:
        sys.stdout.write(as_text(_outline(loaded.module)) if as_json else outline(loaded.module))
        return 0
    shown = _shown(loaded, arguments.name, resolved=arguments.resolved)
    if shown is None:
        help = _help(loaded.module, arguments.name)
        print(f"error: {arguments.file} has no '{arguments.name}'\nhelp: {help}", file=sys.stderr)
        return 1
    text, rows = shown
    sys.stdout.write(as_text([_as_json(one) for one in rows()]) if as_json else text())
    return 0


def _shown(loaded: Loaded, name: str, *, resolved: bool) -> tuple[Callable[[], str], Callable[[], list[Row]]] | None:
    """What a name means as text and as rows, each made when it is asked for; None where it means nothing."""
    module = loaded.module
    assert module is not None
    if (declaration := find(module, name)) is not None:
        return lambda: show(module, name, resolved=resolved), lambda: list(rows_of(declaration))
    if (arm := find_arm(module, name)) is not None:
        return lambda: show_arm(arm, resolved=resolved), lambda: list(rows_of_arm(arm))
    if loaded.scope is not None and (row := constant(loaded.scope, name)) is not None:
        return lambda: show_constant(row, resolved=resolved), lambda: [row]
    return None


def _help(module: Module, name: str) -> str:
    """The nearest name, that of an arm among them; an arm may have been named without its study."""
    arms = arm_names(module)
    meant = next((one for one in arms if one.endswith(f".{name}")), None) or nearest(name, [*_names(module), *arms])
    return f"did you mean '{meant}'?" if meant else known_help(name, _names(module))


def _names(module: Module) -> list[str]:
    """All that can be shown by name, but held-out sides and members of suites."""
    constants = [f"{alias}.{name}" for alias, one in module.imports.items() for name in one.constants]
    return [*module.names(), *module.constants, *constants]


def _outline(module: Module) -> dict[str, Any]:
    kinds = {name: type(one).__name__.lower() for name, one in module.declarations.items()}
    imports = {alias: one.source.path for alias, one in module.imports.items()}
    return {"imports": imports, "constants": dict(module.constants), "declarations": kinds}


def _as_json(row: Row) -> dict[str, str]:
    return {"field": row.path, "value": row.value, "origin": origin(row)}
