"""Trees as plain Python values, to compare with what PyYAML reads."""

from __future__ import annotations

from dsl.tree import Mapping, Node, Scalar, Sequence

Plain = str | list["Plain"] | dict[str, "Plain"]


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
