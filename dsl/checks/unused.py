"""What nothing uses: declarations, imports and constants of a file, and chains of `extends` that are too long."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence

from dsl.checks.finding import Finding
from dsl.declarations.base import Place
from dsl.declarations.models import Model, ModelFlow
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.hole import HOLE
from dsl.resolve import Resolver
from dsl.scope import Definition, Scope

DEEPEST = 2


def is_root(definition: Definition, resolver: Resolver) -> bool:
    """Whether something is run by itself: a study, or a model that a flow trains, or may train."""
    declared = resolver.declared.get(definition)
    may_be = declared is HOLE or (isinstance(declared, Model) and declared.from_ is HOLE)
    return definition.kind in ("study", "model") if may_be else _is_surely_root(definition, resolver)


def _is_surely_root(definition: Definition, resolver: Resolver) -> bool:
    declared = resolver.declared.get(definition)
    if definition.kind == "study":
        return True
    if declared is HOLE or not isinstance(declared, Model) or declared.from_ is HOLE:
        return False
    return isinstance(declared.from_, ModelFlow)


def reached(roots: Iterable[Definition], resolver: Resolver) -> set[Definition]:
    """All that these definitions refer to, and they themselves."""
    found: set[Definition] = set()
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += resolver.uses.get(one, ())
    return found


def unused(
    scope: Scope, used: Container[Place], resolver: Resolver, errors: Sequence[Diagnostic]
) -> Iterator[tuple[str, Finding]]:
    """Codes and findings of one file; beside errors, only what nothing else mentions, nor the mend of one."""
    mends = " ".join(one.help or "" for one in errors)
    for code, name, finding in (
        *_declarations(scope, used, resolver),
        *_imports(scope),
        *_constants(scope),
    ):
        word = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])")
        if not errors or (len(word.findall(scope.source.text)) == 1 and not word.search(mends)):
            yield code, finding


def _declarations(scope: Scope, used: Container[Place], resolver: Resolver) -> Iterator[tuple[str, str, Finding]]:
    """In a file with a study or a trained model, a declaration that none of them reaches.

    What only other unused declarations refer to goes with those, and isn't told. Targets are for `--target`.
    """
    definitions = list(scope.definitions.values())
    if not any(_is_surely_root(one, resolver) for one in definitions):
        return
    unreached = [
        one for one in definitions if one.kind not in (None, "target") and Place(scope.source, one.key.span) not in used
    ]
    mentioned = {other for one in unreached for other in resolver.uses.get(one, ())}
    for one in unreached:
        if one not in mentioned and one.kind not in scope.missed:
            message = f"nothing that runs uses {one.title}"
            yield (
                "MIX0340",
                one.name,
                Finding(message, Place(scope.source, one.key.span), "use it in a study, or leave it out"),
            )


def _imports(scope: Scope) -> Iterator[tuple[str, str, Finding]]:
    """An import that no name goes through."""
    for alias, one in scope.imports.items():
        if one.scope is not None and alias not in scope.used:
            place = Place(scope.source, one.alias.span)
            help = f"write '{alias}.NAME' somewhere, or leave it out"
            yield "MIX0341", alias, Finding(f"nothing uses the import '{alias}'", place, help)


def _constants(scope: Scope) -> Iterator[tuple[str, str, Finding]]:
    """A constant that no `$name` stands for."""
    for name, cell in scope.constants.items():
        if cell.value is not None and f"${name}" not in scope.used:
            help = f"write '${name}' somewhere, or leave it out"
            yield (
                "MIX0342",
                name,
                Finding(f"nothing uses the constant '{name}'", Place(cell.scope.source, cell.key.span), help),
            )


def deep_extends(scope: Scope, resolver: Resolver) -> Iterator[Finding]:
    """A declaration that extends one that extends one that extends another."""
    for one in scope.definitions.values():
        depth = resolver.depths.get(one, 0)
        if depth > DEEPEST:
            cell = (one.cells or {})["extends"]
            message = f"{one.title} is {depth} steps of 'extends' away from where it starts"
            help = "extend the first of them, and write what differs: 'mixc show --resolved' tells what that is"
            yield Finding(message, Place(scope.source, cell.value.span if cell.value else cell.key.span), help)
