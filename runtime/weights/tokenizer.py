"""A model's tokenizer together with what belongs to it: chat template and special tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenizers import Tokenizer


@dataclass(frozen=True)
class ModelTokenizer:
    """What turns a model's text into tokens and back. Token ids are `None` where the model names none."""

    tokenizer: Tokenizer = field(repr=False)
    """Its post-processor, if any, adds what the model puts around a document (such as a first token)."""
    chat_template: str | None
    """Jinja source."""
    bos: int | None
    """Beginning of a sequence."""
    eos: int | None
    """End of a sequence; for a chat model usually the end of a turn."""
    pad: int | None
    unknown: int | None
    stops: tuple[int, ...]
    """Every token that ends generation, `eos` among them."""

    def text(self, token: int | None) -> str | None:
        """How a special token is written, as templates need it."""
        return None if token is None else self.tokenizer.id_to_token(token)
