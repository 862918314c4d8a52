"""Which characters of a rendered chat the model has to write itself, and what the template left out of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from runtime.data.encoded import Loss, Reasoning
from runtime.data.templates import ChatTemplate, Message, Rendered, RenderError, Span, reasoning_of, render

THOUGHTS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
)
"""How reasoning opens and closes in published templates; a template's own way is found by trying it."""


def trained_spans(
    template: ChatTemplate, rendered: Rendered, messages: Sequence[Message], loss: Loss, reasoning: Reasoning
) -> list[Span]:
    """The characters that are trained, in order and apart. Raises RenderError as `spoken_spans` does."""
    whole = [Span(0, 0, len(rendered.text))]
    spans = whole if loss == "all" else spoken_spans(template, rendered, messages, loss)
    if reasoning == "train":
        return spans
    thoughts = thought_spans(template, rendered, messages)
    return [piece for span in spans for piece in _without(span, thoughts)]


def spoken_spans(template: ChatTemplate, rendered: Rendered, messages: Sequence[Message], loss: Loss) -> list[Span]:
    """The characters of a rendering that the model has to write itself; `loss` is any but `all`.

    An end token that the template writes once, behind all messages, is the last answer's.

    Raises RenderError where the template leaves an assistant's message out, writes it outside of a loop, or writes what
    a tool said into it.
    """
    wanted = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    if loss == "last_assistant":
        wanted = wanted[-1:]
    elif loss == "completion":
        wanted = [number for number in wanted if number >= _prompt_length(messages)]
    spans = [_spoken(span, template, rendered.text) for span in rendered.spans if span.message in wanted]
    left_out = set(wanted).difference(span.message for span in spans)
    if left_out:
        raise RenderError(f"the chat template writes message {min(left_out) + 1} nowhere in a loop over messages")
    _refuse_results_in_turns(rendered, messages)
    if spans and spans[-1].message == len(messages) - 1:
        behind = rendered.text[rendered.spans[-1].stop :]
        if behind.strip() and behind.strip() == template.special.get("eos_token"):
            spans[-1] = Span(spans[-1].message, spans[-1].start, len(rendered.text.rstrip()))
    if loss == "completion" and spans:
        return [Span(spans[0].message, spans[0].start, spans[-1].stop)]
    return spans


def _refuse_results_in_turns(rendered: Rendered, messages: Sequence[Message]) -> None:
    written = {span.message for span in rendered.spans}
    for number, message in enumerate(messages):
        if message["role"] == "tool" and number not in written and _stands_in(rendered.text, message.get("content")):
            raise RenderError(f"the chat template writes message {number + 1}, a tool's result, into another's turn")


def _prompt_length(messages: Sequence[Message]) -> int:
    """How many messages the prompt has: through the last one that isn't the assistant's own."""
    asked = [number for number, message in enumerate(messages, 1) if message["role"] in ("user", "tool")]
    return asked[-1] if asked else 0


def _spoken(span: Span, template: ChatTemplate, text: str) -> Span:
    """Of an assistant's message, what follows the generation prompt, without the blanks behind the end-of-turn token.

    The prompt is matched piece by piece, as a template may open an earlier turn with less of it (without the thought
    that it opens the last one with).
    """
    opening = template.opening
    start = span.start
    found = text.find(opening[0], span.start, span.stop) if opening else -1
    if found >= 0:
        start = found
        for line in opening:
            if not text.startswith(line, start, span.stop):
                break
            start += len(line)
    return Span(span.message, start, start + len(text[start : span.stop].rstrip()))


def thought_spans(template: ChatTemplate, rendered: Rendered, messages: Sequence[Message]) -> list[Span]:
    """The thinking at the start of each of the assistant's turns: its marks, and the blanks behind it, included.

    Where the generation prompt opens the thought, only what follows it is the model's to write. A thought that is never
    closed lasts to the end of the turn. A mark in the middle of an answer is a word of it.
    """
    text = rendered.text
    found: list[Span] = []
    for span in rendered.spans:
        if messages[span.message]["role"] != "assistant":
            continue
        spoken = _spoken(span, template, text)
        start = spoken.start + _blanks(text[spoken.start : spoken.stop])
        for opened, closed in _ways_to_think(template):
            if text.startswith(opened, start):
                stop = text.find(closed, start + len(opened), spoken.stop)
            elif text[span.start : start].rstrip().endswith(opened):
                stop = text.find(closed, start, spoken.stop)
            else:
                continue
            stop = spoken.stop if stop < 0 else stop + len(closed)
            stop += _blanks(text[stop : spoken.stop])
            found.append(Span(span.message, spoken.start, stop))
            break
    return found


