"""What is trained by the losses, reasoning, and templates with ways of their own."""

from __future__ import annotations

from typing import Any

from runtime.data.encode import encode, encode_chats
from runtime.data.encoded import Loss, Reasoning
from runtime.data.templates import chat_template, render
from runtime.weights.tokenizer import ModelTokenizer
from tests.runtime.data import chat_templates
from tests.runtime.data.test_encode import SPECIAL, runs

USER = {"role": "user", "content": "x"}
CALL = {"id": "abcdefgh0", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}
SEEN = {"role": "tool", "content": "seen", "tool_call_id": "abcdefgh0"}
THOUGHT = {"role": "assistant", "content": "yes", "reasoning_content": "hm"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}


def answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def trained(
    model: ModelTokenizer,
    source: str,
    messages: list[dict[str, Any]],
    loss: Loss = "assistant",
    reasoning: Reasoning = "train",
) -> list[str]:
    template = chat_template(source, SPECIAL)
    encoded = encode_chats(model.tokenizer, template, [{"messages": messages}], loss, reasoning)
    assert not encoded.set_aside
    return runs(model, encoded)


def test_a_completion_is_all_behind_the_prompt(smollm2: ModelTokenizer) -> None:
    chat = [USER, answer("one"), USER, answer("two"), answer("three")]
    two, three = "two<|im_end|>", "three<|im_end|>"
    assert trained(smollm2, chat_templates.CHATML, chat, "completion") == [f"{two}\n<|im_start|>assistant\n{three}"]
    assert trained(smollm2, chat_templates.CHATML, chat, "last_assistant") == [three]
    encoded = encode_chats(
        smollm2.tokenizer, chat_template(chat_templates.CHATML, {}), [{"messages": chat[:3]}], "completion"
    )
    assert encoded.set_aside == {0: "there is no token to train on with loss: completion"}


def test_masked_reasoning_goes_with_its_marks_and_the_blanks_behind(smollm2: ModelTokenizer) -> None:
    written = answer("<think>\nhm\n</think>\n\nyes")
    said = answer("the mark <think> opens, </think> closes")
    for source, chat, expected in (  # a token that begins before the answer is trained with it
        (chat_templates.QWEN3, [USER, written], ["yes<|im_end|>"]),
        (chat_templates.CHATML, [USER, written, USER, written], ["yes<|im_end|>", "yes<|im_end|>"]),
        (chat_templates.CHATML, [USER, said], [f"{said['content']}<|im_end|>"]),
        (chat_templates.KEEPS_THOUGHTS, [USER, written], ["yes<|im_end|>"]),
        (chat_templates.DATED, [USER, THOUGHT], [" yes<|eot|>"]),
        (chat_templates.CHANNELS, [USER, THOUGHT], ["><|start|>assistant<|channel|>final<|message|>yes<|return|>"]),
    ):
        assert trained(smollm2, source, chat, reasoning="mask") == expected
    assert trained(smollm2, chat_templates.KEEPS_THOUGHTS, [USER, written]) == ["\nhm\n</think>\n\nyes<|im_end|>"]
    assert trained(smollm2, chat_templates.DATED, [USER, THOUGHT]) == ["{thought} hm {/thought} yes<|eot|>"]


def test_reasoning_has_the_name_that_the_template_looks_for() -> None:
    template = chat_template(chat_templates.CHANNELS, {})
    texts = {
        render(template, [USER, {"role": "assistant", "content": "yes", name: "hm"}]).text
        for name in ("reasoning_content", "thinking", "reasoning")
    }
    assert len(texts) == 1
    assert "analysis<|message|>hm<|end|>" in texts.pop()


def test_what_the_template_drops_is_counted(smollm2: ModelTokenizer) -> None:
    chats = [
        {"messages": [USER, answer("<think>\nhm\n</think>\n\nyes"), USER, answer("no")]},
        {"messages": [USER, CALLING, SEEN, answer("no")], "tools": [TOOL]},
    ]
    template = chat_template(chat_templates.QWEN3, {})
    assert encode_chats(smollm2.tokenizer, template, chats, "assistant").dropped == {"reasoning of earlier turns": 1}
    plain = chat_template(chat_templates.CHATML, {})
    with_words = {**CALLING, "content": "One moment."}
    chats.append({"messages": [USER, with_words, SEEN, answer("no")], "tools": [TOOL]})
    encoded = encode_chats(smollm2.tokenizer, plain, chats, "assistant")
    assert encoded.dropped == {"tools": 1, "tool calls": 1}
    assert encoded.set_aside == {1: "the chat template drops the tool call that is all of message 2"}


