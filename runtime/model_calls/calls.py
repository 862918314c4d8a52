"""Asks a model many things at once, each once: what is stored isn't asked again, and what comes is stored at once."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Event
from typing import TYPE_CHECKING, Any

from runtime.data.rows import canonical_json
from runtime.errors import UserError
from runtime.model_calls.answers import Answers
from runtime.model_calls.failures import Patience, Retries, judged, not_opened
from runtime.model_calls.prices import Ceiling, Price, money, price_of
from runtime.model_calls.requests import Answer, Exchange, Request, Result, Settings, key_of
from runtime.progress import Reporter, Tracker, Work
from runtime.stopping import Stopped

if TYPE_CHECKING:
    from inspect_ai.model import GenerateConfig, Model

CONNECTIONS = 50
"""Calls in flight at most. Inspect begins with ten, goes up while all is well, and down when a rate limit is met."""
GRACE_SECONDS = 1.0
"""How long calls in flight may still end once the work is to stop."""
_POLL_SECONDS = 0.1


@dataclass
class Caller:
    """A model with its settings, and where its answers are kept.

    Attributes:
        name: as the spec calls the model.
        model: PROVIDER/NAME, or the content hash of weights of ours: a part of every answer's key.
        open: makes Inspect's model. Called when something has to be asked, in the loop that asks.
        spend: dollars that all answers of this model in the store may cost.
        price: of the model; None where Inspect's provider and our table say it.
        connections: calls in flight at most.
        patience: how failed calls are tried again; None for weights of ours, where nothing passes by itself.
    """

    name: str
    model: str
    open: Callable[[], Model]
    settings: Settings
    answers: Answers
    reporter: Reporter
    stop: Event = field(default_factory=Event)
    spend: Fraction | None = None
    price: Price | None = None
    connections: int = CONNECTIONS
    patience: Patience | None = field(default_factory=Patience)

    def __post_init__(self) -> None:
        self.retries = Retries(self.name, self.patience, self.reporter.say) if self.patience else None

    def converse(self, what: str, exchanges: Callable[[], Iterable[Exchange[Result]]], total: int) -> Iterator[Result]:
        """Goes through all exchanges, many at once, and then yields what each returns, in their order.

        Args:
            what: what is being done, for people.
            exchanges: makes them anew on each call, always the same ones: once to ask, and once to put the stored
                answers together, so that none has to be held in memory.
            total: how many there are.

        Raises:
            Stopped: `stop` was set.
            UserError: the model can't be asked, or the ceiling is reached. All answers so far are stored.
        """
        if self._missing(exchanges()):
            with self.reporter.work(what, total, "answered", "calls") as tracker, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Inspect and its clients about each other: nobody here can mend it
                asyncio.run(_Asking(self, tracker).all(exchanges()))
        for exchange in exchanges():
            yield self._replayed(exchange)

    @asynccontextmanager
    async def one_by_one(self) -> AsyncIterator[Callable[[Request, Settings], Awaitable[Answer]]]:
        """Asks what others come up with, in their loop, with settings of each request: each is answered once.

        The model is opened when something has to be asked. What is asked may raise as `converse` does.
        """
        asking = _Asking(self, Tracker(Work(self.name, 0, "answered", "calls"), None))
        opening, opened = asyncio.Lock(), list["Model"]()
        async with AsyncExitStack() as stack:

            async def ask(request: Request, settings: Settings) -> Answer:
                answer = self.answers.get(self.key(request, settings))
                if answer is not None:
                    return answer
                async with opening:
                    if not opened:
                        opened.append(await stack.enter_async_context(asking.opened()))
                return await asking.shared(opened[0], request, settings)

            watch = asyncio.create_task(asking.watch())
            try:
                yield ask
            finally:
                watch.cancel()

    def key(self, request: Request, settings: Settings | None = None) -> bytes:
        return key_of(request, self.model, settings or self.settings)

    def _missing(self, exchanges: Iterable[Exchange[Any]]) -> bool:
        """Whether any answer isn't there yet."""
        return any(not self._is_answered(exchange) for exchange in exchanges)

    def _is_answered(self, exchange: Exchange[Any]) -> bool:
        answer: Answer | None = None
        try:
            request = next(exchange)
            while (answer := self.answers.get(self.key(request))) is not None:
                request = exchange.send(answer)
        except StopIteration:
            return True
        return False

    def _replayed(self, exchange: Exchange[Result]) -> Result:
        try:
            request = next(exchange)
            while True:
                answer = self.answers.get(self.key(request))
                if answer is None:
                    raise UserError(
                        "an answer that was stored is no longer there", "run again: it is asked for", self.name
                    )
                request = exchange.send(answer)
        except StopIteration as end:
            return end.value


