"""Transforms that only choose rows: filter, take, split, holdout. Pure: the same rows give the same rows."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dsl.values import Predicate, Quantity
from runtime.data.amounts import number
from runtime.data.keys import key, row_hashes
from runtime.data.predicates import evaluate
from runtime.data.rows import Format, Rows
from runtime.data.streams import nearest_count
from runtime.data.transforms.outcome import EXAMPLES, Example, Outcome, Tally
from runtime.errors import UserError


def filter_rows(
    rows: Rows, predicate: Predicate, format: Format, tokens: NDArray[np.int64] | None, reason: str
) -> Outcome:
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
    return _chosen(rows, holds, reason)


def take_rows(rows: Rows, quantity: Quantity, lengths: NDArray[np.int64]) -> Outcome:
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
    taken = np.zeros(len(rows), np.bool_)
    taken[by_hash[:count]] = True
    return _chosen(rows, taken, "take")


def split_rows(rows: Rows, low: Fraction, high: Fraction) -> Outcome:
    """The rows whose keyed hash, as a number from 0 to 1, lies from `low` up to `high` (exclusive, but for 1).

    Ranges that don't overlap share no row, and ranges that leave no gap give all rows. A row's place follows from its
    record alone: equal rows lie on the same side of any split, and added rows move none. UserError where none is left.
    """
    taken = _between(rows, low, high, _SPLIT)
    if not taken.any():
        raise UserError(
            f"none of {len(rows):,} rows is in split({float(low):g}..{float(high):g})", "take a larger part of the rows"
        )
    return _chosen(rows, taken, "split")


def hold_out_rows(rows: Rows, share: Fraction, side: Literal["kept", "held_out"]) -> Outcome:
    """The rows that stay, or those that are set aside: about `share` of them, by a keyed hash of the record.

    A row's side follows from its record alone, so equal rows go to the same side, and added rows move none. No row
    counts as dropped: it is on the other side. UserError where a side is empty.
    """
    held = _between(rows, Fraction(0), share, _HOLDOUT)
    if held.all() or not held.any():
        left = "no row aside" if not held.any() else "every row aside"
        raise UserError(f"a holdout of {number(share * 100)}% sets {left}, of {len(rows):,}", "change the percentage")
    return Outcome(rows.select(held if side == "held_out" else ~held))


_HOLDOUT = key(0, "holdout", "", 0)
_SPLIT = key(0, "split", "", 0)
_TAKE = key(0, "take", "", 0)
"""One key each for all sources: transforms don't vary with a study's seeds."""


def _between(rows: Rows, low: Fraction, high: Fraction, key: int) -> NDArray[np.bool_]:
    """bool[n], whose hash, as a number from 0 to 1, is at least `low` and less than `high`, or anything up to 1."""
    hashes = row_hashes(rows.identity, np.zeros(len(rows), np.int32), key)
    above = hashes >= np.uint64(min(int(low * 2**64), 2**64 - 1))
    return above if high >= 1 else above & (hashes < np.uint64(int(high * 2**64)))


def _chosen(rows: Rows, chosen: NDArray[np.bool_], reason: str) -> Outcome:
    left_out = np.flatnonzero(~chosen)
    if not len(left_out):
        return Outcome(rows)
    shown = [Example(rows.place(number)) for number in left_out[:EXAMPLES].tolist()]
    return Outcome(rows.select(chosen), dropped=Tally({reason: len(left_out)}, {reason: shown}))
