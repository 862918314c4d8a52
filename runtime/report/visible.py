"""Text of data and models as it may be shown: characters that hide, reorder or end text are written out."""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
"""Controls but for tab and line feed, marks that change the direction of text, those without width, lone surrogates."""


def visible(text: str) -> str:
    """`abc⟨U+202E⟩def`: what would reorder or hide text stands there by its number; line ends become one kind."""
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", text.replace("\r\n", "\n"))
