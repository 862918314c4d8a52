"""Specs written inside tests: loaded and checked from memory, errors as codes with what they point at."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from dsl.check import check
from dsl.declarations.base import Declaration
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.resolve import Loaded, load

ROOT = Path("/project")
EXAMPLES = Path(__file__).parent.parent / "examples"


def reader(files: dict[str, str]):
    """Reads from `files`, whose names are relative to the project."""

    def read(path: Path) -> str:
        try:
            return files[str(path.relative_to(ROOT))]
        except (KeyError, ValueError):
            raise FileNotFoundError(2, "No such file or directory") from None

    return read


def spec(text: str) -> str:
    return "edition: 2026\n\n" + dedent(text).lstrip("\n")


def loaded(text: str, sets: dict[str, str] | None = None, **imports: str) -> Loaded:
    """`main.mix` loaded; imports are given by name without `.mix`."""
    files = {"main.mix": spec(text)} | {f"{name}.mix": spec(each) for name, each in imports.items()}
    return load(ROOT / "main.mix", sets=sets or {}, root=ROOT, read=reader(files))


def module(text: str, sets: dict[str, str] | None = None, **imports: str):
    one = loaded(text, sets, **imports)
    assert one.module is not None, told(one.diagnostics)
    return one.module


def declared(text: str, name: str, sets: dict[str, str] | None = None, **imports: str) -> Declaration:
    found = module(text, sets, **imports).find(name)
    assert found is not None
    return found


def errors(text: str, **imports: str) -> list[tuple[str, str]]:
    """Codes of what `load` finds, each with the text that it points at."""
    return pointed(loaded(text, **imports).diagnostics)


def checked(text: str, **imports: str) -> list[tuple[str, str]]:
    """The same of `check`."""
    files = {"main.mix": spec(text)} | {f"{name}.mix": spec(each) for name, each in imports.items()}
    return pointed(check([ROOT / "main.mix"], root=ROOT, read=reader(files)))


def pointed(diagnostics: list[Diagnostic]) -> list[tuple[str, str]]:
    return [(one.code, one.source.text[one.span.start : one.span.end]) for one in diagnostics]


def told(diagnostics: list[Diagnostic]) -> str:
    return "\n".join(f"{one.code} {one.source.path}: {one.message}" for one in diagnostics)
