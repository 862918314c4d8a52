"""A tiny chat model with random weights, as a Hugging Face folder, for tests that need a model and no knowledge."""

from __future__ import annotations

from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel

from compiler.program.config import DecoderConfig
from compiler.program.decoder import create, parameters_of
from runtime.weights.description import ModelDescription
from runtime.weights.huggingface import export
from runtime.weights.splitting import byte_level_tokenizer
from runtime.weights.tokenizer import ModelTokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tiny_model(folder: Path, seed: int) -> Path:
    """Writes the model (about 40,000 parameters, one token per byte but for a few merges) and returns `folder`."""
    description = tiny_description()
    export(folder, description, parameters_of(create(description.config, seed)))
    return folder


def tiny_description() -> ModelDescription:
    """Two layers of width 32; all 256 bytes, ten merges, and ChatML's special tokens."""
    merges = ["Ġ t", "h e", "Ġt he", "i n", "e r", "o n", "Ġ a", "u s", "us er", "Ġ Ġ"]
    tokens = [*SPECIAL, *sorted(ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in merges)]
    tokenizer = byte_level_tokenizer(
        tokens, merges, splitting="smollm", special=SPECIAL, added=[], first=None, place="tiny"
    )
    config = DecoderConfig(
        vocabulary=len(tokens),
        layers=2,
        hidden=32,
        intermediate=64,
        heads=4,
        key_value_heads=2,
        head_size=8,
        rope_theta=10000.0,
        norm_epsilon=1e-5,
        tied_embeddings=True,
        context=512,
    )
    ids = {token: index for index, token in enumerate(tokens)}
    end = ids["<|im_end|>"]
    return ModelDescription(
        config,
        ModelTokenizer(
            tokenizer=tokenizer,
            chat_template=CHATML,
            bos=ids["<|im_start|>"],
            eos=end,
            pad=end,
            unknown=ids["<|endoftext|>"],
            stops=(end,),
        ),
    )
