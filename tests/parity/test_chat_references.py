"""Chat templates against transformers, by the reference file that `make_chat_references.py` wrote."""

from __future__ import annotations

import json

import pytest

from runtime.data.masks import trained_spans
from runtime.data.templates import RenderError, chat_template, render
from tests.parity.make_chat_references import CHATS, FILE, SPECIAL, TEMPLATES
from tests.runtime.data import chat_templates

KEPT = json.loads(FILE.read_text(encoding="utf-8"))
TEXT_ARGUMENTS = {"THINKS_FIRST"}
"""Templates that transformers fails on where arguments are an object, and we don't."""


@pytest.mark.parametrize("name", TEMPLATES)
def test_texts_are_those_of_transformers(name: str) -> None:
    template = chat_template(getattr(chat_templates, name), SPECIAL)
    for chat, (messages, tools) in CHATS.items():
        for opened in (False, True):
            expected = KEPT["texts"][f"{name}/{chat}/{opened}"]
            try:
                text = render(template, messages, tools, generation_prompt=opened).text
            except RenderError:
                text = None
            if not (name in TEXT_ARGUMENTS and expected is None and tools):
                assert text == expected


def test_masks_are_those_of_transformers_where_the_template_marks_generation() -> None:
    template = chat_template(chat_templates.MARKED, SPECIAL)
    assert len(KEPT["masks"]) > 5
    for chat, mask in KEPT["masks"].items():
        messages, tools = CHATS[chat]
        rendered = render(template, messages, tools)
        assert len(rendered.text) == len(mask)
        spans = trained_spans(template, rendered, messages, "assistant", "train")
        marked = {place for span in spans for place in range(span.start, span.stop)}
        assert marked == {place for place, mark in enumerate(mask) if mark == "1"}
