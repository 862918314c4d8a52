"""Masks: token by token against methods that know nothing of marks or loops."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import jinja2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.data.encode import encode_chats, encode_documents
from runtime.data.encoded import ROLES, Encoded
from runtime.data.masks import spoken_spans
from runtime.data.templates import RenderError, chat_template, render
from runtime.errors import UserError
from runtime.weights.tokenizer import ModelTokenizer
from tests.runtime.data import chat_templates

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TEMPLATES = {
    name: getattr(chat_templates, name)
    for name in ("CHATML", "SMOLLM2", "LLAMA3", "LLAMA3_ALWAYS_OPEN", "MISTRAL", "GEMMA", "QWEN3")
}
# What the model writes, read off the finished text: behind a header and through the end of the turn.
TURNS = {
    "CHATML": r"<\|im_start\|>assistant\n(.*?<\|im_end\|>)",
    "SMOLLM2": r"<\|im_start\|>assistant\n(.*?<\|im_end\|>)",
    "QWEN3": r"<\|im_start\|>assistant\n(.*?<\|im_end\|>)",
    "LLAMA3": r"<\|start_header_id\|>assistant<\|end_header_id\|>\n\n(.*?<\|eot_id\|>)",
    "LLAMA3_ALWAYS_OPEN": r"<\|start_header_id\|>assistant<\|end_header_id\|>\n\n(.*?<\|eot_id\|>)",
    "MISTRAL": r"\[/INST\]( .*?</s>)",
    "GEMMA": r"<start_of_turn>model\n(.*?<end_of_turn>)",
}

words = st.lists(
    st.sampled_from(
        ["word", " ", "\n", "\n\n", "é", "漢字", "😀", "<think>", "</think>", "1234", "\t", "assistant", "a<", "|>"]
    ),
    min_size=1,
    max_size=8,
).map(lambda parts: "".join([*parts, "x"]))


@st.composite
def chats(draw: st.DrawFn) -> list[dict[str, Any]]:
    turns = draw(st.lists(words, min_size=2, max_size=7))
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(turns)]


def plainly(source: str, messages: list[dict[str, Any]], **arguments: Any) -> str:
    """The template as Jinja alone renders it."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(messages=messages, **SPECIAL, **arguments)


def by_text(name: str, text: str) -> list[tuple[int, int]]:
    return [match.span(1) for match in re.finditer(TURNS[name], text, re.DOTALL)]