class _Asking:
    """One run of calls, inside an event loop."""

    def __init__(self, caller: Caller, tracker: Tracker) -> None:
        self._caller = caller
        self._tracker = tracker
        self._stopping = asyncio.Event()
        self._flying: dict[bytes, asyncio.Future[Answer]] = {}
        self._ceiling: Ceiling | None = None
        self._worst_output = 0
        self._from_store = 0
        self._done = 0

    async def all(self, exchanges: Iterable[Exchange[Any]]) -> None:
        waiting = iter(exchanges)
        async with self.opened() as model:
            workers = [asyncio.create_task(self._work(model, waiting)) for _ in range(self._caller.connections)]
            watch = asyncio.create_task(self.watch())
            ending = asyncio.create_task(asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION))
            try:
                await asyncio.wait((ending, watch), return_when=asyncio.FIRST_COMPLETED)
                if any(not worker.done() for worker in workers):
                    self._stopping.set()
                    await asyncio.wait(workers, timeout=GRACE_SECONDS)
            finally:
                for task in (watch, ending, *workers):
                    task.cancel()
                ended = await asyncio.gather(*workers, return_exceptions=True)
                await asyncio.gather(watch, ending, return_exceptions=True)
        failures = [error for error in ended if isinstance(error, Exception)]
        serious = [error for error in failures if not isinstance(error, Stopped)]
        if serious:
            raise serious[0]
        if failures or self._caller.stop.is_set():
            raise Stopped

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Model]:
        caller = self._caller
        try:
            model = caller.open()
        except UserError:
            raise
        except Exception as error:  # whatever a provider's client doesn't like: it is told to the user
            raise not_opened(error, caller.name) from error
        client: Any = getattr(model.api, "client", None)
        if hasattr(client, "max_retries"):
            client.max_retries = 0
        if caller.spend is not None:
            self._ceiling = self._made_ceiling(model, caller.spend)
        model.api.count_text_tokens = _estimated_tokens
        async with model:
            yield model

    def _made_ceiling(self, model: Model, spend: Fraction) -> Ceiling:
        caller = self._caller
        price = caller.price or price_of(caller.model, model.api.base_url)
        if price is None:
            raise UserError(
                f"nothing says what {caller.model} costs, and its calls may cost {money(spend)} at most",
                "give the model its price, or take `spend:` out",
                caller.name,
            )
        most = caller.settings.max_tokens or model.api.max_tokens_for_config(model.config) or model.api.max_tokens()
        if most is None:
            most = _most_tokens(model)
        if most is None and price.output:
            raise UserError(
                f"nothing says how long an answer of {caller.model} may become, and so what it may cost",
                "give the model `max_tokens:`",
                caller.name,
            )
        self._worst_output = most or 0
        return Ceiling(spend, price, caller.name, lambda: caller.answers.used(caller.model))

    async def watch(self) -> None:
        while not self._caller.stop.is_set():
            await asyncio.sleep(_POLL_SECONDS)
        self._stopping.set()

    async def _work(self, model: Model, waiting: Iterator[Exchange[Any]]) -> None:
        for exchange in waiting:
            asked = False
            with suppress(StopIteration):
                request = next(exchange)
                while True:
                    answer = self._caller.answers.get(self._caller.key(request))
                    if answer is None:
                        if self._stopping.is_set():
                            raise Stopped
                        answer, asked = await self.shared(model, request), True
                    request = exchange.send(answer)
            self._count(asked)
            if not asked:
                await asyncio.sleep(0)  # stored answers in a row keep the others waiting no longer than one takes
            if self._stopping.is_set():
                raise Stopped

    def _count(self, asked: bool) -> None:
        self._done += 1
        if not asked:
            self._from_store += 1
            self._tracker.work.first += 1
        notes = [f"{self._from_store:,} from the store"] if self._from_store else []
        if self._ceiling:
            notes.append(f"{money(self._ceiling.spent)} of {money(self._ceiling.dollars)}")
        self._tracker.to(self._done, int(asked), ", ".join(notes))

    async def shared(self, model: Model, request: Request, settings: Settings | None = None) -> Answer:
        """The answer to a request that isn't stored; one call, however many ask for it at the same time."""
        key = self._caller.key(request, settings)
        if (flying := self._flying.get(key)) is None:
            # A task and a context of its own: what Inspect takes down of a call belongs to them, and goes with them.
            stored = self._stored(model, request, settings, key)
            flying = self._flying[key] = asyncio.create_task(stored, context=Context())
            flying.add_done_callback(lambda _: self._flying.pop(key))
        return await flying

    async def _stored(self, model: Model, request: Request, settings: Settings | None, key: bytes) -> Answer:
        if self._ceiling is None:
            answer = await self._answered(model, request, settings, key)
            return self._caller.answers.put(key, self._caller.model, answer)
        # A token is at least a byte of what is sent, as JSON.
        size = len(canonical_json([list(map(dict, request.messages)), list(map(dict, request.tools))]).encode())
        output = self._worst_output if settings is None or settings.max_tokens is None else settings.max_tokens
        worst = self._ceiling.price.of(size, output)
        await self._ceiling.reserve(worst)
        try:
            answer = await self._answered(model, request, settings, key)
            return self._caller.answers.put(key, self._caller.model, answer)
        finally:
            self._ceiling.release(worst)

    async def _answered(self, model: Model, request: Request, settings: Settings | None, key: bytes) -> Answer:
        """The answer, after as many attempts as it may take."""
        from runtime.model_calls.messages import answer_of, to_inspect, tools_to_inspect

        retries, name = self._caller.retries, self._caller.name
        try:
            messages, tools = to_inspect(request.messages), tools_to_inspect(request.tools)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{name} can't be sent a tool or a tool call of this row: {' '.join(str(error).split())[:200]}",
                "mend the row's `tools` or `tool_calls`, or take it out with `filter(not has_tools)`",
                canonical_json(list(map(dict, request.messages)))[:80],
            ) from error
        own = _seed(key) if request.seed is None else request.seed
        config = _config(settings, own if retries is None else None)
        retry = 0
        while True:
            started = time.monotonic()
            try:
                async with asyncio.timeout(retries and retries.patience.timeout):
                    output = await model.generate(messages, tools, config=config)
                answer = answer_of(output, time.monotonic() - started)
                if retries:
                    retries.succeeded = True
                return answer
            except Exception as error:  # of any kind: each provider has its own, and what a server sends is anything
                if retries is None:
                    raise
                meant = judged(error, model.api, name)
            if isinstance(meant, UserError):
                raise meant
            await self._pause(retries.wait(meant, retry))
            retry += 1

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
                raise Stopped


def _config(settings: Settings | None, seed: int | None) -> GenerateConfig:
    """What a call has beside the model's own configuration."""
    from inspect_ai.model import GenerateConfig

    if settings is None:
        return GenerateConfig(seed=seed)
    return GenerateConfig(
        seed=seed,
        temperature=None if settings.temperature is None else float(settings.temperature),
        top_p=None if settings.top_p is None else float(settings.top_p),
        max_tokens=settings.max_tokens,
    )


async def _estimated_tokens(text: str) -> int:
    """An estimate for providers that don't count. Inspect's own downloads a tokenizer, and all calls wait meanwhile."""
    return len(text) // 4 + 1


def _seed(key: bytes) -> int:
    """The random stream of an answer of ours: it follows from what is asked of whom, and from the sample number."""
    return int.from_bytes(key[:4], "big") >> 1


def _most_tokens(model: Model) -> int | None:
    from inspect_ai.model import get_model_info

    info = get_model_info(model)
    return None if info is None else info.output_tokens
