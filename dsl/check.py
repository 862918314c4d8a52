"""Everything that the text alone shows to be wrong, over one file or many."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

from dsl.checks.finding import Finding
from dsl.checks.rules import RULES, Rule
from dsl.checks.unused import deep_extends, is_root, reached, unused
from dsl.declarations.base import Declaration, Place, Written
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.files import Parses, Read, read_text
from dsl.hole import HOLE, IncompleteError
from dsl.module import Module
from dsl.reports import Reports
from dsl.resolve import Loaded, load
from dsl.source import SourceFile


def check(
    paths: Iterable[str | Path],
    *,
    root: Path | None = None,
    allow_outside: bool = False,
    read: Read = read_text,
    parses: Parses | None = None,
) -> list[Diagnostic]:
    """All that is wrong in these files and in what they import, by file and place; nothing is said twice."""
    parses = {} if parses is None else parses
    loaded = [load(path, root=root, allow_outside=allow_outside, read=read, parses=parses) for path in paths]
    return findings(loaded)


def findings(loaded: Sequence[Loaded]) -> list[Diagnostic]:
    """All that is wrong in files that have been loaded and in what they import."""
    files = Files()
    used = files.used(loaded)
    reports = Reports()
    for one in loaded:
        own = [*one.diagnostics, *_without_echoes(_findings(one.partial) if one.partial else (), one.diagnostics)]
        reports.extend(files.renamed(diagnostic) for diagnostic in own)
        if one.scope is not None and one.resolver is not None:
            here = [Place(one.scope.source, each.key.span) for each in one.scope.definitions.values()]
            seen = {place for place in here if files.identity(place) in used}
            errors = [each for each in one.diagnostics if each.severity == "error"]
            for code, finding in unused(one.scope, seen, one.resolver, errors):
                reports.add(files.renamed(_diagnostic(code, finding, "error")))
            for finding in deep_extends(one.scope, one.resolver):
                reports.add(files.renamed(_diagnostic("MIX0343", finding, "warning")))
    return reports.sorted()


def load_checked(
    path: str | Path,
    *,
    sets: Mapping[str, str] | None = None,
    root: Path | None = None,
    allow_outside: bool = False,
    read: Read = read_text,
) -> Loaded:
    """A file loaded and checked, for those who go on to plan it: `module` is None where there is any error.

    That a file declares more than it uses is not their concern.
    """
    loaded = load(path, sets=sets, root=root, allow_outside=allow_outside, read=read)
    if loaded.partial is None:
        return loaded
    reports = Reports()
    reports.extend(loaded.diagnostics)
    reports.extend(_without_echoes(_findings(loaded.partial), loaded.diagnostics))
    diagnostics = reports.sorted()
    has_error = any(one.severity == "error" for one in diagnostics)
    return replace(loaded, module=None if has_error else loaded.partial, diagnostics=diagnostics)


class Files:
    """One `SourceFile` a file, however its path was written when several files were loaded one by one."""

    def __init__(self) -> None:
        self.sources: dict[str, SourceFile] = {}
        self.paths: dict[str, str] = {}

    def renamed(self, diagnostic: Diagnostic) -> Diagnostic:
        source = self.sources.setdefault(self._real(diagnostic.source.path), diagnostic.source)
        return diagnostic if source is diagnostic.source else replace(diagnostic, source=source)

    def identity(self, place: Place) -> tuple[str, int]:
        return self._real(place.source.path), place.span.start

    def _real(self, path: str) -> str:
        if path not in self.paths:
            self.paths[path] = os.path.realpath(path)
        return self.paths[path]

    def used(self, loaded: Iterable[Loaded]) -> set[tuple[str, int]]:
        """The declarations that a study or a trained model of any of these files reaches."""
        return {
            self.identity(Place(definition.scope.source, definition.key.span))
            for one in loaded
            if (resolver := one.resolver) is not None
            for definition in reached([each for each in resolver.declared if is_root(each, resolver)], resolver)
        }


def _findings(module: Module) -> Iterator[Diagnostic]:
    """What the rules find in a module and in those that it imports."""
    for declaration in _every_declaration(module):
        for rule in _rules_of(type(declaration)):
            try:
                for finding in rule.find(declaration):
                    yield _diagnostic(rule.code, finding, rule.severity)
            except IncompleteError:
                continue


@cache
def _rules_of(kind: type[Declaration]) -> list[Rule]:
    return [rule for rule in RULES if issubclass(kind, rule.kind)]


def _without_echoes(found: Iterable[Diagnostic], told: Sequence[Diagnostic]) -> list[Diagnostic]:
    """What the rules find, but for what stands on an error that has been told: it only follows from that."""
    errors = [one for one in told if one.severity == "error"]
    return [one for one in found if not any(_overlap(one, error) for error in errors)]


def _overlap(one: Diagnostic, other: Diagnostic) -> bool:
    return one.span.start < other.span.end and other.span.start < one.span.end and one.source.path == other.source.path


def _diagnostic(code: str, finding: Finding, severity: Literal["error", "warning"]) -> Diagnostic:
    place = finding.place
    return Diagnostic(code, finding.message, place.source, place.span, finding.help, severity)


def _every_declaration(module: Module) -> list[Declaration]:
    """The declarations of a module and its imports, and those made from them by a call, each once."""
    found: dict[int, Declaration] = {}
    waiting: list[object] = []
    modules = [module]
    while modules:
        one = modules.pop()
        waiting += one.declarations.values()
        modules += one.imports.values()
    while waiting:
        value = waiting.pop()
        if value is HOLE or id(value) in found:
            continue
        if isinstance(value, Declaration):
            found[id(value)] = value
        if isinstance(value, Written):
            waiting += vars(value).values()
        elif isinstance(value, tuple):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
    return list(found.values())
