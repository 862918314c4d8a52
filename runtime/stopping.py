"""Stopping in good order: what long work raises once it has been asked to stop and has saved what it can."""

from __future__ import annotations


class Stopped(Exception):  # noqa: N818  (nothing went wrong)
    """The work was asked to stop; what is done is kept, and the same command goes on from there."""
