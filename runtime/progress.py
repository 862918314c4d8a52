"""Progress of long work: one bar on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

LOG_SECONDS = 15.0
"""How often a log gets a line about work that goes on."""


@dataclass
class Work:
    """One piece of work under way: so many units of so many, and a remark such as the loss."""

    what: str
    total: int
    unit: str
    rate_unit: str
    done: int = 0
    rated: int = 0
    """Units of `rate_unit` done here, for the rate."""
    note: str = ""
    started: float = field(default_factory=time.monotonic)
    first: int = 0
    """`done` when this process took the work up."""

    @property
    def rate(self) -> float | None:
        """`rate_unit` a second since this process took the work up."""
        seconds = time.monotonic() - self.started
        return self.rated / seconds if self.rated and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        here = self.done - self.first
        seconds = time.monotonic() - self.started
        return seconds / here * (self.total - self.done) if here > 0 else None

    def line(self) -> str:
        parts = [f"{self.done}/{self.total} {self.unit}"]
        if self.note:
            parts.append(self.note)
        if self.rate is not None:
            parts.append(f"{self.rate:,.0f} {self.rate_unit}/s")
        if self.seconds_left is not None:
            parts.append(f"{clock(self.seconds_left)} left")
        return ", ".join(parts)


def clock(seconds: float) -> str:
    """`42 s`, `3:05`, `1:02:03`."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Line(ProgressColumn):
    def render(self, task: Task) -> Text:
        work: Work = task.fields["work"]
        return Text(work.line(), overflow="ellipsis", no_wrap=True)


class Reporter:
    """Says on `console` what is being done. `steps` is how many pieces of work there will be."""

    def __init__(self, console: Console, steps: int = 0) -> None:
        self.console = console
        self.steps = steps
        self.step = 0

    def say(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text, highlight=False, markup=False)

    @contextmanager
    def work(self, what: str, total: int, unit: str, rate_unit: str = "tokens") -> Iterator[Tracker]:
        """A piece of work; on a terminal its bar is replaced by a line that stays when it ends."""
        self.step += 1
        label = f"[{self.step}/{self.steps}] {what}" if self.steps else what
        work = Work(what, total, unit, rate_unit)
        if self.console.is_terminal:
            bar = Progress(
                TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), _Line(),
                console=self.console, transient=True,
            )  # fmt: skip
            with bar:
                task = bar.add_task(label, total=total, work=work)
                yield Tracker(work, lambda: bar.update(task, completed=work.done))
        else:
            self.say(label)
            last = time.monotonic()

            def log() -> None:
                nonlocal last
                if time.monotonic() - last >= LOG_SECONDS:
                    last = time.monotonic()
                    self.say(f"  {work.line()}")

            yield Tracker(work, log)
        seconds = time.monotonic() - work.started
        note = f", {work.note}" if work.note else ""
        self.say(
            f"{label}: {work.done} {unit}{note}, {clock(seconds)}"
            if self.console.is_terminal
            else f"  done{note}, {clock(seconds)}"
        )


@dataclass(frozen=True)
class Tracker:
    """Moves one piece of work on."""

    work: Work
    changed: object

    def begin_at(self, done: int) -> None:
        """Where it is when its speed begins to be measured: after what earlier processes did, and after compiling."""
        self.work.done = self.work.first = done
        self.work.started = time.monotonic()

    def leave_out(self, seconds: float) -> None:
        """Seconds that went to something else: they count in no speed."""
        self.work.started += seconds

    def to(self, done: int, rated: int = 0, note: str = "") -> None:
        """`done` units in all, `rated` more of the rate's unit, and a new note."""
        self.work.done = done
        self.work.rated += rated
        if note:
            self.work.note = note
        if callable(self.changed):
            self.changed()
