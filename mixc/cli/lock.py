"""`mixc lock`: pins data, models, prompts and the rows that models made, by content, in FILE.lock."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mixc.cli.planning import planned, print_errors
from mixc.cli.workspace import add_format_options, add_planning_options


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("lock", help=__doc__, description=__doc__)
    add_planning_options(parser)
    add_format_options(parser)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where something differs")


def run(arguments: argparse.Namespace) -> int:
    plan = planned(arguments)
    if plan is None:
        return 1
    from runtime.evals.scale import plural
    from runtime.locking import differing, lock_of, lock_path, write_lock

    path = lock_path(Path(arguments.file))
    if plan.errors:
        print_errors(plan)
        return 1
    if arguments.check:
        if not path.is_file():
            print(f"error: there is no {path}\nhelp: make it with `mixc lock {arguments.file}`", file=sys.stderr)
            return 1
        found = differing(plan, path)
        if arguments.format == "json":
            print(json.dumps(found, indent=2))
        elif found:
            print("\n".join(found))
            print(f"help: if that is meant, lock it with `mixc lock {arguments.file}`", file=sys.stderr)
        else:
            print(f"{path}: all as locked")
        return 1 if found else 0
    lock = lock_of(plan)
    write_lock(lock, path)
    if arguments.format == "json":
        print(json.dumps(lock.model_dump(mode="json", exclude_none=True), indent=2))
    else:
        files = sum(len(location.files) for location in lock.locations.values())
        counts = (
            f"{plural(len(lock.locations), 'location')} with {plural(files, 'file')}",
            plural(len(lock.models), "model"),
            f"{plural(len(lock.rows), 'source')} made by models",
            f"{plural(len(lock.streams), 'stream')} of tokens",
        )
        print(f"{path}: {', '.join(counts)}")
    return 0