def by_prefixes(source: str, messages: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Renders every prefix: right for templates that write a turn the same way whatever follows."""
    spans = []
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            start = len(plainly(source, messages[:number], add_generation_prompt=True))
            spans.append((start, len(plainly(source, messages[: number + 1]).rstrip())))
    return spans


def expected_mask(tokenizer: Any, text: str, spans: list[tuple[int, int]]) -> np.ndarray:
    """Which tokens carry any character of the spans; the first of all has no predecessor."""
    offsets = np.array(tokenizer.encode(text, add_special_tokens=False).offsets)
    mask = np.zeros(len(offsets), bool)
    for start, stop in spans:
        mask |= (offsets[:, 0] < stop) & (offsets[:, 1] > start)
    mask[0] = False
    return mask


def runs(model: ModelTokenizer, encoded: Encoded) -> list[str]:
    """The trained stretches as text."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], encoded.trained.astype(np.int8), [0]])))
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [model.tokenizer.decode(encoded.tokens[a:b].tolist(), skip_special_tokens=False) for a, b in pairs]


@pytest.mark.parametrize("name", TEMPLATES)
@given(messages=chats())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mask_is_what_the_finished_text_says(
    smollm2: ModelTokenizer, name: str, messages: list[dict[str, Any]]
) -> None:
    source = TEMPLATES[name]
    template = chat_template(source, SPECIAL)
    text = plainly(source, messages)
    assert render(template, messages).text == text
    encoded = encode_chats(smollm2.tokenizer, template, [{"messages": messages}], "assistant")
    assert encoded.tokens.tolist() == smollm2.tokenizer.encode(text, add_special_tokens=False).ids
    spans = by_text(name, text)
    if name == "QWEN3":
        assert len(spans) == sum(message["role"] == "assistant" for message in messages)
    elif name != "LLAMA3_ALWAYS_OPEN":
        assert spans == by_prefixes(source, messages)
    assert (encoded.trained == expected_mask(smollm2.tokenizer, text, spans)).all()
    last = encode_chats(smollm2.tokenizer, template, [{"messages": messages}], "last_assistant")
    assert (last.trained == expected_mask(smollm2.tokenizer, text, spans[-1:])).all()
    everything = encode_chats(smollm2.tokenizer, template, [{"messages": messages}], "all")
    assert not everything.trained[0]
    assert everything.trained[1:].all()


def test_many_chats_at_once_are_each_as_alone(smollm2: ModelTokenizer) -> None:
    template = chat_template(smollm2.chat_template, SPECIAL)
    chats = [
        {"messages": [{"role": "user", "content": "hi " * n}, {"role": "assistant", "content": f"answer {n} 漢字 "}]}
        for n in range(1, 20)
    ]
    together = encode_chats(smollm2.tokenizer, template, chats, "assistant")
    for number, chat in enumerate(chats):
        alone = encode_chats(smollm2.tokenizer, template, [chat], "assistant")
        part = slice(together.offsets[number], together.offsets[number + 1])
        assert (together.tokens[part] == alone.tokens).all()
        assert (together.trained[part] == alone.trained).all()
        assert (together.roles[part] == alone.roles).all()
        assert together.trained_lengths[number] == alone.trained.sum()


def test_the_end_of_turn_is_trained_and_the_newline_behind_it_is_not(smollm2: ModelTokenizer) -> None:
    template = chat_template(smollm2.chat_template, SPECIAL)
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "second"},
    ]
    encoded = encode_chats(smollm2.tokenizer, template, [{"messages": chat}], "assistant")
    assert runs(smollm2, encoded) == ["first<|im_end|>", "second<|im_end|>"]
    ended = encode_chats(smollm2.tokenizer, template, [{"messages": [*chat, chat[1]]}], "last_assistant")
    assert runs(smollm2, ended) == ["second<|im_end|>"]
    names = [ROLES[code] for code in encoded.roles]
    assert [name for number, name in enumerate(names) if number == 0 or name != names[number - 1]] == [
        message["role"] for message in chat
    ]


def test_a_template_own_system_prompt_before_an_opening_answer_is_not_trained(smollm2: ModelTokenizer) -> None:
    template = chat_template(smollm2.chat_template, SPECIAL)
    chat = [{"role": "assistant", "content": "Hello, what is it?"}, {"role": "user", "content": "x"}]
    encoded = encode_chats(smollm2.tokenizer, template, [{"messages": chat}], "assistant")
    assert runs(smollm2, encoded) == ["Hello, what is it?<|im_end|>"]


def test_thinking_is_trained_where_the_template_keeps_it(smollm2: ModelTokenizer) -> None:
    thought = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nyes"}
    user = {"role": "user", "content": "x"}
    chat = [{"messages": [user, thought, user, thought]}]
    encoded = encode_chats(smollm2.tokenizer, chat_template(chat_templates.QWEN3, {}), chat, "assistant")
    assert runs(smollm2, encoded) == ["yes<|im_end|>", "<think>\nhm\n</think>\n\nyes<|im_end|>"]
    # With thinking off, the prompt that the model goes on from holds the empty thought: it isn't the model's to write.
    off = chat_template(chat_templates.QWEN3, {}, {"enable_thinking": False})
    plain = {"role": "assistant", "content": "yes"}
    encoded = encode_chats(smollm2.tokenizer, off, [{"messages": [user, plain, user, plain]}], "assistant")
    assert runs(smollm2, encoded) == ["yes<|im_end|>", "yes<|im_end|>"]


def test_tool_calls_are_trained_and_tool_results_are_not(smollm2: ModelTokenizer) -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": '{"at": "<b>é"}'}}
    chat = {
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "seen"},
            {"role": "assistant", "content": "done"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}],
    }
    encoded = encode_chats(smollm2.tokenizer, chat_template(chat_templates.QWEN3, {}), [chat], "assistant")
    assert runs(smollm2, encoded) == [
        '<tool_call>\n{"name": "look", "arguments": {"at": "<b>é"}}\n</tool_call><|im_end|>',
        "<think>\n\n</think>\n\ndone<|im_end|>",
    ]
    assert {ROLES[code] for code in encoded.roles} == {"system", "user", "assistant", "tool"}


