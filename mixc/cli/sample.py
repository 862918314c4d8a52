"""`mixc sample`: rows of a source after each transform, and their tokens as a model reads them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from mixc.cli.planning import planned_source, print_user_errors
from mixc.cli.tokens import coloured
from mixc.cli.workspace import add_file_options, add_format_options

if TYPE_CHECKING:
    from runtime.looking.look import Looked


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("sample", help=__doc__, description=__doc__)
    parser.add_argument("file", metavar="FILE", help="a .mix file")
    parser.add_argument("name", metavar="NAME", help="a source, or its held-out side: NAME.holdout")
    parser.add_argument("--rows", type=_count, default=3, metavar="N", help="how many rows (default: 3)")
    parser.add_argument("--model", metavar="MODEL", help="whose tokens (default: the first that trains on it)")
    parser.add_argument("--html", type=Path, metavar="PATH", help="write a page there, with more room for each row")
    add_file_options(parser)
    add_format_options(parser)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("a number of rows is 1 or more")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    source = planned_source(arguments)
    if source is None:
        return 1
    from runtime.looking.look import look, to_json

    found = look(source.context, source.planned, source.name, arguments.rows)
    if arguments.html is not None:
        from runtime.looking.page import render

        arguments.html.write_text(render(found), encoding="utf-8")
    if arguments.format == "json":
        print(json.dumps(to_json(found), indent=2, ensure_ascii=False))
    elif arguments.html is not None:
        print(f"wrote {arguments.html}")
    else:
        _print(Console(highlight=False), found)
    print_user_errors(source.errors)
    return 1 if source.errors else 0


def _print(console: Console, found: Looked) -> None:
    from runtime.looking.tokens import by_side

    for stage in found.stages:
        console.print(Text.assemble((f"{stage.examples:>9,}", "bold"), f"  {stage.what}"))
        for reason, count in stage.dropped.items():
            console.print(Text(f"           {count:,} left out: {reason}", style="red"))
            for example in stage.shown.get(reason, [])[:2]:
                console.print(Text(f"             {example['place']} {example['detail']}".rstrip(), style="dim"))
        for note in stage.notes:
            console.print(Text(f"           {note}", style="dim"))
    for unmade in found.unmade:
        console.print(Text(f"        ?  {unmade}", style="yellow"))
    for row in found.rows:
        console.print()
        console.rule(Text(row.place), align="left")
        for version in row.versions:
            console.print(Text(f"after {found.stages[version.stage].what}", style="italic"))
            console.print(Text(version.text))
        for side, runs in by_side(row.runs):
            trained = sum(run.tokens for run in runs if run.trained)
            total = sum(run.tokens for run in runs)
            told = f"{total:,} tokens of {found.reader}, {trained:,} trained: marked"
            console.print(Text(told if side is None else f"{side}: {told}", style="italic"))
            console.print(coloured(runs, console))
