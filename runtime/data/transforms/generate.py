"""Lets a model write documents from documents: plans are asked for first, then each is written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.operations import Generate
from runtime.data.keys import key, row_hashes, subkey
from runtime.data.rows import Rows, derived
from runtime.data.transforms.asking import check_usable
from runtime.data.transforms.outcome import Outcome, Tally
from runtime.data.transforms.written import bare_words, plans_in
from runtime.data.variety import variety
from runtime.errors import UserError
from runtime.model_calls.calls import Caller
from runtime.model_calls.prompts import PromptFile
from runtime.model_calls.requests import Exchange, Request

Lengths = Callable[[Sequence[str]], Sequence[int]]
"""Tokens of each text, for the model that reads them."""

REPEATED = "repeats a generated text"
_OFFERED = ("document", "genre", "angle", "audience", "vars")
_FIRST = 8  # texts of a genre that are asked for before their length is known
_ROUND = 32  # texts of a genre in the first round; a later one may be twice as many as there are
_SEEDS = 1024  # seed documents that are held in memory
_STUCK = 50  # texts of a genre that may be lost before it is asked whether more come in than go out


@dataclass(frozen=True)
class _Order:
    """What one text is written from: the number of a seed row, and how it is to be told.

    `visit` counts how often the genre has been through all seed rows before; `plan` is the number of a plan among those
    that the answer to the question for plans lists.
    """

    row: int
    genre: str
    angle: str
    audience: str
    visit: int
    plan: int = 0


@dataclass
class _Genre:
    """One genre on its way to its share.

    Attributes:
        share: how much it is to give: tokens, or documents.
        in_tokens: which of them.
        orders: what is to be written, in order; grown as plans come in.
        visits: how many seed rows have been asked for plans.
        written: how many of the orders have been.
        kept: numbers of the orders whose texts count.
        amount: how much those come to.
        seen: hashes of what they say, as `bare_words` gives it.
    """

    name: str
    share: Fraction
    in_tokens: bool
    orders: list[_Order] = field(default_factory=list[_Order])
    visits: int = 0
    written: int = 0
    kept: list[int] = field(default_factory=list[int])
    amount: int = 0
    seen: set[bytes] = field(default_factory=set[bytes])

    @property
    def wanted(self) -> int:
        """How many more texts to ask for now: few at first, so that a prompt that doesn't work costs little.

        In tokens it is what the mean so far comes to, so that hardly any are written that are one too many.
        """
        left = max(ceil(self.share - self.amount), 0)
        if left and self.in_tokens:
            left = max(1, left * len(self.kept) // self.amount) if self.kept else min(_FIRST, left)
        return min(left, max(_ROUND, 2 * len(self.kept)))


def generate_rows(
    rows: Rows, operation: Generate, plan: str | None, prompt: str, caller: Caller, path: Path, lengths: Lengths | None
) -> Outcome:
    """Documents written from the rows, with the columns `genre`, `angle`, `audience` and `plan` where there are such.

    Every genre gives the same amount, to within one document. Within a genre the seed rows are gone through in the
    order of a keyed hash, each with one of the angles and audiences in turn; where plans are asked for, every plan of
    an answer is written before the next row's turn comes. So a larger `count` asks for the same documents and more. A
    text that repeats an earlier one of its genre, but for case, punctuation and blanks, is dropped and counted.

    Args:
        rows: documents.
        plan, prompt: texts of `operation.plan` and `operation.prompt`.
        path: the Parquet file of the new rows.
        lengths: where `count` is in tokens; else not looked at.

    Raises:
        UserError: more than 20% of the answers can't be used, texts keep repeating, or no tokenizer counts tokens; and
            those of `PromptFile` and `Caller.converse`.
    """
    return _Generating(rows, operation, plan, prompt, caller, lengths).run(path)


class _Generating:
    def __init__(
        self, rows: Rows, operation: Generate, plan: str | None, prompt: str, caller: Caller, lengths: Lengths | None
    ) -> None:
        tokens = operation.count.unit == "tokens"
        if tokens and lengths is None:
            raise UserError(
                "no tokenizer counts the tokens that are to be generated",
                "give `count:` in examples, or use the source in a train stage",
            )
        self._rows, self._operation, self._caller = rows, operation, caller
        self._lengths: Lengths = lengths if tokens and lengths else lambda texts: [1] * len(texts)
        self._plan = None if plan is None else PromptFile(plan, operation.plan or "", _OFFERED)
        self._prompt = PromptFile(prompt, operation.prompt, (*_OFFERED, *(["plan"] if plan is not None else [])))
        self._pairs = [
            (angle, audience) for angle in operation.angles or ("",) for audience in operation.audiences or ("",)
        ]
        self._genres = self._shares()
        self._dropped = Tally()
        self._asked = 0
        self._seed_orders: dict[str, NDArray[np.intp]] = {}
        self._seed = lru_cache(_SEEDS)(self._read_seed)

    def run(self, path: Path) -> Outcome:
        while any(genre.wanted for genre in self._genres):
            self._add_orders()
            self._write()
        made = self._records()
        result = derived(self._rows, made, path)
        facts: dict[str, Any] = {"genres": {genre.name: len(genre.kept) for genre in self._genres if genre.name}}
        if (varied := variety(result, "documents")) is not None:
            facts["variety"] = asdict(varied)
        return Outcome(result, self._dropped, facts=facts)

    def _shares(self) -> list[_Genre]:
        """The genres, in the order of a keyed hash; where examples don't divide, the first ones give one more."""
        names = sorted(set(self._operation.genres) or {""}, key=lambda name: (subkey(_KEY, "genre", name), name))
        count = Fraction(self._operation.count.count)
        if self._operation.count.unit == "tokens":
            return [_Genre(name, count / len(names), in_tokens=True) for name in names]
        each, more = divmod(ceil(count), len(names))
        shares = [Fraction(each + (number < more)) for number in range(len(names))]
        return [_Genre(name, share, in_tokens=False) for name, share in zip(names, shares, strict=True)]

    def _add_orders(self) -> None:
        """Asks for plans until every genre has as many orders as it wants to write."""
        while True:
            visits: list[tuple[_Genre, _Order]] = []
            for genre in self._genres:
                missing = genre.wanted - (len(genre.orders) - genre.written)
                if missing > 0:
                    until = genre.visits + self._visits_for(genre, missing)
                    visits += [(genre, self._visit(genre, number)) for number in range(genre.visits, until)]
                    genre.visits = until
            if not visits:
                return
            if self._plan is None:
                for genre, order in visits:
                    genre.orders.append(order)
                continue
            self._ask_plans(visits)

    def _visits_for(self, genre: _Genre, missing: int) -> int:
        """How many more seed rows to ask about for so many orders: one, as long as nobody knows what each gives."""
        if self._plan is None:
            return missing
        return ceil(missing / max(1, len(genre.orders) // genre.visits)) if genre.visits else 1

    def _ask_plans(self, visits: Sequence[tuple[_Genre, _Order]]) -> None:
        counts = self._caller.converse(
            f"plan with {self._caller.name}",
            lambda: (self._count_plans(order) for _, order in visits),
            len(visits),
        )
        for (genre, order), (count, problem) in zip(visits, counts, strict=True):
            self._asked += 1
            if problem:
                self._dropped.add(f"plans: {problem}", self._rows.place(order.row))
            genre.orders += [replace(order, plan=number) for number in range(count)]
        self._check()

    def _write(self) -> None:
        orders = [
            (genre, number)
            for genre in self._genres
            for number in range(genre.written, min(genre.written + genre.wanted, len(genre.orders)))
        ]
        texts = self._caller.converse(
            f"write with {self._caller.name}",
            lambda: (self._written(genre.orders[number]) for genre, number in orders),
            len(orders),
        )
        for (genre, number), (_, text, problem) in zip(orders, texts, strict=True):
            genre.written = number + 1
            self._asked += 1
            self._take(genre, number, text, problem)
        self._check()

    def _take(self, genre: _Genre, number: int, text: str, problem: str | None) -> None:
        if not genre.wanted:
            return  # its share is full: in tokens a few too many may have been asked for
        bare = hashlib.sha256(bare_words(text).encode(errors="surrogatepass")).digest()
        if problem is None and bare in genre.seen:
            problem = REPEATED
        if problem:
            self._dropped.add(problem, self._rows.place(genre.orders[number].row))
            return
        length = self._lengths([text])[0]
        if genre.amount + length - genre.share > genre.share - genre.amount:
            genre.share = Fraction(genre.amount)  # it is nearer without this one
            return
        genre.seen.add(bare)
        genre.kept.append(number)
        genre.amount += length

    def _check(self) -> None:
        """Stops where hardly anything that is paid for is of use."""
        repeated = self._dropped.counts.get(REPEATED, 0)
        kept = sum(len(genre.kept) for genre in self._genres)
        if repeated > max(_STUCK, kept):
            raise UserError(
                f"{repeated:,} texts repeat earlier ones, and {kept:,} are new",
                "raise the model's temperature, or give more seed documents, genres, or a `plan:`",
            )
        lost = Tally(
            {reason: count for reason, count in self._dropped.counts.items() if reason != REPEATED},
            {reason: shown for reason, shown in self._dropped.examples.items() if reason != REPEATED},
        )
        if self._asked > _STUCK:
            check_usable(lost, self._asked, "answers", "raise `max_tokens:`, or say in the prompt what is wanted")

    def _visit(self, genre: _Genre, number: int) -> _Order:
        """What one of a genre's visits to seed rows is about: the ways to tell come in another order each time."""
        turn, place = divmod(number, len(self._rows))
        row = int(self._seed_order(genre.name)[place])
        way, place = divmod(number, len(self._pairs))
        order = sorted(self._pairs, key=lambda pair: (subkey(_KEY, "way", genre.name, way, pair[0], pair[1]), pair))
        angle, audience = order[place]
        return _Order(row, genre.name, angle, audience, turn)

    def _seed_order(self, genre: str) -> NDArray[np.intp]:
        if genre not in self._seed_orders:
            hashes = row_hashes(self._rows.identity, self._rows.occurrence, subkey(_KEY, "seed", genre))
            self._seed_orders[genre] = np.argsort(hashes, kind="stable")
        return self._seed_orders[genre]

    def _read_seed(self, number: int) -> dict[str, Any]:
        (record,) = self._rows.records(number, number + 1)
        return record

    def _values(self, order: _Order) -> dict[str, Any]:
        record = self._seed(order.row)
        told = {"genre": order.genre, "angle": order.angle, "audience": order.audience}
        return {**record, "document": record["text"], **self._operation.vars, "vars": self._operation.vars, **told}

    def _planned(self, order: _Order, values: dict[str, Any]) -> Exchange[tuple[list[str], str | None]]:
        assert self._plan is not None
        text = self._plan.filled(values, self._rows.place(order.row))
        answer = yield Request([{"role": "user", "content": text}], (), order.visit)
        plans = [] if answer.problem else plans_in(answer.content)
        return plans, answer.problem or (None if plans else "unreadable")

    def _count_plans(self, order: _Order) -> Exchange[tuple[int, str | None]]:
        plans, problem = yield from self._planned(order, self._values(order))
        return len(plans), problem

    def _written(self, order: _Order) -> Exchange[tuple[str, str, str | None]]:
        """The plan, the text, and why it can't be used."""
        values, plan = self._values(order), ""
        if self._plan is not None:
            plans, _ = yield from self._planned(order, values)
            plan = plans[order.plan]
        text = self._prompt.filled({**values, "plan": plan}, self._rows.place(order.row))
        answer = yield Request([{"role": "user", "content": text}], (), order.visit)
        return plan, answer.content.strip(), answer.problem

    def _records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        orders = [genre.orders[number] for genre in self._genres for number in genre.kept]
        texts = self._caller.converse(
            f"write with {self._caller.name}", lambda: (self._written(order) for order in orders), len(orders)
        )
        for order, (plan, text, _) in zip(orders, texts, strict=True):
            told = {"genre": order.genre, "angle": order.angle, "audience": order.audience, "plan": plan}
            yield order.row, {"text": text, **{name: value for name, value in told.items() if value}}


_KEY = key(0, "generate", "", 0)
