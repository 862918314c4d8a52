"""The VS Code extension says what the language says: its words, its command, its version. Needs no node."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsl.declarations import KINDS
from dsl.files import DIRECTIVES
from dsl.parse import parse
from dsl.scalar_values import UNITS
from dsl.source import SourceFile
from mixc.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "editors" / "vscode"


def read(name: str) -> Any:
    return json.loads((EXTENSION / name).read_text(encoding="utf-8"))


def rule(name: str) -> dict[str, Any]:
    return read("syntaxes/mix.tmLanguage.json")["repository"][name]


def alternatives(pattern: str, start: str = "^") -> list[str]:
    """The words of the group that follows `start` in a pattern."""
    group = re.search(re.escape(start) + r"\(([a-z |?]+)\)", pattern)
    assert group is not None, pattern
    return group.group(1).split("|")


def includes(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from [inner] if key == "include" else includes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from includes(inner)


def test_the_grammar_knows_every_kind_of_declaration() -> None:
    assert sorted(alternatives(rule("declaration")["begin"])) == sorted(KINDS)


def test_the_grammar_knows_every_directive() -> None:
    assert sorted(alternatives(rule("directive")["begin"])) == sorted(DIRECTIVES)


def test_the_grammar_knows_every_unit() -> None:
    patterns = [one["match"] for one in rule("quantity")["patterns"]]
    written = next(alternatives(pattern, "?) +") for pattern in patterns if "tokens" in pattern)
    assert {form for unit in written for form in (unit.removesuffix("s?"), unit.replace("?", ""))} == set(UNITS)


def test_fields_that_only_a_reader_reads_are_coloured_as_text() -> None:
    remarks = {
        name
        for kind in KINDS.values()
        for name, field in kind.by_written_name().items()
        if field.facts.role == "remark"
    }
    assert set(alternatives(rule("text-field")["begin"], "^( *)")) == remarks


def test_every_rule_of_the_grammar_is_there_and_used() -> None:
    grammar = read("syntaxes/mix.tmLanguage.json")
    assert set(includes(grammar)) == {f"#{name}" for name in grammar["repository"]}


def test_the_package_names_the_grammar_and_files_that_are_there() -> None:
    package = read("package.json")
    (grammar,) = package["contributes"]["grammars"]
    (language,) = package["contributes"]["languages"]
    assert grammar["scopeName"] == read(grammar["path"])["scopeName"] == "source.mix"
    assert language["extensions"] == [".mix"]
    assert read(language["configuration"])["comments"] == {"lineComment": "#"}
    built = {"dist"}
    missing = [name for name in package["files"] if name not in built and not (EXTENSION / name).exists()]
    assert not missing


def test_the_default_command_is_one_that_mixc_has() -> None:
    program, command = read("package.json")["contributes"]["configuration"]["properties"]["mixc.command"]["default"]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert program in scripts
    assert command in COMMANDS


def test_the_extension_has_the_version_and_licence_of_mixc() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    package = read("package.json")
    assert (package["version"], package["license"]) == (project["version"], project["license"])
    assert read("package-lock.json")["version"] == project["version"]
    assert (EXTENSION / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_lock_has_checksums_and_no_addresses_of_a_registry() -> None:
    packages = read("package-lock.json")["packages"]
    assert not [name for name, one in packages.items() if "resolved" in one]
    assert not [name for name, one in packages.items() if name and "integrity" not in one]


def test_the_lines_that_the_grammar_is_tried_on_are_well_formed() -> None:
    text = (EXTENSION / "test" / "tricky.mix").read_text(encoding="utf-8")
    _, diagnostics = parse(SourceFile("tricky.mix", text))
    assert [(one.code, one.message) for one in diagnostics] == []
