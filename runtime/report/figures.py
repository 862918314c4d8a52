"""How counts and sizes are written in reports."""

from __future__ import annotations


def count(n: int | None) -> str:
    """`12,345`; a number that isn't known yet is `unknown`."""
    return "unknown" if n is None else f"{n:,}"


def short(x: float | None) -> str:
    """Three digits with an SI suffix: `134M`, `1.52k`."""
    if x is None:
        return "unknown"
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= limit:
            return f"{x / limit:.3g}{suffix}"
    return f"{x:.3g}"


def share(x: float | None) -> str:
    """`70.0%`."""
    return "unknown" if x is None else f"{100 * x:.1f}%"


def scientific(x: float | None) -> str:
    """`1.7e14`."""
    return "unknown" if x is None else f"{x:.2e}".replace("e+", "e")
