"""The command line: finds the command, runs it, and turns what a user can cause into a message and an exit code."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

COMMANDS = {
    "check": "every error of every file",
    "fmt": "one way to write it",
    "show": "what a declaration resolves to, and where from",
    "explain": "what a code, a kind, a field or a built-in means",
    "lsp": "the language server, for editors",
    "plan": "exact numbers: tokens, examples, updates, FLOPs; trains nothing",
    "compile": "the real program for the real machine, without it: fits or not, with the numbers",
    "sample": "rows of a source after each transform, and their tokens with the mask",
    "trace": "the rows of a batch",
    "lock": "pins data, models, prompts and the rows that models made",
    "run": "studies or models, and at the end the table",
    "report": "the table and the page of a study that ran; two of them compared",
    "watch": "the page of a study while it runs",
    "export": "a trained model in Hugging Face layout",
    "chat": "talk to a checkpoint",
}
"""Each is a module of this package with `add_parser(subparsers)` and `run(arguments) -> int`; only the one that is used
is imported, because some import JAX."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Exit codes: 0 fine, 1 an error, 2 usage, 130 Ctrl-C, 143 SIGTERM."""
    _open_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    parser = argparse.ArgumentParser(
        prog="mixc", description=_overview(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if not words or words[0] in ("-h", "--help", "--version"):
        from importlib import metadata

        parser.add_argument("--version", action="version", version=f"mixc {metadata.version('mixc')}")
        parser.usage = "mixc COMMAND ..."
        parser.parse_args(words)
        parser.print_help()
        return 2
    name = words[0]
    if name not in COMMANDS:
        from dsl.diagnostics.suggest import nearest

        near = nearest(name, list(COMMANDS))
        hint = f"did you mean `mixc {near}`?" if near else "`mixc --help` lists the commands"
        print(f"error: mixc has no command {name!r}\nhelp: {hint}", file=sys.stderr)
        return 2
    try:
        module = import_module(f"mixc.cli.{name}")
        commands = parser.add_subparsers(metavar="COMMAND")
        module.add_parser(commands)
        # Names may stand before and behind options, which argparse can't do for a command and its subcommand at once.
        return _guarded(module.run, commands.choices[name].parse_intermixed_args(words[1:]))
    except KeyboardInterrupt:
        print("\nstopped; nothing is lost", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("error: the output can't be written: no space left\nhelp: write it elsewhere", file=sys.stderr)
        return 1


def _open_streams() -> None:
    """Give what the shell has closed (`>&-`) a stream that holds nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _guarded(run: Callable[[argparse.Namespace], int], parsed: argparse.Namespace) -> int:
    """Runs a command; an error that the user can mend is printed without a traceback."""
    from runtime.errors import UserError

    try:
        return run(parsed)
    except UserError as error:
        place = f"{error.place}: " if error.place else ""
        print(f"error: {place}{error.message}\nhelp: {error.help}", file=sys.stderr)
        return 1


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {sentence}" for name, sentence in COMMANDS.items()]
    return "Declarative data mixes and studies for alignment training.\n\n" + "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