def test_an_end_token_behind_everything_is_the_last_answers(smollm2: ModelTokenizer) -> None:
    chat = [USER, answer("one"), USER, answer("two")]
    assert trained(smollm2, chat_templates.END_BEHIND, chat) == ["one<|end|>", "two<|end|>\n</s>"]
    assert trained(smollm2, chat_templates.END_BEHIND, [*chat, USER]) == ["one<|end|>", "two<|end|>"]


def test_arguments_of_calls_are_given_as_the_template_writes_them(smollm2: ModelTokenizer) -> None:
    parsed = {**CALLING, "tool_calls": [{**CALL, "function": {"name": "look", "arguments": {"at": 1}}}]}
    for calling in (CALLING, parsed):
        assert trained(smollm2, chat_templates.THINKS_FIRST, [USER, calling]) == ['call look{"at": 1}</s>']
        assert '"arguments": {"at": 1}' in trained(smollm2, chat_templates.TOOLS_LATE, [USER, calling])[0]


def test_what_a_tool_said_is_never_trained(smollm2: ModelTokenizer) -> None:
    chat = {"messages": [USER, CALLING, SEEN, answer("done")]}
    encoded = encode_chats(smollm2.tokenizer, chat_template(chat_templates.RESULTS_AHEAD, {}), [chat], "assistant")
    assert encoded.set_aside == {0: "the chat template writes message 3, a tool's result, into another's turn"}


def test_a_first_token_stands_once(smollm2: ModelTokenizer) -> None:
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer.from_str(smollm2.tokenizer.to_str())
    first = "<|endoftext|>"
    number = tokenizer.token_to_id(first)
    tokenizer.post_processor = TemplateProcessing(single=f"{first} $A", special_tokens=[(first, number)])
    template = chat_template(chat_templates.LLAMA3, {"bos_token": first})
    encoded = encode("chat", tokenizer, template, [{"messages": [USER, answer("yes")]}], "assistant")
    assert (encoded.tokens == number).sum() == 1
    assert encoded.tokens[0] == number
    assert encode("documents", tokenizer, None, [{"text": "x"}], "all", end=2).tokens.tolist()[0] == number


def test_the_other_formats_have_lengths(smollm2: ModelTokenizer) -> None:
    template = chat_template(chat_templates.CHATML, {})
    prompts = encode("prompts", smollm2.tokenizer, template, [{"messages": [USER]}], "assistant")
    text = "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n"
    assert smollm2.tokenizer.decode(prompts.tokens.tolist(), skip_special_tokens=False) == text
    assert not prompts.trained.any()
    pairs = [
        {"messages": [USER], "chosen": "short", "rejected": "much longer than that"},
        {"messages": [USER], "chosen": "much longer than that", "rejected": "short"},
        {"messages": [USER], "chosen": "<|im_end|>", "rejected": "short"},
    ]
    encoded = encode("preference", smollm2.tokenizer, template, pairs, "assistant")
    assert encoded.kept.tolist() == [0, 1]
    assert encoded.lengths[0] == encoded.lengths[1]
    assert encoded.set_aside == {2: "its chosen answer: its text holds the control token <|im_end|>"}
    ready = [{"tokens": [5, 6, 7], "trained": [0, 0, 1]}, {"text": "x"}, {"tokens": [10**6]}, {"tokens": [8, 9]}]
    mixed = encode("documents", smollm2.tokenizer, None, ready, "all", end=2)
    assert mixed.kept.tolist() == [0, 1, 3]
    assert mixed.tokens.tolist()[:3] == [5, 6, 7]
    assert mixed.trained.tolist()[:3] == [False, False, True]
    assert mixed.set_aside == {2: "the tokenizer has no token 1000000: its tokens are 0 to 49151"}
