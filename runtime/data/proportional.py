"""Shares by size, evened out by a temperature: the way corpora of many languages are sampled."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction


def proportional(sizes: Sequence[Fraction], temperature: Fraction) -> list[int]:
    """Weights in proportion to each size to the power 1/temperature, of which the largest is 10**18.

    1 keeps the proportions, more lifts the small ones, less the large ones. (Exponentially smoothed weighting, Devlin
    et al. 2018, multilingual BERT; Conneau et al. 2020, XLM-R, equation 1 with alpha = 1/temperature.) Decimal's
    logarithm and exponential are rounded correctly, so the weights are the same on every machine.

    Args:
        sizes: not negative; nothing of a part without rows.
        temperature: above 0.
    """
    context = Context(prec=40)
    largest = max(sizes, default=Fraction(0))
    return [_weight(size / largest, temperature, context) if size else 0 for size in sizes]


def _weight(size: Fraction, temperature: Fraction, context: Context) -> int:
    logarithm = context.ln(_decimal(size, context))
    return round(_MOST * context.exp(context.divide(logarithm, _decimal(temperature, context)))) or 1


def _decimal(value: Fraction, context: Context) -> Decimal:
    return context.divide(Decimal(value.numerator), Decimal(value.denominator))


_MOST = Decimal(10**18)
