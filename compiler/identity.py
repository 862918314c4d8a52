"""What makes two steps the same: canonical JSON of what is computed, and SHA-256 over it.

A value of the language is described by its computation fields alone. Names, documentation, places, execution and
retention take no part, so a changed `doc:` reruns nothing, and a forgotten field is impossible: every field says its
role where it is declared.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from fractions import Fraction
from typing import Any, cast

from dsl.declarations.base import Written

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def sha256(value: Json) -> str:
    """The SHA-256 of the canonical JSON of `value`, in hexadecimal: sorted keys, no blanks, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def describe(value: object) -> Json:
    """What `value` computes, as JSON: computation fields of declarations, compared fields of scalar values.

    Numbers are exact: a whole Fraction is an int, another one the string `numerator/denominator`.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case Fraction():
            return value.numerator if value.denominator == 1 else f"{value.numerator}/{value.denominator}"
        case Written():
            return {
                "is": type(value).__name__,
                **{
                    name: describe(getattr(value, name))
                    for name, facts in type(value).facts().items()
                    if facts.role == "computation"
                },
            }
        case tuple() | list():
            return [describe(item) for item in cast(list[object], value)]
        case dict():
            return {str(key): describe(item) for key, item in cast(dict[object, object], value).items()}
        case _ if is_dataclass(value) and not isinstance(value, type):
            described: dict[str, Any] = {"is": type(value).__name__}
            for field in fields(value):
                if field.compare:
                    described[field.name] = describe(getattr(value, field.name))
            return described
        case _:
            raise TypeError(f"no description of {type(value).__name__}")
