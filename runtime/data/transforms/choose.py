"""Transforms that only choose rows: filter, take, holdout. Pure: the same rows give the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from dsl.values import Predicate, Quantity
from runtime.data.amounts import number
from runtime.data.keys import key, row_hashes
from runtime.data.predicates import evaluate
from runtime.data.rows import Format, Rows
from runtime.data.streams import nearest_count
from runtime.errors import UserError

Dropped = Mapping[str, int]
"""How many rows were dropped, by the reason."""


def filter_rows(
    rows: Rows, predicate: Predicate, format: Format, tokens: NDArray[np.int64] | None, reason: str
) -> tuple[Rows, Dropped]:
    """The rows for which the predicate holds.

    Args:
        tokens: int64[n], see `evaluate`.
        reason: what the plan calls the rows that it drops: the predicate as written.

    Raises:
        UserError: those of `evaluate`, and where no row is left.
    """
    holds = evaluate(predicate, format, rows, tokens)
    if not holds.any():
        raise UserError(
            f"none of {len(rows):,} rows is left by filter({reason})",
            "loosen the filter; the plan without it counts rows and tokens",
        )
    return rows.select(holds), _dropped(reason, len(rows) - int(holds.sum()))


def take_rows(rows: Rows, quantity: Quantity, lengths: NDArray[np.int64]) -> tuple[Rows, Dropped]:
    """As many rows as come nearest to the quantity, chosen by a keyed hash of what they are.

    A larger quantity takes the same rows and more; a row that is added elsewhere changes hardly any choice.

    Args:
        lengths: int64[n] in the unit of the quantity: tokens, trained tokens, or ones for examples.

    Raises:
        UserError: there is less than the quantity, by the length of a row or more.
    """
    wanted = quantity.count
    by_hash = np.argsort(row_hashes(rows.identity, rows.occurrence, _TAKE), kind="stable")
    there = int(lengths.sum())
    if wanted - there >= int(lengths.max()):
        raise UserError(
            f"take({number(wanted)} {quantity.unit}) finds {number(there)} in {len(rows):,} rows",
            f"take at most {number(there)} {quantity.unit}, or leave `take` out",
        )
    count = nearest_count(lengths[by_hash], wanted)
    if count == 0:
        raise UserError(f"take({number(wanted)} {quantity.unit}) is less than half a row", "take more")
    return rows.select(np.sort(by_hash[:count])), _dropped("take", len(rows) - count)


def hold_out_rows(rows: Rows, share: Fraction) -> tuple[Rows, Rows]:
    """The rows that stay, and those that are set aside: about `share` of them, by a keyed hash of the record.

    A row's side follows from its record alone, so equal rows go to the same side, and added rows move none. UserError
    where a side is empty.
    """
    hashes = row_hashes(rows.identity, np.zeros(len(rows), np.int32), _HOLDOUT)
    held = hashes < np.uint64(min(int(share * 2**64), 2**64 - 1))
    if held.all() or not held.any():
        left = "no row aside" if not held.any() else "every row aside"
        raise UserError(f"a holdout of {number(share * 100)}% sets {left}, of {len(rows):,}", "change the percentage")
    return rows.select(~held), rows.select(held)


_HOLDOUT = key(0, "holdout", "", 0)
_TAKE = key(0, "take", "", 0)
"""One key each for all sources: transforms don't vary with a study's seeds."""


def _dropped(reason: str, count: int) -> Dropped:
    return {reason: count} if count else {}
