"""Samples continuations of prompts: many at once, the loop over tokens on the device; or one, token by token."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from numpy.typing import NDArray

from compiler.program.apart import is_apart, taken_apart
from compiler.program.cache import Cache, cache_apart, extend, prefill
from compiler.program.compiled import compiled
from compiler.program.config import DecoderConfig, Parameters, Precision
from compiler.program.decoding import SEGMENT, State, decode, first, joined, taken, with_room
from compiler.program.drawing import draw, row_keys

CACHE_BYTES = 2 << 30
"""What keys and values of the rows that are decoded at once may take."""
_PREFILL_TOKENS = 1 << 13  # read at once; activations take memory
_SMALLEST_BUCKET = 64  # tokens
_FEWEST_ROWS = 8  # fewer cost as much, and with one row matrix products become others, which round in another way


@dataclass(frozen=True)
class Prompt:
    """What one row of a batch is to continue.

    Attributes:
        ids: token ids, at least one and fewer than the model's context.
        tokens: how many to make at most; the model's context ends it too.
        temperature: what logits are divided by; 0 takes the most likely token.
        top_p: share of probability that is kept, in (0, 1].
        seed: of this row's random stream, from 0 to 2 ** 64 - 1.
    """

    ids: Sequence[int]
    tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Continuation:
    """What was made.

    Attributes:
        ids: token ids; where `stopped`, the last one is the stop token.
        stopped: whether a stop token ended it, not its length.
        log_probabilities: float32 `[len(ids)]`, natural, of each token where it was drawn: at the row's temperature (1
            where that is 0), and among all tokens, whatever `top_p` left out.
    """

    ids: tuple[int, ...]
    stopped: bool
    log_probabilities: NDArray[np.float32]

    @property
    def text_ids(self) -> tuple[int, ...]:
        """The ids without the stop token."""
        return self.ids[:-1] if self.stopped else self.ids


def _carry_on() -> None: ...


def sample_batch(
    config: DecoderConfig,
    parameters: Parameters,
    prompts: Sequence[Prompt],
    stops: Collection[int],
    *,
    precision: Precision = "float32",
    cache_bytes: int = CACHE_BYTES,
    between: Callable[[], None] = _carry_on,
) -> list[Continuation]:
    """Continues all prompts, as many at once as the cache has room for.

    A continuation follows from the model and its own prompt alone, not from the prompts beside it, how many they are,
    or when they end: to rounding everywhere, since a matrix product of other rows may be another program, and bit for
    bit with SmolLM2 on a CPU. The same prompts together always give the same bits. Equal prompts are read once.
    Where at most half of the rows still go on, those alone do.

    Args:
        config: the decoder's shape.
        parameters: the decoder's parameters.
        stops: ids that end a continuation.
        precision: dtype of activations and matrix products.
        cache_bytes: what keys and values may take.
        between: called every `SEGMENT` tokens; what it raises ends the work.

    Returns:
        One for each prompt, in their order.
    """
    for prompt in prompts:
        if not 0 < len(prompt.ids) < config.context:
            raise ValueError(f"a prompt of {len(prompt.ids)} tokens in a context of {config.context}")
    ending = jnp.asarray(sorted(stops) or [-1], dtype=jnp.int32)
    found: dict[int, Continuation] = {}
    apart = taken_apart(config, parameters)
    # Prompts of one length lie together, longest first, and equal ones side by side: little is filled up.
    order = sorted(range(len(prompts)), key=lambda number: (-_end(config, prompts[number]), tuple(prompts[number].ids)))
    while order:
        at_once = _rows_at_once(config, prompts[order[0]], precision, cache_bytes)
        part, order = order[:at_once], order[at_once:]
        batch = _Batch(config, parameters, apart, ending, precision, [prompts[number] for number in part])
        found.update(zip(part, batch.run(between), strict=True))
    return [found[number] for number in range(len(prompts))]


class _Batch:
    """Rows that are decoded together."""

    def __init__(
        self,
        config: DecoderConfig,
        parameters: Parameters,
        apart: Parameters,
        stops: jax.Array,
        precision: Precision,
        prompts: Sequence[Prompt],
    ) -> None:
        self._config = config
        self._parameters = parameters
        self._apart = apart
        self._stops = stops
        self._precision: Precision = precision
        self._prompts = prompts
        self._rows: list[int] = list(range(len(prompts)))
        """The prompt of each row of the state; rows beyond are there to fill it up."""
        self._made = [_Made() for _ in prompts]

    def run(self, between: Callable[[], None]) -> list[Continuation]:
        state = self._begun()
        left = on_host(state.left)
        lengths = on_host(state.cache.lengths)
        while (live := np.flatnonzero(left)).size:
            between()
            if row_bucket(live.size) <= len(left) // 2:
                state, left, lengths = self._compacted(state, live, left, lengths)
                live = np.flatnonzero(left)
            steps = min(SEGMENT, int(left.max()))
            capacity = self._capacity(int(lengths[live].max()) + steps)
            if capacity > state.cache.capacity:
                state = state._replace(cache=with_room(state.cache, capacity))
            state, tokens, values = decode(
                self._config, self._apart, state, self._stops, jnp.asarray(steps, dtype=jnp.int32), self._precision
            )
            after = on_host(state.left)
            self._take(on_host(tokens), on_host(values), left, after)
            left, lengths = after, on_host(state.cache.lengths)
        return [made.whole() for made in self._made]

    def _begun(self) -> State:
        """Reads the prompts, each of several equal ones once, and draws the first tokens."""
        config, prompts = self._config, self._prompts
        unique = list(dict.fromkeys(tuple(prompt.ids) for prompt in prompts))
        count = row_bucket(len(prompts))
        filled = [*prompts, *[prompts[0]] * (count - len(prompts))]
        longest = max(len(ids) for ids in unique)
        capacity = self._capacity(longest + min(SEGMENT, max(prompt.tokens for prompt in prompts)))
        logits, cache = self._prefilled(unique, capacity)
        number = {ids: index for index, ids in enumerate(unique)}
        rows = jnp.asarray([number[tuple(prompt.ids)] for prompt in filled], dtype=jnp.int32)
        ends = [_end(config, prompt) - len(prompt.ids) for prompt in prompts]
        left = np.zeros(count, np.int32)
        left[: len(prompts)] = ends
        state, values = first(
            logits,
            cache,
            rows,
            row_keys([prompt.seed for prompt in filled]),
            jnp.asarray([prompt.temperature for prompt in filled], dtype=jnp.float32),
            jnp.asarray([prompt.top_p for prompt in filled], dtype=jnp.float32),
            jnp.asarray(left),
            self._stops,
        )
        if is_apart(self._apart):
            state = state._replace(cache=cache_apart(state.cache))
        self._take(on_host(state.drawn)[:, None], on_host(values)[:, None], left, on_host(state.left))
        return state

    def _prefilled(self, unique: Sequence[tuple[int, ...]], capacity: int) -> tuple[jax.Array, Cache]:
        """Logits and cache of prompts in their order; each is read among those of its own bucket."""
        widths = [bucket(len(ids), self._config.context) for ids in unique]
        order: list[int] = []  # -1 stands for a row that fills up
        parts: list[tuple[jax.Array, Cache]] = []
        for width in sorted(set(widths)):
            members = [index for index, each in enumerate(widths) if each == width]
            at_once = max(_PREFILL_TOKENS // width, 1)
            for start in range(0, len(members), at_once):
                part = members[start : start + at_once]
                count = min(row_bucket(len(part)), max(at_once, _FEWEST_ROWS))
                tokens = np.zeros((count, width), np.int32)
                lengths = np.ones(count, np.int32)
                for row, index in enumerate(part):
                    tokens[row, : len(unique[index])] = unique[index]
                    lengths[row] = len(unique[index])
                logits, cache = prefill(
                    self._config,
                    self._parameters,
                    jnp.asarray(tokens),
                    jnp.asarray(lengths),
                    max(capacity, width),
                    self._precision,
                )
                order += part
                order += [-1] * (count - len(part))
                parts.append((logits, cache))
        inverse = {index: place for place, index in enumerate(order) if index >= 0}
        return joined(parts, jnp.asarray([inverse[index] for index in range(len(unique))], dtype=jnp.int32))

    def _compacted(
        self, state: State, live: NDArray[np.intp], left: NDArray[np.int32], lengths: NDArray[np.int32]
    ) -> tuple[State, NDArray[np.int32], NDArray[np.int32]]:
        """The rows that go on, and some that have ended where there are too few of them."""
        ended = np.flatnonzero(left == 0)[: row_bucket(live.size) - live.size]
        kept = np.concatenate([live, ended])
        self._rows = [self._rows[int(row)] for row in live]
        return taken(state, jnp.asarray(kept.astype(np.int32))), left[kept], lengths[kept]

    def _take(
        self,
        tokens: NDArray[np.int32],
        values: NDArray[np.float32],
        before: NDArray[np.int32],
        after: NDArray[np.int32],
    ) -> None:
        """Takes down what rows have made: `tokens` and `values` are `[rows, steps]`."""
        stops = set(cast(list[int], on_host(self._stops).tolist()))
        for row, prompt in enumerate(self._rows):
            made = self._made[prompt]
            for token, value in zip(tokens[row].tolist(), values[row], strict=True):
                if before[row] == 0 or made.stopped or len(made.ids) == self._most(prompt) or token < 0:
                    break
                made.ids.append(token)
                made.values.append(value)
                made.stopped = token in stops
            assert (after[row] == 0) == (made.stopped or len(made.ids) == self._most(prompt))

    def _most(self, prompt: int) -> int:
        return _end(self._config, self._prompts[prompt]) - len(self._prompts[prompt].ids)

    def _capacity(self, length: int) -> int:
        """Places of the cache for rows of so many tokens: powers of two, and the numbers half-way between."""
        whole = bucket(length, self._config.context)
        return whole * 3 // 4 if whole > 2 * _SMALLEST_BUCKET and length <= whole * 3 // 4 else whole


@dataclass
class _Made:
    ids: list[int] = field(default_factory=list[int])
    values: list[np.float32] = field(default_factory=list[np.float32])
    stopped: bool = False

    def whole(self) -> Continuation:
        return Continuation(tuple(self.ids), self.stopped, np.array(self.values, np.float32))


def on_host(array: jax.Array) -> NDArray[Any]:
    """An array in this process's memory, whole; where it is spread over processes, all of them have to ask."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def _rows_at_once(config: DecoderConfig, longest: Prompt, precision: Precision, cache_bytes: int) -> int:
    size = 2 if precision == "bfloat16" else 4
    token = 2 * config.layers * config.key_value_heads * config.head_size * size
    fitting = cache_bytes // (token * bucket(_end(config, longest), config.context))
    return max(1 << (fitting.bit_length() - 1) if fitting else 0, _FEWEST_ROWS)


