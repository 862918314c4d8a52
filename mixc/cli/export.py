"""`mixc export`: a model that ran, as a Hugging Face folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mixc.cli.workspace import add_store_option, error_console
from runtime.errors import UserError
from runtime.progress import Reporter
from runtime.saved import find_trained
from runtime.store import Store, disk_errors


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("export", help=__doc__, description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="STUDY/ARM, STUDY/ARM@seed=N, or a model that was run")
    parser.add_argument("--to", metavar="DIR", type=Path, required=True, help="the folder to write")
    add_store_option(parser)


def run(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.to
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there and not an empty folder", "name another folder, or remove it")
    reporter = Reporter(error_console())
    context, arm = find_trained(arguments.model, Store(arguments.store, reporter.say), reporter)

    from runtime.steps.training import parameters
    from runtime.weights import huggingface

    with disk_errors(folder):
        huggingface.export(folder, context.model(arm.weights), parameters(context, arm.final, arm.weights))
    print(f"{arguments.model} is in {folder}: AutoModelForCausalLM.from_pretrained({str(folder)!r}) loads it")
    return 0
