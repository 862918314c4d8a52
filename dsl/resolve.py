"""From a path to a module: files loaded, names bound, `extends` and calls applied, `$constants` filled in."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dsl.bind import bind, bind_fields
from dsl.bind_scalar import Where
from dsl.declarations import KINDS
from dsl.declarations.base import Declaration, Place
from dsl.declarations.shapes import Claimed, FlowOf, Reference
from dsl.declarations.studies import Study
from dsl.describe import alternatives, known_help
from dsl.diagnostics.diagnostic import Diagnostic
from dsl.extends import extended, orphaned, replaced
from dsl.files import NAME, Loader, Parses, Read, project_root, read_text
from dsl.flows import bind_claim, bind_flow, bind_reference
from dsl.hole import HOLE
from dsl.lines import DEEPEST
from dsl.locations import scheme_mistake
from dsl.module import Module
from dsl.names import look_up
from dsl.places import Origin, Places
from dsl.reports import Reports
from dsl.scope import Definition, Scope
from dsl.source import SourceFile, Span
from dsl.terms import Applied, Atom, Cell, Table, Term
from dsl.tree import Scalar

Fields = tuple[dict[str, Cell], Mapping[str, Cell] | None]
"""A definition's fields with those that it takes over, and the latter alone (None where it extends nothing)."""


@dataclass(frozen=True)
class Loaded:
    """What loading a file gives. `module` is None where there is any error.

    `partial` has what could be made of a file with errors, holes in it; it, `scope` and `resolver` are for checks and
    editors, and None where the file couldn't be read.
    """

    module: Module | None
    diagnostics: list[Diagnostic]
    partial: Module | None = None
    scope: Scope | None = field(default=None, repr=False)
    resolver: Resolver | None = field(default=None, repr=False)


def load(
    path: str | Path,
    *,
    sets: Mapping[str, str] | None = None,
    root: Path | None = None,
    allow_outside: bool = False,
    read: Read = read_text,
    parses: Parses | None = None,
) -> Loaded:
    """A `.mix` file with all that it imports. Never raises on bad input: what is wrong is in the diagnostics.

    `sets` are constants to change, as `--set` gives them: `name` or `alias.name` to the text of a value.
    `root` is the project's folder, else the nearest above the file with `.git`, `pyproject.toml` or `mixc.toml`.
    `parses` holds what earlier calls have parsed, and takes what this one does.
    """
    reports = Reports()
    full = Path(os.path.realpath(path))
    root = Path(os.path.realpath(root)) if root else project_root(full)
    loader = Loader(reports, read, root, allow_outside, {} if parses is None else parses)
    try:
        scope = loader.scope(full, str(path), {}, dict(sets or {}))
    except OSError as error:
        reports.error(
            "MIX0214", f"can't read '{path}': {error.strerror or error}", SourceFile(str(path), ""), Span(0, 0)
        )
        return Loaded(None, reports.sorted())
    except UnicodeDecodeError:
        reports.error(
            "MIX0214", f"can't read '{path}': it isn't UTF-8", SourceFile(str(path), ""), Span(0, 0), "save it as UTF-8"
        )
        return Loaded(None, reports.sorted())
    _give_prefixes(scope)
    resolver = Resolver(reports, root, allow_outside)
    module = resolver.module(scope)
    diagnostics = _without_echoes(reports.sorted(), loader)
    has_error = any(one.severity == "error" for one in diagnostics)
    return Loaded(None if has_error else module, diagnostics, module, scope, resolver)


def _without_echoes(diagnostics: list[Diagnostic], loader: Loader) -> list[Diagnostic]:
    """All but what the binder says of a line whose form is wrong: that only follows from it."""
    lines = {_first_line(mistake) for parsed in loader.opened.values() for mistake in parsed.diagnostics}
    return [one for one in diagnostics if not (one.code >= "MIX0150" and _first_line(one) in lines)]


def _first_line(one: Diagnostic) -> tuple[str, int]:
    return one.source.path, one.source.position(one.span.start)[0]


