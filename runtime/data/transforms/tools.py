"""Adds tool definitions to rows that never need them: around the same prompt stands another environment."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from runtime.data.keys import key, row_hashes, subkey
from runtime.data.rows import Rows, canonical_json, derived
from runtime.data.transforms.outcome import Outcome
from runtime.data.transforms.pool import Item, choice_hashes, content_hashes, given, json_items, messages_in, ranked
from runtime.errors import UserError

Json = dict[str, Any]

_TOOLS = key(0, "tools", "", 0)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEYS = ("name", "description", "parameters", "strict")


def read_tool_definitions(paths: Sequence[Path]) -> list[Json]:
    """The definitions of all files, each once, in an order that follows from them alone.

    A file is JSON, one definition or a list of them, or JSON lines. A definition is a function as OpenAI's API takes
    it, alone (`{"name": …, "parameters": …}`) or in `{"type": "function", "function": …}`; it comes out in the latter
    form. Its parameters are a JSON Schema of an object; a function without takes none.

    Raises UserError where a file can't be read, or what is in it isn't a definition.
    """
    definitions = [_definition(item) for path in paths for item in json_items(path)]
    once: dict[str, Json] = {}
    for definition in sorted(definitions, key=json.dumps):  # equal ones may have their keys in another order
        once.setdefault(canonical_json(definition), definition)
    return list(once.values())


def add_tools(rows: Rows, definitions: Sequence[Json], low: int, high: int, chance: Fraction, path: Path) -> Outcome:
    """Gives `low` to `high` of the definitions, any number equally likely, to about the share `chance` of the rows.

    They follow the row's own tools, which stay first; messages stay as they are. No row gets two tools of one name, nor
    one of a name that it has or calls already.

    Args:
        path: the Parquet file of the new rows.

    Raises:
        UserError: there are fewer names than `high`.
    """
    names = set(map(_name, definitions))
    if high > len(names):
        raise UserError(
            f"{high} tools a row are asked for, and the files define {len(names)}",
            "lower the count, or name more files",
        )
    wanted = given(rows, _TOOLS, chance) * _counts(rows, low, high)
    hashes, contents = choice_hashes(rows, _TOOLS), content_hashes(map(canonical_json, definitions))
    added: Counter[str] = Counter()
    numbers: Counter[int] = Counter()
    short = 0

    def made() -> Iterator[tuple[int, Json]]:
        nonlocal short
        for number, record in rows.numbered():
            messages, own = messages_in(record, rows, number), record.get("tools") or []
            chosen: list[Json] = []
            if wanted[number]:
                order = ranked(hashes[number], contents)
                chosen = _first([definitions[index] for index in order], _names(messages, own), wanted[number])
            short += len(chosen) < wanted[number]
            numbers[len(chosen)] += 1
            added.update(map(_name, chosen))
            yield number, {**record, "tools": [*own, *chosen]} if chosen else record

    result = derived(rows, made(), path)
    notes = [f"{len(rows) - numbers[0]:,} of {len(rows):,} rows got tools, {added.total():,} in all"]
    if short:
        notes.append(f"{short:,} rows got fewer tools than drawn: they have or call tools of the same names")
    facts = {
        "rows by tools added": {str(count): numbers[count] for count in sorted(numbers)},
        "rows by tool": dict(sorted(added.items())),
    }
    return Outcome(result, notes=tuple(notes), facts=facts)


def _counts(rows: Rows, low: int, high: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    hashes = row_hashes(rows.identity, rows.occurrence, subkey(_TOOLS, "count"))
    return low + (hashes % np.uint64(high - low + 1)).astype(np.int64)


def _first(definitions: Sequence[Json], taken: set[str], count: int) -> list[Json]:
    """The first `count` definitions with names of their own, or as many as there are."""
    chosen: dict[str, Json] = {}
    for definition in definitions:
        if len(chosen) == count:
            break
        if _name(definition) not in taken:
            chosen.setdefault(_name(definition), definition)
    return list(chosen.values())


def _name(definition: Json) -> str:
    return definition["function"]["name"]


def _names(messages: Sequence[Json], tools: Sequence[Json]) -> set[str]:
    """Of the tools that a row defines or calls."""
    calls = (call for message in messages for call in message.get("tool_calls") or ())
    functions = (each.get("function", each) for each in (*tools, *calls))
    return {function["name"] for function in functions if isinstance(function, dict) and "name" in function}


def _definition(item: Item) -> Json:
    try:
        return {"type": "function", "function": _function(item.value)}
    except _WrongError as error:
        message, help = error.args
        raise UserError(message, help, item.place) from error


class _WrongError(Exception):
    """Something is no definition: what is wrong, and what to write instead."""


def _function(value: Any) -> Json:
    if not isinstance(value, dict) or value.get("type", "function") != "function":
        raise _WrongError("this is not the definition of a function", f"write {_EXAMPLE}")
    function = value.get("function", {name: each for name, each in value.items() if name != "type"})
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _WrongError("the definition has no name", f"write {_EXAMPLE}")
    name = function["name"]
    if not _NAME.fullmatch(name):
        raise _WrongError(f"{name!r} names no function", "take 1 to 64 letters, digits, '_' and '-'")
    unknown = next((key for key in function if key not in _KEYS), None)
    if unknown is not None:
        raise _WrongError(f"'{name}' has a key '{unknown}', which a definition hasn't", f"it has {', '.join(_KEYS)}")
    if not isinstance(function.get("description", ""), str):
        raise _WrongError(f"the description of '{name}' is not a text", "write it in double quotes")
    parameters = function.get("parameters", {"type": "object", "properties": {}})
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        raise _WrongError(
            f"the parameters of '{name}' are no object schema", 'write {"type": "object", "properties": {…}}'
        )
    try:
        jsonschema.Draft202012Validator.check_schema(parameters)
    except jsonschema.SchemaError as error:
        raise _WrongError(
            f"the parameters of '{name}' are no JSON Schema: {error.message} (at {error.json_path})",
            "json-schema.org/understanding-json-schema tells how to write one",
        ) from error
    return {**function, "parameters": parameters}


_EXAMPLE = '{"name": "find_book", "description": "…", "parameters": {"type": "object", "properties": {…}}}'