def _end(config: DecoderConfig, prompt: Prompt) -> int:
    """The most tokens that prompt and continuation can have."""
    return min(len(prompt.ids) + prompt.tokens, config.context)


def sample(
    config: DecoderConfig,
    parameters: Parameters,
    prompt: Sequence[int],
    *,
    tokens: int,
    temperature: float,
    seed: int,
    stops: Collection[int],
    precision: Precision = "float32",
) -> Iterator[int]:
    """Yields the tokens that follow `prompt`, each as soon as it is there.

    Args:
        config: the decoder's shape.
        parameters: the decoder's parameters.
        prompt: token ids, at least one.
        tokens: how many to make at most; the model's context ends it too.
        temperature: what logits are divided by; 0 takes the most likely token.
        seed: the same seed and prompt give the same tokens on the same machine.
        stops: ids that end it; they aren't yielded.
        precision: dtype of activations and matrix products.

    Raises:
        ValueError: the prompt is empty or longer than the model's context.
    """
    if not 0 < len(prompt) <= config.context:
        raise ValueError(f"a prompt of {len(prompt)} tokens in a context of {config.context}")
    end = min(len(prompt) + tokens, config.context)
    width = bucket(len(prompt), config.context)
    padded = np.zeros((1, width), dtype=np.int32)
    padded[0, : len(prompt)] = prompt
    lengths = jnp.asarray([len(prompt)], dtype=jnp.int32)
    capacity = max(width, bucket(end, config.context))
    logits, cache = prefill(config, parameters, jnp.asarray(padded), lengths, capacity, precision)
    apart = taken_apart(config, parameters)
    if is_apart(apart):
        cache = cache_apart(cache)
    keys, temperatures = row_keys([seed]), jnp.asarray([temperature], dtype=jnp.float32)
    everything = jnp.ones((1,), dtype=jnp.float32)
    for place in range(len(prompt), end):
        chosen, _ = _drawn(logits, keys, jnp.asarray([place], dtype=jnp.int32), temperatures, everything)
        if int(chosen[0]) in stops:
            return
        yield int(chosen[0])
        if place + 1 < end:
            logits, cache = extend(config, apart, cache, chosen, precision)


_drawn = compiled()(draw)


def bucket(length: int, most: int) -> int:
    """The least power of two that holds `length` tokens, at least 64, at most `most`: few shapes, few compilations."""
    return min(max(_SMALLEST_BUCKET, 1 << (length - 1).bit_length()), most)


def row_bucket(count: int) -> int:
    """The least power of two that holds so many rows, at least 8."""
    return max(_FEWEST_ROWS, 1 << (count - 1).bit_length())
