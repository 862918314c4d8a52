"""`mixc chat`: talk to a checkpoint in the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from mixc.cli.workspace import add_store_option, error_console
from runtime.progress import Reporter
from runtime.saved import find_trained
from runtime.store import Store


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("chat", help=__doc__, description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="STUDY/ARM (base is an arm too), or a model that was run")
    parser.add_argument("--system", metavar="TEXT", help="a system prompt")
    parser.add_argument("--temperature", type=_temperature, default=0.7, help="0 is greedy (default: 0.7)")
    parser.add_argument("--max-tokens", type=int, default=300, help="longest answer, in tokens (default: 300)")
    parser.add_argument("--seed", type=int, default=0, help="of the first answer; the next ones count up (default: 0)")
    add_store_option(parser)


def run(arguments: argparse.Namespace) -> int:
    reporter = Reporter(error_console())
    context, arm = find_trained(arguments.model, Store(arguments.store, reporter.say), reporter)

    from runtime.steps.conversation import Conversation

    conversation = Conversation(context, arm, arguments.system)
    if sys.stdin.isatty():
        print(f"{arguments.model}; an empty line, Ctrl-D or Ctrl-C ends", file=sys.stderr)
    for number, message in enumerate(_messages()):
        answer = conversation.answer(
            message, tokens=arguments.max_tokens, temperature=arguments.temperature, seed=arguments.seed + number
        )
        for text in answer:
            print(text, end="", flush=True)
        print("\n")
    return 0


def _messages() -> Iterator[str]:
    """What the user says, line by line, until an empty one."""
    while True:
        if sys.stdin.isatty():
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line.strip():
            return
        yield line.strip()


def _temperature(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 10:
        raise argparse.ArgumentTypeError("a temperature is from 0 to 10")
    return value
