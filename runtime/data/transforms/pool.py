"""What rows are given something from: values of small files, and which row gets which of them.

What a row gets follows from what the row is and what the values are, through keyed hashes: not from the order of files,
nor from other rows. The values are ranked for every row by a hash of both (rendezvous hashing, Thaler and Ravishankar
1998), so one that is added goes to some rows, in the place of what they had, and all others stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.data.broken import BrokenError
from runtime.data.keys import numbered, row_hashes, subkey
from runtime.data.lines import decoded, lines, opened, text_of_file
from runtime.data.rows import Rows, canonical_json
from runtime.data.strict_json import Parser
from runtime.errors import UserError

JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Item:
    """A value of a file, and where it stands there."""

    value: Any
    place: str


def json_items(path: Path) -> Iterator[Item]:
    """The values of JSON lines, or of a JSON file: the items of its list, or the one that it is.

    Raises UserError where the file can't be read or isn't JSON.
    """
    parser, name = Parser(), path.as_posix()
    if path.suffix.lower() in JSON_LINES:
        with opened(path, name, None) as read:
            for number, line in lines(read):
                place = f"{name}:{number}"
                with _at(place):
                    text = _text(line).strip()
                    item = Item(_value(parser, text), place) if text else None
                if item is not None:
                    yield item
        return
    with _at(name):
        value = _value(parser, text_of_file(path, name))
    if isinstance(value, list):
        yield from (Item(item, f"{name}, item {number}") for number, item in enumerate(value, 1))
    else:
        yield Item(value, name)


def _value(parser: Parser, text: str) -> Any:
    value = parser.value(text)
    try:
        canonical_json(value).encode()
    except UnicodeEncodeError as error:
        raise BrokenError("it holds half of a surrogate pair, which is no character") from error
    except ValueError as error:
        raise BrokenError("it holds a number out of range") from error
    return value


def _text(content: bytes | BrokenError) -> str:
    if isinstance(content, BrokenError):
        raise content
    return decoded(content)


@contextmanager
def _at(place: str) -> Iterator[None]:
    try:
        yield
    except BrokenError as error:
        raise UserError(str(error), "mend the file", place) from error


def given(rows: Rows, key: int, chance: Fraction) -> NDArray[np.bool_]:
    """bool[n], the rows that get something: each by itself with the probability `chance`, above 0.

    So how many there are varies as heads of a coin do. A larger chance is given to the same rows and more.
    """
    hashes = row_hashes(rows.identity, rows.occurrence, subkey(key, "chance"))
    return hashes <= np.uint64(ceil(chance * 2**64) - 1)


def choice_hashes(rows: Rows, key: int) -> NDArray[np.uint64]:
    """uint64[n], for `ranked`."""
    return row_hashes(rows.identity, rows.occurrence, subkey(key, "choice"))


def content_hashes(contents: Iterable[str]) -> NDArray[np.uint64]:
    """uint64[m], what values are, for `ranked`."""
    return np.array([subkey(0, content) for content in contents], np.uint64)


def ranked(row: np.uint64, contents: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Numbers of the values in the order in which a row would take them: any order is equally likely."""
    return np.argsort(numbered(np.full(1, row), contents), kind="stable")


def messages_in(record: Mapping[str, Any], rows: Rows, number: int) -> list[dict[str, Any]]:
    """The messages of a row's record. UserError where it was tokenized before, and nothing can be put around them."""
    if "messages" not in record:
        raise UserError(
            "this row was tokenized before, and has no messages",
            "take it from a source of messages",
            rows.place(number),
        )
    return record["messages"]