def _give_prefixes(scope: Scope) -> None:
    """Say of every file what its names start with as seen from `scope`: the shortest way through imports."""
    seen, waiting = {scope}, deque([scope])
    while waiting:
        one = waiting.popleft()
        for alias, imported in one.imports.items():
            if imported.scope and imported.scope not in seen:
                imported.scope.prefix = f"{one.prefix}{alias}."
                seen.add(imported.scope)
                waiting.append(imported.scope)


@dataclass
class Resolver:
    """Binds declarations as they are asked for, each once."""

    reports: Reports
    root: Path
    allow_outside: bool
    scopes: dict[Scope, Module] = field(default_factory=dict[Scope, Module])
    declared: dict[Definition, Any] = field(default_factory=dict[Definition, Any])
    fields: dict[Definition, Fields] = field(default_factory=dict[Definition, Fields])
    depths: dict[Definition, int] = field(default_factory=dict[Definition, int])
    uses: dict[Definition, set[Definition]] = field(default_factory=dict[Definition, set[Definition]])
    """Which definitions each of them refers to."""
    damaged: set[Definition] = field(default_factory=set[Definition])
    """Those that have lost fields to mistakes of form, or extend one that has."""
    hidden: dict[Definition, set[str]] = field(default_factory=dict[Definition, set[str]])
    """The fields of those in whose text a mistake of form stands."""
    binding: list[Definition] = field(default_factory=list[Definition])
    extending: list[Definition] = field(default_factory=list[Definition])
    following: list[Cell] = field(default_factory=list[Cell])
    bases: list[Any] = field(default_factory=list[Any])
    too_deep: set[Scope] = field(default_factory=set[Scope])
    """Files with a chain that is too long, which has been reported."""

    def module(self, scope: Scope) -> Module:
        """A file's declarations, all of them bound, after those of its imports."""
        if scope not in self.scopes:
            imports = {alias: self.module(one.scope) for alias, one in scope.imports.items() if one.scope}
            declarations = {name: self.declaration(one) for name, one in scope.definitions.items()}
            kept = {name: one for name, one in declarations.items() if one is not HOLE}
            constants = {name: _text(cell) for name, cell in scope.constants.items()}
            self.scopes[scope] = Module(scope.path, scope.root, scope.source, kept, imports, constants)
        return self.scopes[scope]

    def declaration(self, definition: Definition) -> Any:
        """A definition bound; a hole where its kind is unknown or it is being bound already, which is reported."""
        if definition not in self.declared:
            if definition.kind is None or definition.cells is None:
                return HOLE
            if len(self.binding) == DEEPEST:
                self._too_deep(definition.key.span, definition.scope)
                return HOLE
            self.binding.append(definition)
            cells, inherited = self.cells(definition)
            self.declared[definition] = self._build(
                definition, cells, inherited, definition.title, (definition, definition.key.span)
            )
            self.binding.pop()
        return self.declared[definition]

    def cells(self, definition: Definition) -> Fields:
        """What a definition says with what it extends, and what it takes from there (None: it extends nothing)."""
        if definition not in self.fields:
            if not definition.is_whole:
                self.damaged.add(definition)
            hidden = self.hidden[definition] = definition.hidden_fields()
            own = dict(definition.cells or {})
            cell = own.pop("extends", None)
            if cell is None or definition.kind is None:
                self.fields[definition] = own, None
            elif len(self.extending) == DEEPEST:
                self._too_deep(cell.key.span, cell.scope)
                self._orphan(definition, own)
            elif (parent := self._parent(definition, cell)) is None:
                self._orphan(definition, own)
            else:
                self.extending.append(definition)
                inherited, _ = self.cells(parent)
                self.extending.pop()
                if parent in self.damaged:
                    self.damaged.add(definition)
                replaced_whole = {name for name, one in own.items() if not isinstance(one.value, Table)}
                hidden |= self.hidden[parent] - replaced_whole
                self.depths[definition] = self.depths.get(parent, 0) + 1
                self.fields[definition] = extended(KINDS[definition.kind], inherited, own, self), inherited
        return self.fields[definition]

    def _orphan(self, definition: Definition, own: dict[str, Cell]) -> None:
        """Go on with a definition that couldn't be extended, which has been reported."""
        cells, merged = orphaned(own)
        self.damaged.add(definition)
        self.hidden[definition] |= merged
        self.fields[definition] = cells, {}

    def _parent(self, definition: Definition, cell: Cell) -> Definition | None:
        value = self.follow(cell.value) if cell.value else None
        source, kind = cell.scope.source, definition.kind or ""
        if value is HOLE:
            return None
        if not isinstance(value, Atom):
            help = f"write 'extends: NAME', a {kind} to start from"
            self.reports.error("MIX0205", f"'extends' in {definition.title} takes a name", source, cell.key.span, help)
            return None
        name, opened, _ = value.scalar.text.partition("(")
        if opened:
            help = f"write 'extends: {name}', and what differs as fields on the lines below"
            message = f"'extends' in {definition.title} takes a name, not a call"
            self.reports.error("MIX0205", message, source, value.span, help)
            return None
        found = look_up(name, value.scope, value.span, (kind,), self.reports)
        if found is None:
            return None
        parent = found.definition
        if parent is definition or parent in self.extending:
            ring = [*self.extending, definition]
            self._cycle([*ring[ring.index(parent) :], parent], value)
            return None
        self.uses.setdefault(definition, set()).add(parent)
        return parent if parent.cells is not None else None

    def _build(
        self,
        definition: Definition,
        cells: dict[str, Cell],
        inherited: Mapping[str, Cell] | None,
        owner: str,
        place: tuple[Any, Span],
        given: Container[str] = (),
    ) -> Declaration:
        """The declaration of a definition's cells, of which a call has `given` some."""
        kind = KINDS[definition.kind or ""]
        is_study = kind is Study
        if is_study:
            self.bases.append(self._base(cells, owner, definition))
        is_whole, hidden = definition not in self.damaged, self.hidden.get(definition, set())
        values = bind_fields(kind, cells, owner, place, self, inherited=inherited, is_whole=is_whole, hidden=hidden)
        if is_study and (base := self.bases.pop()) is not None:
            values["base"] = base
        where = Place(definition.scope.source, definition.key.span)
        own = definition.cells or {}
        origins: dict[str, Origin] = {
            name: "call" if name in given else "own" if name in own else "inherited" for name in cells
        }
        return kind.model_construct(
            **values, name=definition.seen_name, place=where, places=Places(kind, cells, origins)
        )

    def _base(self, cells: Mapping[str, Cell], owner: str, definition: Definition) -> Any:
        cell = cells.get("base")
        if cell is None or cell.value is None:
            misspelt = get_close_matches("base", cells.keys() - Study.by_written_name().keys())
            return HOLE if misspelt or definition in self.damaged else None
        return bind(Study.by_written_name()["base"].facts.shape, cell.value, Where("base", owner), self)

    def follow(self, term: Term) -> Term | Any:
        """What `$name` stands for, a term of where the constant is given; any other term as it is."""
        if not isinstance(term, Atom) or term.scalar.style != "plain" or not term.scalar.text.startswith("$"):
            return term
        name = term.scalar.text[1:]
        if not NAME.fullmatch(name):
            return term  # no constant has such a name: the field's own rule tells what is wrong
        cell = term.scope.constants.get(name)
        if cell is None or cell.value is None:
            if cell is None and term.scope.has_all_names and f"${name}" not in term.scope.wrong:
                term.scope.wrong.add(f"${name}")
                self._unknown_constant(name, term)
            return HOLE
        term.scope.used.add(f"${name}")
        if cell in self.following:
            ring = " -> ".join(f"${one.key.text}" for one in [*self.following[self.following.index(cell) :], cell])
            self.reports.error("MIX0213", f"a cycle: {ring}", term.scope.source, term.span, "give one of them a value")
            return HOLE
        if len(self.following) == DEEPEST:
            self._too_deep(term.span, term.scope)
            return HOLE
        self.following.append(cell)
        value = self.follow(cell.value)
        self.following.pop()
        return value

    def location(self, atom: Atom) -> Any:
        """A location as written where it has a scheme, else as an absolute path, which must lie in the project."""
        text = atom.scalar.text
        if "://" in text:
            if mistake := scheme_mistake(text):
                self.reports.error("MIX0363", mistake[0], atom.scope.source, atom.span, mistake[1])
                return HOLE
            return text
        path = os.path.normpath(atom.scope.path.parent / text)
        if not self.allow_outside and not f"{os.path.realpath(path)}/".startswith(os.path.join(self.root, "")):
            help = "move it into the project, or say --allow-outside"
            self.reports.error("MIX0216", f"'{text}' is outside the project", atom.scope.source, atom.span, help)
            return HOLE
        return path

    def reference(self, term: Atom | Table | Applied, shape: Reference, where: Where) -> Any:
        return bind_reference(term, shape, where, self)

    def flow(self, term: Atom | Table | Applied, shape: FlowOf, where: Where) -> Any:
        return bind_flow(term, shape, where, self)

    def claim(self, atom: Atom, shape: Claimed, where: Where) -> Any:
        return bind_claim(atom, shape, where, self)

    def named(self, text: str, scope: Scope, span: Span, kinds: tuple[str, ...]) -> tuple[Any, str, Definition | None]:
        """The declaration of a name, what follows the name, and its definition; a hole where there is none."""
        found = look_up(text, scope, span, kinds, self.reports)
        if found is None:
            return HOLE, "", None
        definition = found.definition
        if self.binding:
            self.uses.setdefault(self.binding[-1], set()).add(definition)
        if definition in self.binding:
            self._cycle([*self.binding[self.binding.index(definition) :], definition], Atom(_scalar(text, span), scope))
            return HOLE, "", None
        return self.declaration(definition), found.rest, definition

    def call(self, call: Applied, definition: Definition) -> Any:
        """A declaration with a call's arguments in place of its fields."""
        if definition.kind is None or definition.cells is None:
            return HOLE
        kind, owner = KINDS[definition.kind], definition.title
        inherited, _ = self.cells(definition)
        cells = replaced(kind, inherited, call, owner, self)
        given = {path.partition(".")[0] for path in call.cells}
        return self._build(definition, cells, inherited, owner, (call, call.name.span), given)

    def _cycle(self, ring: list[Definition], atom: Atom) -> None:
        message = "a cycle: " + " -> ".join(one.name for one in ring)
        places = alternatives(f"{one.name} ({_line(one)})" for one in ring[:-1])
        help = f"a declaration can't be made from itself; name another in {places}"
        self.reports.error("MIX0213", message, atom.scope.source, atom.span, help)

    def _too_deep(self, span: Span, scope: Scope) -> None:
        """Report a chain that is too long, once a file: what is further along it is read from there."""
        if scope not in self.too_deep:
            self.too_deep.add(scope)
            message = f"a chain of more than {DEEPEST} declarations, each made from the next"
            help = "make some of them from one that lies nearer to the chain's end"
            self.reports.error("MIX0122", message, scope.source, span, help)

    def _unknown_constant(self, name: str, term: Atom) -> None:
        help = (
            known_help(f"${name}", [f"${one}" for one in term.scope.constants])
            if term.scope.constants
            else f"declare it: 'let:', below it '{name}: …'"
        )
        self.reports.error("MIX0217", f"unknown constant '${name}'", term.scope.source, term.span, help)


def _line(definition: Definition) -> str:
    source = definition.scope.source
    return f"{source.path}:{source.position(definition.key.span.start)[0]}"


def _text(cell: Cell) -> str:
    return cell.scope.source.text[cell.value.span.start : cell.value.span.end] if cell.value else ""


def _scalar(text: str, span: Span) -> Scalar:
    return Scalar(text, "plain", span)
