"""`mixc lsp`: the language server, for editors."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from typing import Any

from runtime.errors import UserError


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("lsp", help=__doc__, description=__doc__)
    parser.add_argument("--stdio", action="store_true", help="talk over stdin and stdout, which it does anyway")
    parser.add_argument("--allow-outside", action="store_true", help="imports may leave the project's folder")


def run(arguments: argparse.Namespace) -> int:
    """0 where the editor took leave (shutdown, then exit), 1 where it just went away."""
    try:
        from mixc.server.server import create
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("pygls", "lsprotocol"):
            raise
        raise UserError("the language server needs pygls, which isn't installed", "`pip install pygls`") from None
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_told_once)
    gc.disable()  # the server collects after each check
    server = create(allow_outside=arguments.allow_outside)
    protocol, sys.stdout = sys.stdout.buffer, sys.stderr  # nothing but the protocol may reach the editor
    server.start_io(sys.stdin.buffer, protocol)
    return 0 if server.was_shut_down else 1


def _is_told_once(record: logging.LogRecord) -> bool:
    """All but the tracebacks of pygls, which hands the same exceptions to the server's `report_server_error`."""
    return not (record.exc_info and record.name.startswith("pygls"))
