"""What the declarations say of kinds, fields and built-ins, in words for a reader."""

from __future__ import annotations

from dsl.declarations.base import Written
from dsl.describe import expected
from dsl.hole import HOLE
from dsl.show import text_of

EXTENDS = "Starts from another declaration of the same kind: what is written here replaces what that one says."

DIRECTIVES = {
    "edition": "The rules that the file is written for.",
    "import": "Other files, each under an alias: its names are `alias.name`.",
    "let": "Constants: `$name` stands for a whole value.",
}


def told(model: type[Written]) -> str:
    """What a class says of itself."""
    return " ".join((model.__doc__ or "").split())


def description(model: type[Written], name: str) -> str:
    """The sentence about a field, by its written name."""
    field = model.by_written_name()[name]
    return model.model_fields[field.name].description or ""


def about_field(model: type[Written], name: str) -> list[str]:
    """How a field is written, what it is without being written, and what a change of it means."""
    field = model.by_written_name()[name]
    lines = [f"Takes {expected(field.facts.shape)}."]
    info = model.model_fields[field.name]
    if field.is_required:
        lines.append("Required.")
    elif info.default is not None and info.default is not HOLE and info.default not in ((), {}):
        lines.append(f"Without it: {text_of(field.facts.shape, info.default)}.")
    lines.append(ROLES[field.facts.role])
    return lines


ROLES = {
    "computation": "Computation: a change reruns what depends on it.",
    "execution": "Execution: it changes how it runs, and is recorded with the results.",
    "retention": "Retention: it changes what is kept, not what comes out.",
    "remark": "Remark: a change reruns nothing.",
}


def signature(word: str, model: type[Written]) -> str:
    """How a built-in is called: `adamw(lr, b1=0.9, …)`."""
    parts: list[str] = []
    for name, field in model.by_written_name().items():
        default = model.model_fields[field.name].default
        if field.is_required:
            parts.append(name)
        else:
            parts.append(f"{name}={'none' if default is None else text_of(field.facts.shape, default)}")
    return f"{word}({', '.join(parts)})" if parts else word