def test_control_tokens_in_a_chat_set_it_aside_and_in_a_document_are_text(smollm2: ModelTokenizer) -> None:
    template = chat_template(smollm2.chat_template, SPECIAL)
    bad = {"messages": [{"role": "user", "content": "say <|im_end|>"}, {"role": "assistant", "content": "no"}]}
    good = {
        "messages": [{"role": "user", "content": "say"}, {"role": "assistant", "content": "no"}],
        "id": "<|im_end|>",
    }
    encoded = encode_chats(smollm2.tokenizer, template, [bad, good], "assistant")
    assert encoded.kept.tolist() == [1]
    assert encoded.set_aside == {0: "its text holds the control token <|im_end|>"}
    document = encode_documents(smollm2.tokenizer, ["about <|im_end|> tokens"], smollm2.eos)
    assert (document.tokens == smollm2.eos).sum() == 1
    assert smollm2.tokenizer.decode(document.tokens[:-1].tolist()) == "about <|im_end|> tokens"


def test_documents_end_with_the_end_token(smollm2: ModelTokenizer) -> None:
    texts = ["Once upon a time.", "x", "Two.\n\nParagraphs. 漢字"]
    encoded = encode_documents(smollm2.tokenizer, texts, smollm2.eos)
    for number, text in enumerate(texts):
        tokens = encoded.tokens[encoded.offsets[number] : encoded.offsets[number + 1]]
        assert tokens.tolist() == [*smollm2.tokenizer.encode(text).ids, smollm2.eos]
    assert encoded.trained_lengths.tolist() == (encoded.lengths - 1).tolist()


def test_a_chat_that_the_template_refuses_is_set_aside_with_its_words(smollm2: ModelTokenizer) -> None:
    user, answer = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
    refused = [{"messages": [user, user, answer]}, {"messages": [user, answer]}, {"messages": [user]}]
    encoded = encode_chats(smollm2.tokenizer, chat_template(chat_templates.GEMMA, SPECIAL), refused, "assistant")
    assert encoded.kept.tolist() == [1]
    assert "roles must alternate" in encoded.set_aside[0]
    assert encoded.set_aside[2] == "there is no token to train on with loss: assistant"
    null = {"messages": [user, {"role": "assistant", "content": None, "tool_calls": []}]}
    assert (
        "fails" in encode_chats(smollm2.tokenizer, chat_template(chat_templates.CHATML, {}), [null], "all").set_aside[0]
    )


def test_a_template_without_a_loop_over_messages_is_refused_not_guessed() -> None:
    source = "{% for i in range(messages|length) %}{{ messages[i].content }}|{% endfor %}"
    template = chat_template(source, {})
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    assert render(template, messages).text == "x|y|"
    with pytest.raises(RenderError, match="nowhere in a loop over messages"):
        spoken_spans(template, render(template, messages), messages, "assistant")


def test_loops_within_loops_and_continue() -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}<{{ m.content }}"
        "{% for other in messages %}{% if other is sameas m %}{{ '*' }}{% endif %}{% endfor %}>{% endfor %}end"
    )
    messages = [{"role": role, "content": role[0]} for role in ("system", "user", "assistant", "system")]
    rendered = render(chat_template(source, {}), messages)
    assert rendered.text == "<u*><a*>end"
    assert "".join(rendered.text[span.start : span.stop] for span in rendered.spans) == "<u*><a*>"
    assert {rendered.text[span.start] for span in rendered.spans if span.message == 2} >= {"<"}


def test_the_generation_tag_is_accepted() -> None:
    source = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    assert render(chat_template(source, {}), [{"role": "user", "content": "x"}]).text == "x"


def test_templates_run_no_code_and_are_the_same_every_day() -> None:
    user = [{"role": "user", "content": "x"}]
    for source in ("{{ messages.__class__.__mro__ }}", "{{ messages[0]._number }}", "{{ messages.append(1) }}"):
        with contextlib.suppress(RenderError):
            assert render(chat_template(source, {}), user).text == ""
    assert render(chat_template("{{ strftime_now('%Y-%m-%d') }}", {}), user).text == "2026-01-01"


def test_a_template_that_is_no_jinja() -> None:
    with pytest.raises(UserError, match="not Jinja"):
        chat_template("{% for %}", {})
    with pytest.raises(UserError, match="no chat template"):
        chat_template(None, {})
