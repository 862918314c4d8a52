"""What a name means in a file: a declaration of it or of an import, the held-out side of a source, a suite's member."""

from __future__ import annotations

from dataclasses import dataclass

from dsl.describe import alternatives, known_help, with_article
from dsl.diagnostics.suggest import nearest
from dsl.reports import Reports
from dsl.scope import Definition, Scope
from dsl.source import Span


@dataclass(frozen=True, slots=True)
class Found:
    """A definition and what is said after its name: `holdout`, a suite's member."""

    definition: Definition
    rest: str


def look_up(text: str, scope: Scope, span: Span, kinds: tuple[str, ...], reports: Reports) -> Found | None:
    """The definition that a name means where it is written; None, reported, where there is none of those kinds.

    Nothing is reported where the name may have got lost in what could not be read, nor of a name twice in a file.
    """
    target, rest = scope, text
    alias, _, after = text.partition(".")
    if alias in scope.imports and after:
        scope.used.add(alias)
        imported = scope.imports[alias].scope
        if imported is None:
            return None
        target, rest = imported, after
    name, _, rest = rest.partition(".")
    definition = target.definitions.get(name)
    if name in target.wrong or (definition is None and not target.has_all_names):
        return None
    if definition is None or definition.kind not in (*kinds, None):
        scope.missed.update(kinds)
    if definition is None:
        _unknown(text, scope, span, kinds, reports)
        return None
    if definition.kind is None:
        return None
    if definition.kind not in kinds:
        line, _ = target.source.position(definition.key.span.start)
        message = (
            f"'{text}' is {with_article(definition.kind)}, not {alternatives([with_article(kind) for kind in kinds])}"
        )
        reports.error("MIX0211", message, scope.source, span, f"it is declared at {target.source.path}:{line}")
        return None
    if rest and not (rest == "holdout" and definition.kind == "source") and definition.kind != "eval":
        _unknown(text, scope, span, kinds, reports)
        return None
    return Found(definition, rest)


def _unknown(text: str, scope: Scope, span: Span, kinds: tuple[str, ...], reports: Reports) -> None:
    alias, dot, _ = text.partition(".")
    scope.wrong.add(alias if dot and alias not in scope.imports and alias not in scope.definitions else text)
    if not dot and alias in scope.imports:
        message, help = f"'{text}' is an import, not a declaration", f"write '{text}.NAME'"
    elif text == "base":
        message, help = "'base' means a model only as the start of a study's arms", "name the model itself"
    elif text == "none":
        message, help = (
            "'none' is a level of a matrix, not a model or a stage",
            "leave it out; an arm without training is 'base'",
        )
    elif text == "drop":
        message = "nothing is taken over here that could be dropped"
        help = "'drop', without quotes, takes back what 'extends' gives"
    elif dot and alias not in scope.imports and alias not in scope.definitions:
        message, help = f"unknown name '{text}': there is no import '{alias}'", _import_help(alias, text, scope, kinds)
    elif (inner := _through_two(text, scope)) is not None:
        message, help = f"unknown name '{text}': a name goes through one import", inner
    else:
        message, help = f"unknown name '{text}'", _suggestion(text, names_in(scope, kinds))
    reports.error("MIX0210", message, scope.source, span, help)


def _through_two(text: str, scope: Scope) -> str | None:
    """The mend for a name of a file that an imported file imports."""
    first, second, *rest = [*text.split("."), ""]
    imported = scope.imports[first].scope if first in scope.imports else None
    inner = imported.imports[second].scope if imported and second in imported.imports else None
    if inner is None or not rest[0]:
        return None
    return f"import {inner.source.path} here too, and write '{second}.{rest[0]}'"


def _import_help(alias: str, text: str, scope: Scope, kinds: tuple[str, ...]) -> str:
    meant = nearest(alias, scope.imports) or nearest(text, names_in(scope, kinds))
    return f"did you mean '{meant}'?" if meant else f"write '{alias}: FILE.mix' under 'import:'"


def _suggestion(text: str, names: list[str]) -> str:
    alike = [name for name in names if name.rpartition(".")[2] == text]
    if alike:
        return f"did you mean '{alike[0]}'?"
    if len(names) <= 8 or known_help(text, names).startswith("did"):
        return known_help(text, names) if names else "nothing of that kind is declared here or in an import"
    return "declare it here, or import the file that does"


def meaning(text: str, scope: Scope) -> Definition | str:
    """The definition that a name means, or the text itself where it means none; reports nothing."""
    alias, _, after = text.partition(".")
    imported = scope.imports[alias].scope if alias in scope.imports else None
    found = imported.definitions.get(after) if imported else scope.definitions.get(text)
    return found or text


def names_in(scope: Scope, kinds: tuple[str, ...]) -> list[str]:
    """All names of those kinds as a file can write them."""
    names = [name for name, one in scope.definitions.items() if one.kind in kinds]
    for alias, imported in scope.imports.items():
        if imported.scope:
            names += [f"{alias}.{name}" for name, one in imported.scope.definitions.items() if one.kind in kinds]
    return names
