"""Rows through a transform of an installed package: its results are checked, its failures told with the row."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from compiler.operations import PlugIn
from dsl.declarations.installed import PlugInError, plug_in
from dsl.declarations.plug_in_values import from_json, version_of
from dsl.declarations.plug_ins import Drop
from dsl.declarations.plug_ins import PlugIn as Declared
from dsl.record_fields import OWN
from runtime.data.broken import BrokenError
from runtime.data.layouts import arranged
from runtime.data.rows import Format, Rows, derived
from runtime.data.transforms.outcome import Outcome, Tally
from runtime.errors import UserError

_MEND = "mend its package, or leave it out"


def run_plug_in(
    rows: Rows, format: Format, operation: PlugIn, path: Path, files: Mapping[str, Sequence[Path]]
) -> Outcome:
    """The rows that a plug-in's function gives: one result for each record, in their order; None or `Drop` drops it.

    Args:
        path: the Parquet file that holds the rows from now on.
        files: the files found at each location of the operation.

    Raises:
        UserError: the plug-in isn't there, fails, or gives what it doesn't promise; or no row is left.
    """
    run = _Run(rows, format, operation.name, _bound(operation, files))
    try:
        kept = derived(rows, run.results(), path)
    except (TypeError, ValueError) as error:
        run.refuse(f"gives what JSON can't hold ({error})")
    if not len(kept):
        raise UserError(f"none of {len(rows):,} rows is left by {operation.name}", "loosen it, or leave it out")
    return Outcome(kept, dropped=run.dropped)


class _Run:
    """One pass of rows through a plug-in."""

    def __init__(self, rows: Rows, format: Format, word: str, fields: Declared) -> None:
        self.dropped = Tally()
        self._rows = rows
        self._word = word
        self._fields = fields
        self._gives: Any = fields.gives or format
        self._taken = 0
        self._answered = 0
        self._columns: deque[frozenset[str]] = deque()
        """Of the records that were taken and have no result yet."""

    def results(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Each row's number with its new record."""
        answers = self._answers()
        while (answer := self._next(answers)) is not _END:
            if self._answered == self._taken:
                self.refuse("gives more results than it has taken records")
            columns = self._columns.popleft()
            match answer:
                case None:
                    self.dropped.add(self._word, self._place)
                case Drop(reason):
                    self.dropped.add(f"{self._word}: {reason}", self._place)
                case dict():
                    yield self._answered, self._checked(answer, columns)
                case _:
                    self.refuse(f"gives a {type(answer).__name__}, which is neither a record nor None")
            self._answered += 1
        if self._answered < len(self._rows):
            self.refuse(f"gives {self._answered:,} results for {len(self._rows):,} records")

    def refuse(self, what: str) -> NoReturn:
        """Raises UserError for the row whose result is due."""
        help = f"a plug-in gives one result for each record, in order: {_MEND}"
        raise UserError(f"{self._word} {what}", help, self._place)

    @property
    def _place(self) -> str:
        return self._rows.place(min(self._answered, len(self._rows) - 1))

    def _answers(self) -> Iterator[Any]:
        try:
            return iter(_function(self._fields, self._word)(self._records(), self._fields))
        except Exception as error:
            self._failed(error)

    def _next(self, answers: Iterator[Any]) -> Any:
        try:
            return next(answers, _END)
        except Exception as error:
            self._failed(error)

    def _records(self) -> Iterator[dict[str, Any]]:
        for _, batch in self._rows.batches():
            for record in batch:
                self._taken += 1
                self._columns.append(frozenset(record))
                yield record

    def _checked(self, answer: dict[str, Any], columns: frozenset[str]) -> dict[str, Any]:
        try:
            _, record, _ = arranged(self._gives, answer)
        except BrokenError as error:
            self.refuse(f"gives no record of format {self._gives}: {error}")
        unsaid = sorted(map(str, record.keys() - columns - OWN[self._gives].keys() - set(self._fields.makes)))
        if unsaid:
            self.refuse(f"makes a field '{unsaid[0]}' that its declaration doesn't name in `makes`")
        return record

    def _failed(self, error: Exception) -> NoReturn:
        """What the author's code raises, as a sentence with the row that it had taken last."""
        if isinstance(error, UserError):
            raise error
        reason = traceback.format_exception_only(error)[-1].strip()
        frames = traceback.extract_tb(error.__traceback__)
        place = self._rows.place(self._taken - 1) if self._taken else None
        message = f"{self._word} fails with {reason}"
        raise UserError(message, f"{_MEND}: it fails at {frames[-1].filename}:{frames[-1].lineno}", place) from error


_END = object()


def _bound(operation: PlugIn, files: Mapping[str, Sequence[Path]]) -> Declared:
    """The plug-in with its fields, as what is installed here declares it."""
    word = operation.name
    try:
        model = plug_in(word)
    except KeyError:
        raise UserError(f"no installed package has the transform {word}", "install the package that has it") from None
    except PlugInError as error:
        raise UserError(error.message, error.help) from None

    def file(location: str) -> Path:
        found = files[location]
        if len(found) != 1:
            raise UserError(f"{word} takes one file, and {location} has {len(found)}", "name one file")
        return found[0]

    if (version := version_of(model)) != operation.version:
        message = f"the plan is made with {word} {operation.version}, and {version} is installed here"
        raise UserError(message, "plan again, or install the same version on every machine")
    return from_json(model, operation.fields, file)


def _function(fields: Declared, word: str) -> Callable[[Iterator[dict[str, Any]], Declared], Any]:
    module, _, name = fields.runs.partition(":")
    function: Any = getattr(import_module(module), name, None)
    if not callable(function):
        raise UserError(f"{word} runs {fields.runs}, where no function is", _MEND)
    return function
