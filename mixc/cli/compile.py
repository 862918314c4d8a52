"""`mixc compile`: the real program for the real machine, without the machine: whether it fits, and what it takes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console
from rich.text import Text

from compiler.passes.build import UnbuiltError
from compiler.targets import CHIPS, Machine
from dsl.declarations.targets import Target
from mixc.cli.planning import new_contexts, unbuilt
from mixc.cli.targets import add_target_option, target_of, targets
from mixc.cli.workspace import (
    add_format_options,
    add_planning_options,
    chosen,
    load_checked,
    print_diagnostics,
)
from runtime.compile.ask import Compiler, compiler_for
from runtime.compile.foresee import Foreseen, plan_of_text, programs
from runtime.compile.jobs import Compiled
from runtime.compile.suggest import Suggestion, fits, suggest
from runtime.compile.text import UNITS, heading, kinds_of, plan_text, shape_of
from runtime.errors import UserError
from runtime.locking import lock_path, read_lock
from runtime.steps.running import machine_for


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("compile", help=__doc__, description=__doc__)
    add_planning_options(parser)
    add_format_options(parser)
    add_target_option(parser)
    parser.add_argument(
        "--suggest", action="store_true", help="find the micro_batch and remat of each train step with which it fits"
    )
    parser.add_argument(
        "--every", action="store_true", help="scorer and sampler of each model too, where nothing asks for them"
    )
    parser.add_argument(
        "-o",
        metavar="DIR",
        dest="folder",
        type=Path,
        help="leave what was compiled there: plan, StableHLO of each program, and places and memory as text and JSON",
    )


def run(arguments: argparse.Namespace) -> int:
    module = load_checked(arguments)
    if module is None:
        return 1
    studies, models = chosen(module, arguments.names)
    target = target_of(module, arguments.target, studies)
    if target is None:
        raise UserError("no target is named", f"name one with `--target`: {targets(module)}")
    machine = machine_for(target)
    try:
        plan, context = plan_of_text(
            arguments.file, module.root, studies, models, new_contexts(arguments, module, Event())
        )
    except UnbuiltError as error:
        print_diagnostics([unbuilt(error)])
        return 1
    found = programs(context, target, read_lock(lock_path(Path(arguments.file))), every=arguments.every)
    if not found:
        raise UserError("nothing here is trained or evaluated", "name a study, or a model with a stage")
    results: list[_Result] = []
    with (
        compiler_for(machine) as compiler,
        context.reporter.work(f"compile for {target.name}", len(found), "programs") as tracker,
    ):
        for done, each in enumerate(found, 1):
            results.append(_result(compiler, each, machine, arguments))
            tracker.to(done, note=f"{each.job.kind} {each.job.name}")
    figures = [_figures(target, machine, *result) for result in results]
    if arguments.folder is not None:
        _write(arguments.folder, plan.model_dump_json(indent=1), results, figures)
        text = plan_text(target.name, machine, [(foreseen, compiled) for foreseen, compiled, _ in results])
        (arguments.folder / "plan.txt").write_text(text, encoding="utf-8")
    if arguments.format == "json":
        print(json.dumps(figures, indent=2))
    else:
        _print(Console(highlight=False), target, machine, results)
    return 0 if all(fits(compiled, machine) for _, compiled, _ in results) else 1


_Result = tuple[Foreseen, Compiled, Suggestion | None]


def _result(compiler: Compiler, foreseen: Foreseen, machine: Machine, arguments: argparse.Namespace) -> _Result:
    job = foreseen.job
    if arguments.folder is not None:
        job = job.model_copy(update={"folder": str((arguments.folder / _folder(foreseen)).absolute())})
    compiled = compiler.compile(job)
    if not arguments.suggest or job.kind != "train":
        return foreseen, compiled, None
    shard = dict(machine.shard)
    devices = shard.get("data", 1) * shard.get("fsdp", 1)
    return foreseen, compiled, suggest(job, compiled, compiler.compile, machine, devices)


def _folder(foreseen: Foreseen) -> str:
    """A program's folder: the first stage that it is of."""
    return f"{foreseen.job.kind}-{foreseen.used_by[0].replace('/', '-')}"


