"""What stands where no value could be made, so that one mistake hides no other and is told once."""

from __future__ import annotations

from typing import Any, Final, NoReturn, TypeVar

_Value = TypeVar("_Value")


class IncompleteError(Exception):
    """Something asked for a value that isn't there because of a mistake that has been reported."""


class Hole:
    """Stands in a declaration for a value that is wrong or missing; whatever looks into it stops with IncompleteError.

    So a check is written as if every value were there, and says nothing about those that aren't. Two questions can't be
    stopped: `type(x)` (ask `x.__class__`) and `x is None` (ask `known(x) is None`).
    """

    def _stop(self, *_: Any) -> NoReturn:
        raise IncompleteError

    __getattr__ = __bool__ = __iter__ = __len__ = __contains__ = __getitem__ = _stop
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __hash__ = _stop  # pyright: ignore[reportAssignmentType]
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _stop
    __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = _stop
    __str__ = __format__ = _stop  # pyright: ignore[reportAssignmentType]
    __class__ = property(_stop)  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]


HOLE: Final[Any] = Hole()
"""The only one: compare with `is`."""


def known(value: _Value) -> _Value:
    """The value, for a question that a hole can't stop: `known(eval.scale) is None`. Raises IncompleteError."""
    if value is HOLE:
        raise IncompleteError
    return value
