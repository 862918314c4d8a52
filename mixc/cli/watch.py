"""`mixc watch`: the page of a study while it runs, served on this machine; or its table in the terminal."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mixc.cli.workspace import add_store_option, error_console
from runtime.progress import Reporter
from runtime.store import Store

if TYPE_CHECKING:
    from runtime.steps.watched import Watched

SECONDS = 5.0
"""Between two looks at a study whose table stands in the terminal."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("watch", help=__doc__, description=__doc__)
    parser.add_argument("study", metavar="STUDY", help="the name of a study that runs or ran")
    add_store_option(parser)
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="of 127.0.0.1 (default: any that is free)")
    parser.add_argument(
        "--no-browser",
        action="store_true",
        help="print the table here, again when it changes, until it is complete",
    )


def run(arguments: argparse.Namespace) -> int:
    from runtime.steps.watched import Watched

    reporter = Reporter(error_console())
    watched = Watched(arguments.study, Store(arguments.store, reporter.say), reporter)
    version = watched.version()  # an error where there is no such study
    try:
        if arguments.no_browser:
            _follow(watched, version)
        else:
            _serve(watched, arguments.port)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return 0


def _serve(watched: Watched, port: int) -> None:
    from runtime.report.html import render
    from runtime.report.serving import page_server

    with page_server(watched.version, lambda: render(watched.report(), live=True), port) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        print(f"{watched.name}: {address} (Ctrl-C ends)", flush=True)
        if _has_screen():
            webbrowser.open(address)
        server.serve_forever()


def _has_screen() -> bool:
    """Whether a browser would open in a window; one in the terminal would hide the address."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _follow(watched: Watched, version: str) -> None:
    from runtime.report.terminal import print_report

    console = Console()
    while True:
        report = watched.report()
        if console.is_terminal:
            console.clear()
        print_report(report, console)
        if report.results.complete:
            return
        before = version
        while version == before:
            version = watched.wait(version, SECONDS)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is from 0 to 65535")
    return int(text)
