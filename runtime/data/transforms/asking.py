"""What the transforms that ask a model share: when too many answers are of no use, and how one is shown."""

from __future__ import annotations

from runtime.data.transforms.outcome import Tally
from runtime.errors import UserError

UNUSABLE = 5
"""One answer in so many may be of no use; more stops the run."""


def check_usable(lost: Tally, total: int, what: str, help: str) -> None:
    """UserError where more than 20% of the answers are of no use, with the first of them."""
    count = lost.total
    if count * UNUSABLE <= total:
        return
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in lost.counts.items())
    shown = "".join(
        f"\n  {example.place}: {reason}" + (f": {example.detail}" if example.detail else "")
        for reason, examples in lost.examples.items()
        for example in examples
    )
    raise UserError(f"{count:,} of {total:,} {what} can't be used ({reasons}); more than 20% stops here:{shown}", help)


def shortened(text: str, most: int = 120) -> str:
    """The end of a text in one line, for an example."""
    line = " ".join(text.split())
    return line if len(line) <= most else "…" + line[-most:]
