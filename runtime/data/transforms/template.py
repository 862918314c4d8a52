"""Writes each record as a document, by a sandboxed Jinja template of its fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta
from jinja2.exceptions import SecurityError

from dsl.record_fields import DERIVED, OWN
from runtime.data.fields import reader
from runtime.data.rows import Format, Rows, derived
from runtime.data.template_marks import compile_marked
from runtime.data.template_sandbox import written
from runtime.data.transforms.outcome import Outcome, Tally
from runtime.errors import UserError

Json = dict[str, Any]


def template_rows(rows: Rows, template: str, format: Format, place: str, path: Path) -> Outcome:
    """Documents whose text is what the template writes for each record.

    The template sees the record's columns and the fields that conditions can test, but for `tokens`: `{{ user }}`,
    `{% for message in messages %}`. The document keeps the columns that don't make up the record itself: a chat's
    `messages` and `tools` are gone (and what was tokenized before), its `label` stays. Rows for which the template
    writes nothing, or fails, are set aside.

    Args:
        format: that of the rows.
        place: the template's file, for messages.
        path: the Parquet file of the new rows.

    Raises:
        UserError: it isn't Jinja, reads another template, reaches for the system, or names what a row lacks.
    """
    write = _writer(template, format, place)
    gone = {"text", "tokens", "trained", *OWN[format]}
    set_aside = Tally()

    def made() -> Iterator[tuple[int, Json]]:
        for number, record in rows.numbered():
            try:
                text = write(record)
            except _RowError as error:
                set_aside.add(str(error), rows.place(number))
            except jinja2.UndefinedError as error:
                raise _undefined(error, record, place, rows.place(number)) from error
            else:
                yield number, {"text": text, **{name: record[name] for name in record if name not in gone}}

    return Outcome(derived(rows, made(), path), set_aside=set_aside)


class _RowError(Exception):
    """The template gives no document for one row. The text says why, in words that fit many rows."""


def _writer(template: str, format: Format, place: str) -> Callable[[Mapping[str, Any]], str]:
    """What writes a record; raises _RowError, jinja2.UndefinedError and UserError."""
    try:
        compiled = compile_marked(template, undefined=jinja2.StrictUndefined)
        tree = compiled.environment.parse(template)
    except jinja2.TemplateSyntaxError as error:
        raise UserError(
            f"this is not a Jinja template: {error.message}", "mend it", f"{place}:{error.lineno}"
        ) from error
    except RecursionError as error:
        raise UserError("the template nests too deep", "write it with fewer levels", place) from error
    if any(True for _ in meta.find_referenced_templates(tree)):
        raise UserError("the template reads another one", "copy that one's text to where it is needed", place)
    names = meta.find_undeclared_variables(tree)
    if "tokens" in names:
        raise UserError("a template has no `tokens`: they depend on the model", "leave them out", place)
    readers = {name: reader(format, name) for name in sorted(names & set(DERIVED[format]))}

    def write(record: Mapping[str, Any]) -> str:
        try:
            derived_fields = ((name, read(record)) for name, read in readers.items())
            fields = {**record, **{name: value for name, value in derived_fields if value is not None}}
            text = written(compiled, fields)
            text.encode()
        except SecurityError as error:
            raise UserError(
                f"the template does what it may not: {error}", "write the record's fields, and little else", place
            ) from error
        except jinja2.UndefinedError:
            raise
        except UnicodeEncodeError as error:
            raise _RowError("the template writes half of a surrogate pair, which is no character") from error
        except Exception as error:  # a template is a program: whatever it does wrong, this one row can't be written
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise _RowError(f"the template fails: {reason[0]}") from error
        if not text.strip():
            raise _RowError("the template writes nothing")
        return text

    return write


def _undefined(error: jinja2.UndefinedError, record: Mapping[str, Any], template: str, place: str) -> UserError:
    name = (error.message or "").split("'")[1:2]
    near = get_close_matches(name[0], record, 1) if name else []
    help = f"did you mean '{near[0]}'?" if near else f"the row has {', '.join(sorted(record))}"
    return UserError(
        f"the template {template} fails on this row: {error.message}",
        f"{help}; what only some rows have is asked for by `{{% if NAME is defined %}}`",
        place,
    )
