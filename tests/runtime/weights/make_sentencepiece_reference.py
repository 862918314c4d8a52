"""Writes what sentencepiece makes of some texts with small vocabularies of its own, for the tests to compare with.

Run it in an environment with sentencepiece and this repository's root on the path:

    python -m tests.runtime.weights.make_sentencepiece_reference
"""

from __future__ import annotations

import io
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "sentencepiece.json"
COMMAND = "python -m tests.runtime.weights.make_sentencepiece_reference"
FICTION = Path(__file__).parents[3] / "specs" / "data" / "fiction"

TEXTS = [
    "The old lighthouse keeper counted the ships every evening, and wrote their names in a book.",
    "",
    " ",
    "a",
    "  two   three    four and a trailing space ",
    "line one\nline two\n\n\ttab",
    "Preis: 1.234,50 € – naïve café, 日本語, 🎉🎉 at 12:34:56!",  # noqa: RUF001
    "e\u0301 vs é; zero\u200bwidth; nb\u00a0sp",
    "def f(n): return n if n < 2 else f(n - 1)",
    "aaaaaaaaaaaaaaaaaaaa!!!!!!!! thethethe",
]


def reference(*, space_before: bool) -> dict[str, Any]:
    """A vocabulary trained on stories of this repository, and the ids that it gives."""
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(FICTION.glob("0*.md")))
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(text.split("\n")),
        model_writer=model,
        model_type="bpe",
        vocab_size=700,
        byte_fallback=True,
        add_dummy_prefix=space_before,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    processor = SentencePieceProcessor(model_proto=model.getvalue())
    pieces = range(processor.get_piece_size())
    ids = [processor.encode(text) for text in TEXTS]
    return {
        "pieces": [processor.id_to_piece(piece) for piece in pieces],
        "scores": [processor.get_score(piece) for piece in pieces],
        "ids": ids,
        "decoded": [processor.decode(each) for each in ids],
    }


def main() -> int:
    made = {
        "made_by": {"command": COMMAND, "sentencepiece": version("sentencepiece")},
        "space_before": reference(space_before=True),
        "no_space_before": reference(space_before=False),
    }
    FILE.write_text(json.dumps(made, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
