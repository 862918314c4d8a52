"""Loads a file and all that it imports: each file read once, each use of it with its own constants."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from errno import EINVAL
from pathlib import Path

from dsl.arguments import read_node
from dsl.declarations import KINDS
from dsl.describe import known_help, with_article
from dsl.lines import DEEPEST
from dsl.parse import Parsed, parse_again
from dsl.reports import Reports
from dsl.scope import Definition, Import, Scope
from dsl.source import SourceFile, Span
from dsl.terms import Atom, Cell, Table, as_cells, as_term
from dsl.tree import Document, Entry, Scalar
from dsl.tree import Mapping as MappingNode

Read = Callable[[Path], str]

DIRECTIVES = ("edition", "import", "let")
EDITION = "2026"
ROOT_MARKS = (".git", "pyproject.toml", "mixc.toml")
RESERVED = ("base", "none")
NAME = re.compile(r"[a-z][a-z0-9_]*")
HARMLESS = ("MIX0108", "MIX0110")
"""Mistakes of form that cost no name: what is left out is there already, or is a comment."""
CHARACTERS = ("MIX0101", "MIX0102")
_HEAD = re.compile(rf"\s*(?:{'|'.join(KINDS)})\s+[a-z]")
_JOINED = re.compile(r"([a-z_]+) *[:=] *([^:= ].*)")
NAME_HELP = "a name is lower-case letters, digits and '_', and starts with a letter"


def read_text(path: Path) -> str:
    """A file's text with the line ends that it has. Raises OSError, and UnicodeDecodeError where it isn't UTF-8."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(EINVAL, "it is no regular file")  # a pipe would be waited for
    return path.read_bytes().decode()


def project_root(path: Path) -> Path:
    """The nearest folder above `path` that marks a project, else the file's own folder."""
    folders = path.parent, *path.parent.parents
    return next((folder for folder in folders if any((folder / mark).exists() for mark in ROOT_MARKS)), path.parent)


Parses = dict[Path, Parsed]
"""What has been parsed so far. It may be kept: a file is parsed again once its text is another."""


