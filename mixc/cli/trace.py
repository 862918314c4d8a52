"""`mixc trace`: the rows of a batch, with their tokens and masks."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from mixc.cli.tokens import coloured
from mixc.cli.workspace import add_format_options, add_store_option, error_console
from runtime.progress import Reporter
from runtime.saved import find_arm
from runtime.store import Store


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("trace", help=__doc__, description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="STUDY/ARM, STUDY/ARM@seed=N, or a model that was run")
    parser.add_argument("--step", type=int, required=True, metavar="N", help="which update, from 1")
    parser.add_argument("--stage", metavar="NAME", help="which stage (default: the last)")
    add_store_option(parser)
    add_format_options(parser)


def run(arguments: argparse.Namespace) -> int:
    reporter = Reporter(error_console())
    context, arm = find_arm(arguments.model, Store(arguments.store, reporter.say), reporter)
    from runtime.looking.trace import trace

    traced = trace(context, arm, arguments.stage, arguments.step)
    if arguments.format == "json":
        print(json.dumps(asdict(traced), indent=2, ensure_ascii=False))
        return 0
    console = Console(highlight=False)
    console.print(
        Text(f"{arguments.model}, {traced.stage}: update {traced.update} of {traced.updates:,}", style="bold")
    )
    for piece in traced.pieces:
        console.print()
        where = f"row {piece.row}, column {piece.column}: {piece.length:,} tokens from {piece.begin:,}"
        side = "" if piece.side is None else f", {piece.side}"
        console.rule(Text(f"{piece.source}{side}  {piece.place}  ({where})"), align="left")
        console.print(coloured(piece.runs, console))
    return 0