def _figures(
    target: Target, machine: Machine, foreseen: Foreseen, compiled: Compiled, suggestion: Suggestion | None
) -> dict[str, Any]:
    """`compile --json`."""
    found = None if suggestion is None else suggestion.found
    return {
        "name": compiled.name,
        "program": compiled.kind,
        "used_by": list(foreseen.used_by),
        "key": foreseen.key,
        "target": target.name,
        "topology": machine.topology,
        "devices": machine.devices,
        "shard": dict(machine.shard),
        "fits": fits(compiled, machine),
        "memory_bytes": compiled.memory_bytes,
        "device_memory_bytes": machine.memory,
        "arguments_bytes": compiled.arguments_bytes,
        "temporaries_bytes": compiled.temporaries_bytes,
        "by_kind": kinds_of(compiled),
        "flops": foreseen.flops,
        "compile_seconds": round(compiled.lower_seconds + compiled.compile_seconds, 2),
        "cpu_seconds": round(compiled.cpu_seconds, 2),
        "rows": foreseen.job.rows,
        "filled_rows": compiled.rows - foreseen.job.rows,
        "idle": compiled.idle,
        "length": foreseen.job.length,
        "micro_batches": compiled.micro_batches,
        "remat": compiled.remat,
        "kernel": compiled.kernel,
        "refused": compiled.refused,
        "largest": [each.model_dump() for each in compiled.largest],
        "notes": [*foreseen.sources, *compiled.notes],
        "suggestion": None
        if found is None
        else {
            "micro_batch": _rows_at_once(found),
            "micro_batches": found.micro_batches,
            "remat": found.remat,
            "memory_bytes": found.memory_bytes,
        },
    }


def _rows_at_once(compiled: Compiled) -> int:
    return compiled.rows // compiled.micro_batches


def _write(folder: Path, plan: str, results: Sequence[_Result], figures: Sequence[dict[str, Any]]) -> None:
    """The plan, and of each program places and memory, beside what the compiling process left there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(plan + "\n", encoding="utf-8")
    for (foreseen, compiled, _), told in zip(results, figures, strict=True):
        own = folder / _folder(foreseen)
        own.mkdir(exist_ok=True)
        (own / "sharding.json").write_text(json.dumps(compiled.shardings, indent=1) + "\n", encoding="utf-8")
        (own / "memory.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _print(console: Console, target: Target, machine: Machine, results: Sequence[_Result]) -> None:
    console.print(Text(heading(target.name, machine)))
    for result in results:
        console.print()
        for line in _lines(machine, *result):
            console.print(Text(line))
    console.print()
    for sentence in dict.fromkeys(source for foreseen, _, _ in results for source in foreseen.sources):
        console.print(Text(sentence))


def _lines(machine: Machine, foreseen: Foreseen, compiled: Compiled, suggestion: Suggestion | None) -> Iterator[str]:
    """A program's figures, and what a reader should know of them."""
    job, kinds = foreseen.job, kinds_of(compiled)
    fit = fits(compiled, machine)
    room = "" if machine.memory is None else f" of {_bytes(machine.memory)}"
    yield f"{job.kind} {', '.join(foreseen.used_by)}"
    yield f"  {'fits' if fit else 'does not fit'}: {_bytes(compiled.memory_bytes)}{room} on a device"
    yield "  " + ", ".join(f"{name.replace('_', ' ')} {_bytes(count)}" for name, count in kinds.items() if count)
    yield f"  {shape_of(foreseen, compiled)}"
    peak = ""
    if machine.chip is not None:
        peak = f", {foreseen.flops / (CHIPS[machine.chip].flops * machine.devices):.2g} s at the devices' peak"
    yield f"  {foreseen.flops:.1e} FLOPs {UNITS[job.kind]}{peak}"
    yield f"  compiled in {compiled.lower_seconds + compiled.compile_seconds:.1f} s"
    yield from (f"  {note}" for note in compiled.notes)
    if compiled.refused is not None:
        yield f"  the compiler says: {compiled.refused}"
    yield from (f"  {_bytes(each.bytes)} are {each.what}, {each.source}" for each in compiled.largest[:3])
    if suggestion is not None:
        yield f"  {_suggested(suggestion)}"
    elif not fit and job.kind == "train":
        yield "  `--suggest` finds the `micro_batch` and `remat` with which it fits"


def _suggested(suggestion: Suggestion) -> str:
    tried = f"{len(suggestion.tried)} {'compilation' if len(suggestion.tried) == 1 else 'compilations'}"
    best = suggestion.found
    if best is None:
        return f"nothing fits ({tried}): take more devices, or spread it otherwise (`shard`)"
    return (
        f"the fastest that fits: `micro_batch: {_rows_at_once(best)} examples`, `remat: {best.remat}`, "
        f"with {_bytes(best.memory_bytes)} ({tried})"
    )


def _bytes(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**27 else f"{count / 2**20:.1f} MiB"
