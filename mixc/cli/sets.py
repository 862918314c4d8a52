"""`--set NAME=VALUE`, for commands that read one file."""

from __future__ import annotations

import argparse


def add_set_option(parser: argparse.ArgumentParser) -> None:
    """`sets` becomes pairs of a name and the text of its value; of a name given twice the last counts."""
    parser.add_argument("--set", dest="sets", metavar="NAME=VALUE", type=_pair, action="append", default=[],
                        help="give a `let` another value; repeatable")  # fmt: skip


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"write --set {name or 'NAME'}={value or 'VALUE'}")
    return name, value
