"""A study that may be running, looked at from outside: what it is now, and whether that has changed."""

from __future__ import annotations

import time
from pathlib import Path

from compiler.steps import Train
from runtime.progress import Reporter
from runtime.report.study_report import StudyReport
from runtime.saved import find_study
from runtime.steps.reporting import report_of
from runtime.store import Store

CURVES_SECONDS = 10
"""Training curves alone make a new version of a page this often at most."""


class Watched:
    """A study by name. Its plan is read anew each time: the next run may have changed it."""

    def __init__(self, name: str, store: Store, reporter: Reporter) -> None:
        self.name = name
        self._store = store
        self._reporter = reporter

    def version(self) -> str:
        """Another text whenever there is something new to show. Raises UserError where there is no such study."""
        folder = self._store.root / "studies" / self.name
        context = find_study(self.name, self._store, self._reporter)
        changed = [_changed(folder / name) for name in ("plan.json", "results.json")]
        trained = [
            _changed(context.folder(description) / name)
            for description, _ in context.keys.plan.of(Train)
            for name in ("metrics.jsonl", "metrics.parquet")
        ]
        return "-".join(str(each) for each in (*changed, max(trained, default=0) // (CURVES_SECONDS * 1_000_000_000)))

    def report(self) -> StudyReport:
        """All that is known now."""
        context = find_study(self.name, self._store, self._reporter)
        return report_of(context, next(each for each in context.keys.plan.studies if each.name == self.name))

    def wait(self, version: str, seconds: float) -> str:
        """The next version, or the same one after so many seconds."""
        until = time.monotonic() + seconds
        while (now := self.version()) == version and time.monotonic() < until:
            time.sleep(0.5)
        return now


def _changed(path: Path) -> int:
    """When a file was last written, in nanoseconds; 0 where it isn't there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
