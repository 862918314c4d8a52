"""Trees as plain Python values, to compare with what PyYAML reads."""

from __future__ import annotations

import yaml
from ruamel.yaml import YAML

from dsl.parse import parse
from dsl.source import SourceFile
from dsl.tree import Mapping, Node, Scalar, Sequence

Plain = str | list["Plain"] | dict[str, "Plain"]


def check_against_yaml(text: str) -> bool:
    """If mixc takes a text, PyYAML (YAML 1.1) and ruamel (1.2) do too, all scalars strings, and read the same tree.

    Gives whether mixc takes it.
    """
    document, diagnostics = parse(SourceFile("test.mix", text))
    if diagnostics:
        return False
    tree = plain(document.root)
    assert tree == (yaml.load(text, yaml.BaseLoader) or {})
    assert tree == (YAML(typ="base", pure=True).load(text) or {})
    return True


def plain(node: Node | None) -> Plain:
    """A node as PyYAML's BaseLoader gives it: every scalar a string, nothing an empty one."""
    match node:
        case None:
            return ""
        case Scalar():
            return node.text
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return {entry.key.text: plain(entry.value) for entry in node.entries}
