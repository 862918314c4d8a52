"""Lets a model write turns of chats, or whole documents, anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from compiler.operations import Rewrite
from runtime.data.rows import Format, Rows, derived
from runtime.data.transforms.asking import check_usable
from runtime.data.transforms.outcome import Outcome, Tally
from runtime.model_calls.calls import Caller
from runtime.model_calls.prompts import PromptFile, offered, offered_by, transcript
from runtime.model_calls.requests import Exchange, Request

Rewritten = tuple[dict[str, Any] | None, str]
"""The new record and an empty text, or None and why there is none."""


def rewrite_rows(rows: Rows, format: Format, operation: Rewrite, prompt: str, caller: Caller, path: Path) -> Outcome:
    """The rows with turns written anew, each given to the prompt as `turn`, with what comes before it as `transcript`.

    Turns are taken in order, and what comes before one is as it was rewritten. The whole answer is the new turn; tool
    calls of a turn stay, and a turn that is only a tool call is left alone. Of a document the whole text is the turn.
    Of a preference, `assistant` means `chosen` as well; `rejected` stays, so that the two can differ in what was
    rewritten alone. Rows of which an answer was cut off, refused or empty are dropped and counted.

    Args:
        prompt: the text of `operation.prompt`.
        path: the Parquet file of the new rows.

    Raises:
        UserError: more than 20% of the rows are dropped, and those of `PromptFile` and `Caller.converse`.
    """
    dropped = Tally()
    file = PromptFile(prompt, operation.prompt, ("turn", *offered_by(format)))
    roles = ("user", "assistant") if operation.turns == "all" else (operation.turns,)

    def exchanges() -> Iterator[Exchange[Rewritten]]:
        for number, record in rows.numbered():
            if format == "documents":
                yield _document(record, file, rows.place(number))
            else:
                yield _conversation(record, format, roles, file, rows.place(number))

    def made() -> Iterator[tuple[int, dict[str, Any]]]:
        rewritten = caller.converse(f"rewrite with {caller.name}", exchanges, len(rows))
        for number, (record, problem) in enumerate(rewritten):
            if record is None:
                dropped.add(problem, rows.place(number))
            else:
                yield number, record

    result = derived(rows, made(), path)
    check_usable(dropped, len(rows), "rows", "raise `max_tokens:`, or take rows out that the model refuses")
    return Outcome(result, dropped)


def _document(record: Mapping[str, Any], file: PromptFile, row: str) -> Exchange[Rewritten]:
    answer = yield _request(file.filled({**offered(record, "documents"), "turn": record["text"]}, row))
    return (None, answer.problem) if answer.problem else ({**record, "text": answer.content}, "")


def _conversation(
    record: Mapping[str, Any], format: Format, roles: tuple[str, ...], file: PromptFile, row: str
) -> Exchange[Rewritten]:
    new: dict[str, Any] = {**record, "messages": list(record["messages"])}

    def asked(turn: str, before: int) -> Request:
        values = offered(new, format) | {"turn": turn, "transcript": transcript(new["messages"][:before])}
        return _request(file.filled(values, row))

    for place, message in enumerate(record["messages"]):
        if message["role"] in roles and (message.get("content") or "").strip():
            answer = yield asked(message["content"], place)
            if answer.problem:
                return None, answer.problem
            new["messages"][place] = {**message, "content": answer.content}
    if format == "preference" and "assistant" in roles:
        answer = yield asked(record["chosen"], len(new["messages"]))
        if answer.problem:
            return None, answer.problem
        new["chosen"] = answer.content
    return new, ""


def _request(text: str) -> Request:
    return Request([{"role": "user", "content": text}])