@dataclass
class Loader:
    """Reads files, each once."""

    reports: Reports
    read: Read
    root: Path
    allow_outside: bool
    parses: Parses = field(default_factory=Parses)
    opened: Parses = field(default_factory=Parses)
    scopes: dict[object, Scope] = field(default_factory=dict[object, Scope])

    def open(self, path: Path, shown: str) -> Parsed:
        """A file's text and tree, its mistakes of form reported. Raises OSError and UnicodeDecodeError."""
        if path not in self.opened:
            text = self.read(path)
            before = self.parses.get(path)
            if before is None or before.source.text != text:
                self.parses[path] = parse_again(SourceFile(shown, text), before.blocks if before else {})
            self.opened[path] = self.parses[path]
            self.reports.extend(self.opened[path].diagnostics)
        return self.opened[path]

    def scope(
        self,
        path: Path,
        shown: str,
        given: Mapping[str, Cell],
        sets: Mapping[str, str],
        chain: tuple[Path, ...] = (),
        aliases: str = "",
    ) -> Scope:
        """The file at `path` with the constants `given` by an import and those `sets` by the user, who writes their
        names behind `aliases`.

        Raises OSError and UnicodeDecodeError where this file can't be read; what is wrong in it, or can't be read
        of what it imports, is reported.
        """
        identity = (
            path,
            frozenset((name, id(cell.scope), _written(cell)) for name, cell in given.items()),
            frozenset(sets.items()),
        )
        if identity not in self.scopes:
            parsed = self.open(path, shown)
            mistakes = tuple(one.span.start for one in parsed.diagnostics if one.code != "MIX0110")
            has_all_names = not _may_have_lost_names(parsed)
            scope = Scope(parsed.source, path, self.root, mistakes=mistakes, has_all_names=has_all_names)
            self.scopes[identity] = scope
            self._fill(scope, parsed.document, given, sets, (*chain, path), aliases)
        return self.scopes[identity]

    def _fill(
        self,
        scope: Scope,
        document: Document,
        given: Mapping[str, Cell],
        sets: Mapping[str, str],
        chain: tuple[Path, ...],
        aliases: str,
    ) -> None:
        entries = {entry.key.text: entry for entry in reversed(document.root.entries)}
        self._edition(scope, entries.get("edition"))
        if constants := self._directive(scope, entries.get("let")):
            for name, cell in constants.items():
                if self._well_formed(scope, name, cell.key):
                    self._valued(cell)
                    scope.constants[name] = cell
        imports = self._directive(scope, entries.get("import")) or {}
        self._replace_constants(scope, given, sets, imports, aliases)
        for alias, cell in imports.items():
            if self._named(scope, alias, cell.key) and self._valued(cell):
                nested = {
                    name.removeprefix(f"{alias}."): text for name, text in sets.items() if name.startswith(f"{alias}.")
                }
                scope.imports[alias] = Import(cell.key, self._import(cell, nested, chain, f"{aliases}{alias}."))
        starts = [entry.key.span.start for entry in document.root.entries] + [len(scope.source.text) + 1]
        empty: Entry | None = None
        for entry, following in zip(document.root.entries, starts[1:], strict=True):
            if empty is not None and self._is_field_of(empty, entry, scope):
                continue
            empty = entry if entry.value is None else None
            if entry.key.text not in DIRECTIVES:
                self._define(scope, entry, following)

    def _is_field_of(self, empty: Entry, entry: Entry, scope: Scope) -> bool:
        """Whether a top-level key is meant as a field of the declaration above it, which is empty: then it is reported,
        the first of them alone."""
        kind, _, name = empty.key.text.partition(" ")
        if kind not in KINDS or entry.key.text not in KINDS[kind].by_written_name():
            return False
        definition = scope.definitions.get(name.strip())
        if definition is None or definition.is_whole:
            message, help = f"'{entry.key.text}' isn't indented", f"indent the lines of {empty.key.text} by two blanks"
            self.reports.error("MIX0103", message, scope.source, entry.key.span, help)
        if definition is not None:
            scope.definitions[definition.name] = replace(definition, is_whole=False)
        return True

    def _edition(self, scope: Scope, entry: Entry | None) -> None:
        if entry is None:
            help = f"start the file with 'edition: {EDITION}', the rules that it is written for"
            self.reports.warning("MIX0220", "no edition", scope.source, Span(0, 0), help)
        elif not isinstance(entry.value, Scalar) or entry.value.text != EDITION:
            span = entry.value.span if entry.value else entry.key.span
            self.reports.error("MIX0219", "unknown edition", scope.source, span, f"write 'edition: {EDITION}'")

    def _directive(self, scope: Scope, entry: Entry | None) -> dict[str, Cell] | None:
        """The cells of `import:` or `let:`."""
        if entry is None:
            return None
        if isinstance(entry.value, MappingNode):
            return as_cells(entry.value, scope)
        scope.has_all_names = False
        word = entry.key.text
        example = "common: common.mix" if word == "import" else "dose: 20M tokens"
        span = entry.value.span if entry.value else entry.key.span
        self.reports.error(
            "MIX0205", f"'{word}' takes a mapping", scope.source, span, f"write '{example}' under '{word}:'"
        )
        return None

    def _valued(self, cell: Cell) -> bool:
        if cell.value is None:
            message = f"'{cell.key.text}' has no value"
            self.reports.error("MIX0204", message, cell.scope.source, cell.key.span, "write one after the colon")
        return cell.value is not None

    def _named(self, scope: Scope, name: str, key: Scalar) -> bool:
        """Whether a name is well formed and free; reports what is wrong with it."""
        report = self.reports.error
        if not self._well_formed(scope, name, key):
            return False
        if name in RESERVED:
            report("MIX0202", f"'{name}' means something else in a flow", scope.source, key.span, "take another name")
        elif name in scope.definitions or name in scope.imports:
            first = scope.definitions[name].key if name in scope.definitions else scope.imports[name].alias
            line, _ = scope.source.position(first.span.start)
            help = f"line {line} has it; declarations and imports of a file share their names"
            scope.wrong.add(name)
            report("MIX0212", f"'{name}' is declared twice", scope.source, key.span, help)
        else:
            return True
        return False

    def _well_formed(self, scope: Scope, name: str, key: Scalar) -> bool:
        if not NAME.fullmatch(name):
            self.reports.error("MIX0202", f"'{name}' is not a name", scope.source, key.span, NAME_HELP)
            scope.wrong.add(name)
            return False
        return True

    def _replace_constants(
        self,
        scope: Scope,
        given: Mapping[str, Cell],
        sets: Mapping[str, str],
        imports: Mapping[str, Cell],
        aliases: str,
    ) -> None:
        """Put the values of the import and of `--set` in place of the file's own."""
        replacements = dict(given)
        for name, text in sets.items():
            alias, dot, _ = name.partition(".")
            if dot and alias in imports:
                continue
            option = f"--set {aliases}{name}"
            source = SourceFile(option, text)
            if not text.strip():
                message, help = f"'{aliases}{name}' has no value", f"write {option}=VALUE"
                self.reports.error("MIX0204", message, source, Span(0, len(text)), help)
                continue
            value = as_term(read_node(text.strip(), len(text) - len(text.lstrip())), replace(scope, source=source))
            key = Scalar(name, "plain", Span(0, len(text)))
            replacements[name] = Cell(key, value, replace(scope, source=source))
        for name, cell in replacements.items():
            if name in scope.constants:
                scope.constants[name] = cell
            elif scope.has_all_names:
                message = f"{scope.source.path} has no constant '{name}'"
                self.reports.error(
                    "MIX0217",
                    message,
                    cell.scope.source,
                    cell.key.span,
                    known_help(name, scope.constants) if scope.constants else "it has none: leave this out",
                )

    def _import(self, cell: Cell, sets: Mapping[str, str], chain: tuple[Path, ...], aliases: str) -> Scope | None:
        """The scope of an imported file, or None where there is none, which is reported."""
        path, given = self._import_parts(cell)
        if path is None:
            return None
        source, span = cell.scope.source, path.span
        if not path.text.strip() or "\0" in path.text:
            self.reports.error("MIX0214", "this names no file", source, span, "write the path of a .mix file")
            return None
        target = Path(os.path.realpath(cell.scope.path.parent / path.text))
        if not self.allow_outside and not target.is_relative_to(self.root):
            help = "move it into the project, or say --allow-outside"
            self.reports.error("MIX0216", f"'{path.text}' is outside the project", source, span, help)
            return None
        if target in chain:
            files = [*chain[chain.index(target) :], target]
            message = "an import cycle: " + " -> ".join(file.name for file in files)
            help = "put what both files need into a third, and import that"
            if target == chain[-1]:
                help = "leave this import out: a file's own names are there already"
            self.reports.error("MIX0215", message, source, span, help)
            return None
        if len(chain) == DEEPEST:
            help = "import the files that are needed here, and not through one another"
            self.reports.error("MIX0122", f"imports nested more than {DEEPEST} deep", source, span, help)
            return None
        shown = os.path.normpath(os.path.join(os.path.dirname(source.path), path.text))
        try:
            return self.scope(target, shown, given, sets, chain, aliases)
        except OSError as error:
            help = f"looked for {shown}; the path is relative to this file"
            self.reports.error("MIX0214", f"can't read '{path.text}': {error.strerror or error}", source, span, help)
        except UnicodeDecodeError:
            self.reports.error("MIX0214", f"can't read '{path.text}': it isn't UTF-8", source, span, "save it as UTF-8")
        return None

    def _import_parts(self, cell: Cell) -> tuple[Scalar | None, dict[str, Cell]]:
        """The path of an import and the constants that it gives."""
        source = cell.scope.source
        match cell.value:
            case Atom(scalar):
                return scalar, {}
            case Table(cells):
                for name in cells.keys() - {"file", "let"}:
                    message = f"unknown field '{name}' in import '{cell.key.text}'"
                    self.reports.error(
                        "MIX0203", message, source, cells[name].key.span, known_help(name, ("file", "let"))
                    )
                file, constants = cells.get("file"), cells.get("let")
                given: dict[str, Cell] = {}
                if constants and self._valued(constants):
                    if isinstance(constants.value, Table):
                        given = {name: one for name, one in constants.value.cells.items() if self._valued(one)}
                    else:
                        help = "write 'NAME: VALUE' under 'let:'"
                        self.reports.error("MIX0205", "'let' takes a mapping", source, constants.key.span, help)
                if file and isinstance(file.value, Atom):
                    return file.value.scalar, given
                help = "write 'file: NAME.mix'"
                self.reports.error("MIX0204", f"import '{cell.key.text}' has no file", source, cell.key.span, help)
            case _:
                help = f"write '{cell.key.text}: NAME.mix'"
                self.reports.error("MIX0205", "an import takes a file", source, cell.key.span, help)
        return None, {}

    def _define(self, scope: Scope, entry: Entry, end: int) -> None:
        """Add a declaration to its file's names; its text ends at `end`."""
        kind, _, name = entry.key.text.partition(" ")
        name = name.strip()
        if kind not in KINDS:
            known = (*KINDS, *DIRECTIVES) if not name else tuple(KINDS)
            if kind in DIRECTIVES:
                help = f"write '{kind}:' alone, and '{name.partition(' ')[0]}: …' indented on the line below"
                self.reports.error("MIX0201", f"'{kind}' has no name", scope.source, entry.key.span, help)
                return
            what = "kind of declaration" if name else "top-level key"
            self.reports.error(
                "MIX0201", f"unknown {what} '{kind}'", scope.source, entry.key.span, known_help(kind, known)
            )
            if not name or not NAME.fullmatch(name):
                return
        elif not name:
            help = f"write '{kind} NAME:'"
            self.reports.error("MIX0202", f"{with_article(kind)} without a name", scope.source, entry.key.span, help)
            return
        if not self._named(scope, name, entry.key):
            return
        cells = None
        if isinstance(entry.value, MappingNode):
            cells = as_cells(entry.value, scope)
        elif entry.value is not None:
            message, help = f"{kind} {name} takes a mapping of fields", "write 'FIELD: VALUE' on the lines below"
            if isinstance(entry.value, Scalar) and (joined := _JOINED.fullmatch(entry.value.text)):
                help = f"write '{joined[1]}: {joined[2]}', with a blank after the colon"
            self.reports.error("MIX0205", message, scope.source, entry.value.span, help)
        else:
            cells = {}
        is_whole = not scope.has_mistake(entry.key.span.start, end)
        known = kind if kind in KINDS else None
        scope.definitions[name] = Definition(known, name, entry.key, cells, scope, end, is_whole)


def _may_have_lost_names(parsed: Parsed) -> bool:
    """Whether a mistake of form stands where a declaration, a constant or an import may have got lost to it."""
    entries = parsed.document.root.entries
    starts = [entry.key.span.start for entry in entries]
    for one in parsed.diagnostics:
        if one.code in HARMLESS:
            continue
        index = bisect_right(starts, one.span.start) - 1
        line, column = one.source.position(one.span.start)
        if index < 0 or entries[index].key.text in DIRECTIVES:
            return True
        if one.code in CHARACTERS and _HEAD.match(one.source.line(line)):
            return True
        if column == 1 and one.code not in CHARACTERS and starts[index] != one.span.start:
            return True
    return False


def _written(cell: Cell) -> str:
    span = cell.value.span if cell.value else cell.key.span
    return cell.scope.source.text[span.start : span.end]
