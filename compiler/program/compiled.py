"""`jax.jit` that keeps the function's type."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import jax

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Compiled(Protocol[P, R_co]):
    """A function that is compiled on the first call with each shape, or ahead of time with `lower`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """The program for arguments like these; `jax.ShapeDtypeStruct` may stand for arrays."""
        ...


def compiled(
    *, static: tuple[str, ...] = (), donate: tuple[str, ...] = ()
) -> Callable[[Callable[P, R_co]], Compiled[P, R_co]]:
    """A decorator: `static` names the arguments that are part of the program, `donate` those whose buffers it takes."""

    def decorate(function: Callable[P, R_co]) -> Compiled[P, R_co]:
        return cast(Compiled[P, R_co], jax.jit(function, static_argnames=static, donate_argnames=donate))

    return decorate
