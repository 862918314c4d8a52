"""A child process that samples answers to many prompts, to be killed: STORE OUT COUNT."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event

from rich.console import Console

from compiler.operations import Sample
from runtime.data.transforms.sample import sample_rows
from runtime.model_calls.answers import Answers
from runtime.model_calls.callers import served_caller
from runtime.model_calls.failures import Patience
from runtime.progress import Reporter
from tests.runtime.model_calls.asking import ASKED, prompts


def main(store: str, out: str, count: str) -> None:
    with Answers(Path(store), print) as answers:
        patience = Patience(retries=50, first=0.05, longest=0.5, timeout=10.0)
        caller = served_caller(ASKED, answers, Reporter(Console(file=sys.stderr)), Event(), patience=patience)
        outcome = sample_rows(prompts(int(count)), Sample(model=ASKED, n=1), caller, Path(out))
        print(len(outcome.rows), outcome.rows.digest)


if __name__ == "__main__":
    main(*sys.argv[1:])