def _blanks(text: str) -> int:
    return len(text) - len(text.lstrip())


def _ways_to_think(template: ChatTemplate) -> tuple[tuple[str, str], ...]:
    own = _own_way(template.source, tuple(sorted(template.special.items())), _frozen(template.arguments))
    return THOUGHTS if own is None else (*THOUGHTS, own)


def _frozen(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, sort_keys=True, default=str)


@lru_cache(maxsize=32)
def _own_way(source: str, special: tuple[tuple[str, str], ...], arguments: str) -> tuple[str, str] | None:
    """What a template writes around the reasoning of a message that has it in a field; None where it doesn't write it.

    Found through words that no template has, in one rendering.
    """
    template = ChatTemplate(source, dict(special), json.loads(arguments))
    answer = {"role": "assistant", "content": "qzxanswerqzx", "reasoning_content": "qzxthoughtqzx"}
    try:
        rendered = render(template, [{"role": "user", "content": "x"}, answer])
    except RenderError:
        return None
    for span in rendered.spans:
        spoken = _spoken(span, template, rendered.text)
        before, thought, rest = rendered.text[spoken.start : spoken.stop].partition("qzxthoughtqzx")
        between, told, _ = rest.partition("qzxanswerqzx")
        if span.message == 1 and thought and told and before.strip() and between.strip():
            return before.strip(), between.strip()
    return None


def _without(span: Span, holes: Sequence[Span]) -> list[Span]:
    pieces: list[Span] = []
    start = span.start
    for hole in holes:
        if hole.start < span.stop and hole.stop > start:
            if hole.start > start:
                pieces.append(Span(span.message, start, hole.start))
            start = hole.stop
    if start < span.stop:
        pieces.append(Span(span.message, start, span.stop))
    return pieces


def left_out(rendered: Rendered, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> set[str]:
    """What the chat holds and its rendering doesn't, by its name. Looked for as text, so no second rendering is asked.

    `reasoning of earlier turns` is what templates of thinking models drop on purpose; `reasoning` is the last turn's.
    Raises RenderError where nothing is left of an assistant's turn: trained on, it would teach to say nothing.
    """
    text = rendered.text
    missing: set[str] = set()
    if tools and any(tool.get("function", tool).get("name", "") not in text for tool in tools):
        missing.add("tools")
    last = len(messages) - 1
    for number, message in enumerate(messages):
        role, content = message["role"], message.get("content")
        if role == "system" and not _stands_in(text, content):
            missing.add("system messages")
        elif role == "tool" and not _stands_in(text, content):
            missing.add("tool results")
        elif role == "assistant" and (len(message) > 2 or (content and "</think>" in content)):
            if any(call.get("function", call)["name"] not in text for call in message.get("tool_calls") or ()):
                if not (content or "").strip():
                    raise RenderError(f"the chat template drops the tool call that is all of message {number + 1}")
                missing.add("tool calls")
            written = "".join(text[span.start : span.stop] for span in rendered.spans if span.message == number)
            if not _stands_in(written, _reasoning(message)):
                missing.add("reasoning" if number == last else "reasoning of earlier turns")
    return missing


def _reasoning(message: Message) -> str:
    """What a message thinks, in a field of its own or at the start of its content."""
    thought = reasoning_of(message)
    content = message.get("content") or ""
    if thought is None and "</think>" in content:
        thought = content.partition("</think>")[0].rpartition("<think>")[2]
    return thought or ""


def _stands_in(text: str, content: object) -> bool:
    """Whether a text is written somewhere: as it is, or inside of JSON."""
    if not isinstance(content, str):
        return True
    words = content.strip()
    return words in text or json.dumps(words, ensure_ascii=False)[1:-1] in text
