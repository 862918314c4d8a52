"""Preference pairs as data sets write them: a prompt with an answer that is preferred and one that is not."""

from __future__ import annotations

import re
from typing import Any

from runtime.data.broken import BrokenError
from runtime.data.messages import kind, messages_of, parsed

Json = dict[str, Any]

_SPEAKER = re.compile(r"\n\n(Human|Assistant):[ \n]?")


def preference(record: Json) -> tuple[str, Json]:
    """The name of the layout, and the pair with `messages` (the prompt), `chosen` and `rejected` as texts.

    The answers are texts or lists of messages; the prompt is `prompt` or `messages`, or what the lists begin with alike
    (https://huggingface.co/docs/trl/dataset_formats: the implicit prompt); or both are whole dialogues of
    `\\n\\nHuman: … \\n\\nAssistant: …`, as Anthropic's are. Raises BrokenError.
    """
    missing = [name for name in ("chosen", "rejected") if record.get(name) is None]
    if missing:
        raise BrokenError(f"it has no {missing[0]} answer (it has {', '.join(sorted(record)) or 'no columns'})")
    chosen, rejected = record["chosen"], record["rejected"]
    given = next((name for name in ("messages", "prompt") if record.get(name) is not None), None)
    prompt = _prompt(record, given)
    layout = "chosen/rejected" if given is None else f"{given}/chosen/rejected"
    if given is None and _is_dialogue(chosen) and _is_dialogue(rejected):
        layout, chosen, rejected = "Human/Assistant dialogues", _turns(chosen), _turns(rejected)
    if isinstance(chosen, list) and isinstance(rejected, list):
        prompt, chosen, rejected = _apart(prompt, messages_of(chosen), messages_of(rejected))
    if not prompt:
        raise BrokenError("it has no prompt: neither `prompt` nor `messages`, nor what both answers begin with")
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        if not isinstance(answer, str):
            raise BrokenError(f"its {name} answer is {kind(answer)}, not a string or like the other a list of messages")
        if not answer.strip():
            raise BrokenError(f"its {name} answer is empty")
    if chosen == rejected:
        raise BrokenError("its chosen and rejected answers are the same")
    kept = {name: value for name, value in record.items() if name not in (given, "messages", "chosen", "rejected")}
    return layout, {"messages": prompt, "chosen": chosen, "rejected": rejected, **kept}


def _prompt(record: Json, name: str | None) -> list[Json]:
    if name is None:
        return []
    prompt = parsed(record[name], name) if name == "messages" else record[name]
    return messages_of(prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}])


def _apart(prompt: list[Json], chosen: list[Json], rejected: list[Json]) -> tuple[list[Json], str, str]:
    """The prompt, and the last message of each side: all before it has to be the same on both."""
    if prompt and chosen[: len(prompt)] == prompt == rejected[: len(prompt)]:
        prompt = []
    if chosen[:-1] != rejected[:-1]:
        raise BrokenError("its chosen and rejected messages differ before the last one")
    return [*prompt, *chosen[:-1]], _answer("chosen", chosen[-1]), _answer("rejected", rejected[-1])


def _answer(name: str, message: Json) -> str:
    if message["role"] != "assistant":
        raise BrokenError(f"its {name} messages end with the {message['role']}, not with an answer")
    if "tool_calls" in message or "reasoning_content" in message:
        raise BrokenError(f"its {name} answer has a tool call or reasoning, and a pair holds texts")
    return message["content"]


def _is_dialogue(answer: Any) -> bool:
    return isinstance(answer, str) and answer.lstrip().startswith("Human:")


def _turns(dialogue: str) -> list[Json]:
    _, *parts = _SPEAKER.split("\n\n" + dialogue.lstrip())
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[speaker], "content": said.strip()} for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]
