"""Writes what transformers makes of small chats by the templates of the tests: texts, refusals, and masks.

Run it in an environment with transformers and this repository's root on the path:

    python -m tests.parity.make_chat_references
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.runtime.data import chat_templates

FILE = Path(__file__).parent / "chats.json"
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TEMPLATES = [name for name in dir(chat_templates) if name.isupper() and name != "DATED"]  # asks for today's date

USER = {"role": "user", "content": " Who? \n"}
ANSWER = {"role": "assistant", "content": "<b>Me</b> & 'you' \"é\" {{ x }} "}
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"id": "abcdefgh0", "type": "function", "function": {"name": "look", "arguments": {"at": "é", "n": 1}}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
SEEN = {"role": "tool", "content": '{"t": 20}', "tool_call_id": "abcdefgh0", "name": "look"}
THOUGHT = {"role": "assistant", "content": "yes", "reasoning_content": "hm"}
WRITTEN = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nyes"}
TOOL = {"type": "function", "function": {"name": "look", "description": "<é>", "parameters": {"type": "object"}}}

CHATS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]] | None]] = {
    "one": ([USER, ANSWER], None),
    "two": ([USER, ANSWER, USER, ANSWER], None),
    "system": ([SYSTEM, USER, ANSWER], None),
    "asks last": ([SYSTEM, USER, ANSWER, USER], None),
    "asks twice": ([USER, USER, ANSWER], None),
    "answers first": ([ANSWER, USER, ANSWER], None),
    "tools": ([SYSTEM, USER, CALLING, SEEN, ANSWER], [TOOL]),
    "steps": ([USER, CALLING, SEEN, CALLING, SEEN, THOUGHT, USER, THOUGHT], [TOOL, TOOL]),
    "thought": ([USER, THOUGHT, USER, THOUGHT], None),
    "written thought": ([USER, WRITTEN, USER, WRITTEN], None),
}


def references() -> dict[str, Any]:
    """By template, chat and generation prompt: the text, None where it is refused; `masks` of the marked template."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    letters.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")  # a token for each character
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, **SPECIAL)
    tokenizer._tokenizer = letters
    texts: dict[str, str | None] = {}
    masks: dict[str, str] = {}
    for name in TEMPLATES:
        source = getattr(chat_templates, name)
        for chat, (messages, tools) in CHATS.items():
            for opened in (False, True):
                try:
                    text = tokenizer.apply_chat_template(
                        messages, tools=tools, chat_template=source, add_generation_prompt=opened, tokenize=False
                    )
                except Exception:
                    text = None
                texts[f"{name}/{chat}/{opened}"] = text
            if name == "MARKED" and texts[f"{name}/{chat}/False"] is not None:
                made = tokenizer.apply_chat_template(
                    messages,
                    tools=tools,
                    chat_template=source,
                    return_dict=True,
                    return_assistant_tokens_mask=True,
                )
                masks[chat] = "".join(map(str, made["assistant_masks"]))
    return {"made_by": f"transformers {version('transformers')}", "texts": texts, "masks": masks}


def main() -> int:
    FILE.write_text(json.dumps(references(), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
