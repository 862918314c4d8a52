"""`mixc export`: a model that ran, as a Hugging Face folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from compiler.plan import PlannedArm
from mixc.cli.workspace import add_store_option, error_console
from runtime.errors import UserError
from runtime.progress import Reporter
from runtime.saved import find_trained
from runtime.steps.context import Context
from runtime.store import Store, disk_errors


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("export", help=__doc__, description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="STUDY/ARM, STUDY/ARM@seed=N, or a model that was run")
    parser.add_argument("--to", metavar="DIR", type=Path, required=True, help="the folder to write")
    parser.add_argument(
        "--adapter",
        action="store_true",
        help="write a model with a low-rank adapter in two folders of DIR, `base` and, for peft, `adapter`: not merged",
    )
    add_store_option(parser)


def run(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.to
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there and not an empty folder", "name another folder, or remove it")
    reporter = Reporter(error_console())
    context, arm = find_trained(arguments.model, Store(arguments.store, reporter.say), reporter)

    from runtime.steps.models import parameters
    from runtime.weights import huggingface

    if arguments.adapter:
        return _export_adapter(folder, context, arm, arguments.model)
    with disk_errors(folder):
        huggingface.export(folder, context.model(arm.reader), parameters(context, arm.final, arm.reader))
    print(f"{arguments.model} is in {folder}: AutoModelForCausalLM.from_pretrained({str(folder)!r}) loads it")
    return 0


def _export_adapter(folder: Path, context: Context, arm: PlannedArm, name: str) -> int:
    from runtime.steps.models import adapted, parameters
    from runtime.weights import huggingface, peft

    found = adapted(context, arm.final)
    if found is None:
        raise UserError(f"the last stage of {name} has no adapter", "leave out --adapter")
    base = folder / "base"
    with disk_errors(folder):
        huggingface.export(base, context.model(arm.reader), parameters(context, found.base, arm.reader))
        peft.write_adapter(folder / "adapter", found.adapter, found.lora, base=str(base.resolve()))
    load = f"AutoPeftModelForCausalLM.from_pretrained({str(folder / 'adapter')!r})"
    print(f"{name} is in {folder}: peft's {load} loads it")
    return 0
