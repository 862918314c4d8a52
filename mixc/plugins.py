"""What a package needs to bring a transform of its own: see docs/plugins.md."""

from __future__ import annotations

from functools import partial

from dsl.declarations.plug_ins import Drop, field
from dsl.declarations.plug_ins import PlugIn as Transform
from dsl.declarations.shapes import ListOf, OneOf, Typed
from dsl.values import Range as RangeValue

Count = partial(Typed, "count")
"""A whole number, an `int`: `Count(low=1)`."""
Number = partial(Typed, "number")
"""A number, kept exactly as a `Fraction`: `Number(low=0, high=1)`, `Number(above=0)`."""
Percent = partial(Typed, "percent")
"""A share, written `3%`, a `Fraction`."""
Boolean = partial(Typed, "boolean")
"""`true` or `false`, a `bool`."""
Range = partial(Typed, "range")
"""`1..4`, a `RangeValue` with `low` and `high`."""
Text = partial(Typed, "text")
"""Any text, a `str`."""
Location = partial(Typed, "location")
"""A file, relative to the spec that names it: a `Path` of one file that is there, when the plug-in runs."""

__all__ = [
    "Boolean",
    "Count",
    "Drop",
    "ListOf",
    "Location",
    "Number",
    "OneOf",
    "Percent",
    "Range",
    "RangeValue",
    "Text",
    "Transform",
    "field",
]
