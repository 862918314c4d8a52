"""Locations with a scheme: which there are, and how each is written."""

from __future__ import annotations

from dsl.describe import known_help

SCHEMES = {
    "gs": "gs://BUCKET/PATH",
    "s3": "s3://BUCKET/PATH",
    "hf": "hf://ORGANISATION/NAME, or hf://datasets/ORGANISATION/NAME/PATH",
    "package": "package://NAME/FILE",
}
"""What may stand before `://`, and how such a location is written."""


def scheme_mistake(text: str) -> tuple[str, str] | None:
    """What is wrong with a location that has a scheme, and the mend; None where it says what there is meant."""
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES:
        return f"unknown kind of location '{scheme}://'", known_help(scheme, SCHEMES)
    if not all((rest.removeprefix("datasets/") if scheme == "hf" else rest).partition("/")[::2]):
        return f"'{text}' doesn't say what is there", f"write {SCHEMES[scheme]}"
    return None
