"""`mixc plan`: exact numbers of what a run would do."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from mixc.cli.planning import planned, print_errors
from mixc.cli.workspace import add_format_options, add_planning_options, stoppable
from runtime.planning import Planned


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("plan", help=__doc__, description=__doc__)
    add_planning_options(parser)
    add_format_options(parser)


def run(arguments: argparse.Namespace) -> int:
    with stoppable() as signals:
        plan = planned(arguments, signals)
    if plan is None:
        return 1
    figures = plan.figures()
    if arguments.format == "json":
        print(json.dumps(figures, indent=2))
    else:
        _print(Console(highlight=False), plan, figures)
    print_errors(plan)
    return 1 if plan.errors else 0


def _print(console: Console, plan: Planned, figures: dict[str, Any]) -> None:
    console.print(_sources(figures))
    console.print(_mixes(figures))
    console.print(_trains(figures))
    steps = figures["steps"]
    waiting = [step for step in steps if not step["done"]]
    kinds = ", ".join(
        f"{sum(step['kind'] == kind for step in waiting)} {kind}"
        for kind in dict.fromkeys(step["kind"] for step in waiting)
    )
    console.print(f"{len(steps)} steps, {len(steps) - len(waiting)} done" + (f"; to run: {kinds}" if waiting else ""))
    for study in plan.plan.studies:
        arms = list(dict.fromkeys(arm.name for arm in study.arms))
        console.print(f"study {study.name}: {', '.join(arms)}")


def _number(value: Any) -> str:
    return "?" if value is None else f"{value:,}"


def _sources(figures: dict[str, Any]) -> Table:
    table = Table("source", "read for", title="Sources", title_justify="left")
    for column in ("examples", "tokens", "trained"):
        table.add_column(column, justify="right")
    table.add_column("dropped")
    for source in figures["sources"]:
        dropped = ", ".join(f"{count} {reason}" for reason, count in source["dropped"].items())
        numbers = (_number(source[name]) for name in ("examples", "tokens", "trained_tokens"))
        table.add_row(source["name"], f"{source['tokenizer']}, {source['loss']}", *numbers, dropped or "none")
    return table


def _mixes(figures: dict[str, Any]) -> Table:
    table = Table("mix", "part", title="Mixes", title_justify="left")
    for column in ("share", "examples", "tokens", "available", "epochs"):
        table.add_column(column, justify="right")
    seen: set[str] = set()
    for mix in figures["mixes"]:
        label = f"{mix['name']} (seed {mix['seed']})"
        if label in seen:
            continue
        seen.add(label)
        for name, part in mix["parts"].items():
            table.add_row(
                label,
                name,
                f"{part['share']:.1%}",
                _number(part["used_examples"]),
                _number(part["used_tokens"]),
                _number(part["available_tokens"]),
                f"{part['epochs']:.2f}",
            )
            label = ""
        if not mix["parts"]:
            table.add_row(label, "?")
    return table


def _trains(figures: dict[str, Any]) -> Table:
    table = Table("train", "used by", title="Training", title_justify="left")
    for column in ("updates", "tokens", "trained", "padded", "FLOPs"):
        table.add_column(column, justify="right")
    for train in figures["trains"]:
        flops = "?" if train["flops"] is None else f"{train['flops']:.2e}"
        padded = "?" if train["padded"] is None else f"{train['padded'] / (train['padded'] + train['tokens']):.0%}"
        table.add_row(
            train["name"],
            "\n".join(train["used_by"]),
            _number(train["updates"]),
            _number(train["tokens"]),
            _number(train["trained_tokens"]),
            padded,
            flops,
        )
    return table
