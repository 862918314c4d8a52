"""What calls of a model may cost: prices by the token, and the ceiling that a spec sets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import ip_address
from urllib.parse import urlsplit

from runtime.errors import UserError
from runtime.model_calls.answers import Used


@dataclass(frozen=True)
class Price:
    """Dollars for a million tokens."""

    input: Fraction
    output: Fraction

    def of(self, input_tokens: int, output_tokens: int) -> Fraction:
        """Dollars. Tokens that a provider gives at a discount, from its cache, count in full."""
        return (self.input * input_tokens + self.output * output_tokens) / 1_000_000


FREE = Price(Fraction(0), Fraction(0))

PRICES: Mapping[str, tuple[str, str]] = {
    "anthropic/claude-haiku-4-5": ("1", "5"),
    "anthropic/claude-sonnet-4": ("3", "15"),
    "anthropic/claude-sonnet-4-5": ("3", "15"),
    "anthropic/claude-sonnet-4-6": ("3", "15"),
    "anthropic/claude-opus-4": ("15", "75"),
    "anthropic/claude-opus-4-1": ("15", "75"),
    "anthropic/claude-opus-4-5": ("5", "25"),
    "anthropic/claude-opus-4-6": ("5", "25"),
    "openai/gpt-4o": ("2.5", "10"),
    "openai/gpt-4o-mini": ("0.15", "0.6"),
    "openai/gpt-4.1": ("2", "8"),
    "openai/gpt-4.1-mini": ("0.4", "1.6"),
    "openai/gpt-4.1-nano": ("0.1", "0.4"),
    "openai/gpt-5": ("1.25", "10"),
    "openai/gpt-5-mini": ("0.25", "2"),
    "openai/gpt-5-nano": ("0.05", "0.4"),
    "openai/gpt-5.1": ("1.25", "10"),
    "openai/o3": ("2", "8"),
    "openai/o4-mini": ("1.1", "4.4"),
}
"""Dollars for a million tokens in and out, as the providers published them in March 2026. Inspect ships none."""

_ON_THIS_MACHINE = ("hf", "vllm", "sglang", "ollama", "llama-cpp-python", "transformer_lens", "nnterp", "mockllm")


def price_of(api: str, base_url: str | None) -> Price | None:
    """The price of a served model, None where it isn't known; a snapshot (`NAME-20250929`) costs what its model does.

    Args:
        api: PROVIDER/NAME.
        base_url: where it is served; a server on this machine costs nothing.
    """
    if api.split("/")[0] in _ON_THIS_MACHINE or _is_loopback(base_url):
        return FREE
    name, _, last = api.rpartition("-")
    known = PRICES.get(name if last.isdigit() and len(last) == 8 else api)
    return None if known is None else Price(Fraction(known[0]), Fraction(known[1]))


def _is_loopback(base_url: str | None) -> bool:
    host = urlsplit(base_url or "").hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Ceiling:
    """Keeps what was spent and what calls in flight may cost at worst below an amount.

    What was spent is what all answers of the model in this store cost, whichever transform or study asked for them:
    `spend:` is a field of the model.

    Args:
        dollars: the amount.
        used: what the model was paid for so far.
    """

    def __init__(self, dollars: Fraction, price: Price, model: str, used: Callable[[], Used]) -> None:
        self.dollars = dollars
        self.price = price
        self._model = model
        self._used = used
        self._reserved = Fraction(0)
        self._flying = 0
        self._landed = asyncio.Event()

    @property
    def spent(self) -> Fraction:
        used = self._used()
        return self.price.of(used.input_tokens, used.output_tokens)

    async def reserve(self, worst: Fraction) -> None:
        """Waits until a call that costs `worst` at most fits in; `release` it when it has ended.

        Raises:
            UserError: it doesn't fit, and no call is in flight that could turn out cheaper.
        """
        while self.spent + self._reserved + worst > self.dollars:
            if not self._flying:
                raise UserError(
                    f"{money(self.spent)} of {money(self.dollars)} for {self._model} are spent, and the next call may "
                    f"cost {money(worst)}",
                    "raise `spend:` of the model, or give it a smaller `max_tokens:`, and run the same command again; "
                    "answers that were paid for are kept",
                )
            self._landed.clear()
            await self._landed.wait()
        self._reserved += worst
        self._flying += 1

    def release(self, worst: Fraction) -> None:
        self._reserved -= worst
        self._flying -= 1
        self._landed.set()


def money(dollars: Fraction) -> str:
    """`$12.50`, `$0.0004`."""
    amount = float(dollars)
    return f"${amount:,.2f}" if amount >= 0.01 or not amount else f"${amount:.2g}"
