"""`mixc plan`: exact numbers of what a run would do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from compiler.passes.verify import LEAST_UPDATES
from compiler.steps import Report
from mixc.cli.planning import planned, print_errors, say_differences
from mixc.cli.workspace import add_format_options, add_planning_options
from runtime.eval_calls import CALIBRATED, JUDGED, SAMPLED
from runtime.model_calls.prices import money
from runtime.planning import Planned


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("plan", help=__doc__, description=__doc__)
    add_planning_options(parser)
    add_format_options(parser)


def run(arguments: argparse.Namespace) -> int:
    plan = planned(arguments)
    if plan is None:
        return 1
    print_plan(plan, arguments.format)
    print_errors(plan)
    say_differences(plan, arguments)
    return 1 if plan.errors else 0


def print_plan(plan: Planned, format: str) -> None:
    """The plan in numbers, as tables or as JSON."""
    figures = plan.figures()
    if format == "json":
        print(json.dumps(figures, indent=2))
    else:
        _print(Console(highlight=False), plan, figures)


def _print(console: Console, plan: Planned, figures: dict[str, Any]) -> None:
    for table in (_sources(figures), _mixes(figures), _trains(figures)):
        table.box = box.SIMPLE_HEAD if console.is_terminal and not console.no_color else None
        console.print(table)
        console.print()
    for remark in _remarks(figures):
        console.print(Text(remark))
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
        report = plan.plan.steps[study.report]
        if isinstance(report, Report) and report.stop is not None:
            console.print(Text(f"  its arms may stop early, once {report.stop.text}: figures are of their full length"))


def _remarks(figures: dict[str, Any]) -> Iterator[str]:
    """What a reader should know of the data, a sentence each."""
    unmade = [
        call
        for call in figures["calls"]
        if call["made"] is None and call["operation"] not in ("reward", SAMPLED, JUDGED, CALIBRATED)
    ]
    for (name, model, api), calls in groupby(unmade, lambda call: (call["name"], call["model"], call["api"])):
        often = ", ".join(
            f"{call['operation']} {'?' if call['calls'] is None else format(call['calls'], ',')}" for call in calls
        )
        yield f"{name} asks {model}{f' ({api})' if api else ''}, so often at most: {often}"
    if unmade:
        yield "rows that a model makes are still to be made: `mixc run FILE --until data`"
    for call in figures["calls"]:
        if call["operation"] == "reward":
            served = f" ({call['api']})" if call["api"] else ""
            often = "?" if call["calls"] is None else f"{call['calls']:,}"
            yield f"the answers of {call['name']} are judged by {call['model']}{served}: {often} calls"
        elif call["operation"] in (SAMPLED, JUDGED, CALIBRATED):
            yield _of_eval(call)
    for each in figures["distances"]:
        rows, items = ("?" if each[of] is None else f"{each[of]:,}" for of in ("rows", "items"))
        yield f"the distance of {each['arm']} is measured with {rows} rows and {items} items, embedded on this machine"
    yield from dict.fromkeys(told for train in figures["trains"] for told in _of_stage(train))
    yield from (told for claim in figures["claims"] for told in _of_claim(claim))
    notes = (f"{each['source']}: {each['note']}" for source in figures["sources"] for each in source["notes"])
    yield from dict.fromkeys(notes)  # sources that are made from one tell what it told
    for source in figures["sources"]:
        if source["spread"] is not None:
            varied = source["variety"]["distinct"]
            yield (
                f"{source['name']}: {source['spread']:.2f} mean distance in meaning between two rows, "
                f"{varied[2]:.0%} of three words in sequence are new"
            )
        repeats = source["near_duplicates"]
        if repeats is not None and repeats["rows"]:
            yield f"{source['name']}: {repeats['rows']:,} of {repeats['of']:,} rows are much like another"
        for eval, found in source["overlap"].items():
            if found["rows"]:
                first = found["examples"][0]["place"]
                yield f"{source['name']}: {found['rows']:,} rows share 13 words in sequence with {eval}, first {first}"


def _of_eval(call: dict[str, Any]) -> str:
    """How often an evaluation asks a model, and what that may cost."""
    often = "? times" if call["calls"] is None else f"{call['calls']:,} times"
    left = f", {call['made']:,} of them done" if call["made"] else ""
    asked = "is judged by" if call["operation"] == JUDGED else "asks"
    served = f" ({call['api']})" if call["api"] else ""
    cost = "" if call["api"] is None else ", for an unknown price (say `max_tokens:` and `price:`)"
    if call["calls"] is not None and call["made"] == call["calls"]:
        cost = ""
    elif call["dollars"] is not None:
        cost = f", for {money(Fraction(call['dollars']))} at most"
    if call["operation"] == CALIBRATED:
        return f"{call['model']}{served} is measured against hand labels for {call['name']}: {often}{left}{cost}"
    points = "1 point" if call["points"] == 1 else f"{call['points']:,} points"
    return f"{call['name']} {asked} {call['model']}{served} at {points}: {often}{left}{cost}"


def _of_stage(train: dict[str, Any]) -> Iterator[str]:
    """What a stage is beside a pass over tokens that changes every parameter."""
    name, trained, every = train["name"], train["trained_parameters"], train["parameters"]
    if trained != every:
        yield f"{name} trains {trained:,} of {every:,} parameters"
    if train.get("completions") is not None:
        yield f"{name} samples {train['completions']:,} answers to {train['prompts']:,} prompts"
    for branch in train["branches"]:
        parts = ", ".join(f"{part} {held['used_tokens']:,} tokens" for part, held in branch["parts"].items())
        if parts:
            yield f"{branch['used_by']} leaves {name} after update {branch['updates']:,} with: {parts}"
        if branch["updates"] is not None and branch["updates"] < LEAST_UPDATES:
            yield f"{branch['used_by']} makes {branch['updates']} updates until there, fewer than {LEAST_UPDATES}"


def _of_claim(claim: dict[str, Any]) -> Iterator[str]:
    """The smallest differences that a claim could show."""
    seeds = f", {claim['seeds']} seed{'s' * (claim['seeds'] > 1)}" if claim["seeds"] else ""
    asked = " and ".join(
        f"{each['prompts']:,} prompts" + (f" with {each['samples']} answers" if each["samples"] > 1 else "")
        for each in claim["evals"].values()
        if each["prompts"] is not None
    )
    for found in claim["smallest"]:
        low, high = (f"{100 * found[end]:.1f}" for end in ("low", "high"))
        points = low if low == high else f"{low} to {high}"
        yield (
            f"`{claim['claim']}` ({asked}{seeds}): at rates about {found['rate']:.3g} a difference of {points} points "
            f"would show in {claim['power']:.0%} of studies"
        )


def _table(words: Sequence[str], numbers: Sequence[str]) -> Table:
    """An empty table: columns of words on the left, of figures on the right."""
    table = Table(pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in words:
        table.add_column(column, overflow="fold")
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _sources(figures: dict[str, Any]) -> Table:
    table = _table(("source", "read by", "dropped"), ("examples", "tokens", "trained"))
    for source in figures["sources"]:
        dropped = ", ".join(f"{count:,} {_short(reason)}" for reason, count in source["dropped"].items())
        numbers = (_number(source[name]) for name in ("examples", "tokens", "trained_tokens"))
        table.add_row(source["name"], f"{source['tokenizer']}, {source['loss']}", dropped or "none", *numbers)
    return table


def _short(reason: str) -> str:
    """A reason that fits in a cell; `mixc sample` and `--json` have all of it."""
    return reason if len(reason) <= 40 else f"{reason[:39].rstrip()}…"


def _mixes(figures: dict[str, Any]) -> Table:
    """What each mix takes of its parts, and what there is."""
    table = _table(("mix", "part"), ("share", "examples", "epochs", "tokens", "of"))
    mixes = {(mix["name"], mix["seed"], mix["tokenizer"], mix["digest"]): mix for mix in figures["mixes"]}
    for (name, seed, _, _), mix in mixes.items():
        label = name if seed == 0 else f"{name}, seed {seed}"
        for part, figures_of in mix["parts"].items():
            table.add_row(
                label,
                part,
                f"{figures_of['share']:.1%}",
                _number(figures_of["used_examples"]),
                f"{figures_of['epochs']:.2f}",
                _number(figures_of["used_tokens"]),
                _number(figures_of["available_tokens"]),
            )
            label = ""
        if not mix["parts"]:
            table.add_row(label, "?")
    return table


def _trains(figures: dict[str, Any]) -> Table:
    table = _table(("train", "used by"), ("updates", "tokens", "trained", "padded", "FLOPs"))
    for train in figures["trains"]:
        known = train["updates"] is not None
        table.add_row(
            train["name"],
            "\n".join(train["used_by"]),
            _number(train["updates"]),
            _number(train["tokens"]),
            _number(train["trained_tokens"]),
            f"{train['padded'] / (train['padded'] + train['tokens']):.0%}" if known else "?",
            "?" if train["flops"] is None else f"{train['flops']:.1e}",
        )
        for branch in train["branches"]:
            numbers = (_number(branch[name]) for name in ("updates", "tokens", "trained_tokens"))
            table.add_row("  until", branch["used_by"], *numbers, "", "")
    return table
