"""The formatter: one way to write a file. It keeps the values and the comments, and changes how they are written."""

from __future__ import annotations

import re
from collections.abc import Sequence as Seq

from dsl.diagnostics.diagnostic import Diagnostic
from dsl.format_scalar import WIDTH, as_mapping, flow_text, key_text, pair_text, scalar_lines
from dsl.parse import parse
from dsl.source import SourceFile
from dsl.spacing import respaced, text_places
from dsl.tree import Document, Entry, Mapping, Node, Scalar, Sequence

_STEP = 2  # blanks a level
_HEAD = re.compile(r"^([a-z]+) +([a-z0-9_]+)$")
"""The kind and the name of a declaration."""


def format_source(source: SourceFile) -> tuple[str, list[Diagnostic]]:
    """The file's text in the one way to write it; with mistakes of form, the text as it is and the mistakes."""
    document, diagnostics = parse(source)
    if diagnostics:
        return source.text, diagnostics
    spaced = respaced(document)
    if spaced is not source:
        document, _ = parse(spaced)
    printer = _Printer(document)
    printer.block(document.root, 0, None, len(spaced.text))
    text = "".join(f"{line}\n" for line in printer.lines)
    if printer.has_split_calls:  # what they hold stands in fields of its own now, and is broken like any other
        return format_source(SourceFile(source.path, text))
    return text, []


class _Printer:
    """Writes nodes line by line, each comment where it stood.

    `lead` is what a line already holds when a node begins on it: its indentation, its key or its dashes.
    `limit` is the offset of what follows a node in the file: comments before it still belong to the node.
    """

    def __init__(self, document: Document) -> None:
        self.lines: list[str] = []
        self.source = document.source
        self.comments = list(reversed(document.comments))  # those still to write, the next one last
        self.texts = text_places(document)
        self.keeps_blanks = False  # the lines end with a text whose last empty lines count
        self.has_split_calls = False

    # Blocks.

    def block(self, node: Mapping | Sequence, indent: int, lead: str | None, limit: int) -> None:
        """A block mapping or list in column `indent`; its first line goes on from `lead`, if there is one."""
        children = _children(node)
        limits = [*(child.span.start for child in children[1:]), limit]
        for number, (child, following) in enumerate(zip(children, limits, strict=False)):
            if lead is None:
                started = self.own_line_comments(_line_offset(child), indent, is_first=number == 0)
                if number or started:
                    self.blank_line(child.span.start, forced=indent == 0 and not started)
            self.child(child, indent, " " * indent if lead is None else lead, following)
            lead = None
        self.own_line_comments(limit, indent, from_column=self.column(node.span.start))

    def child(self, child: Entry | Node, indent: int, lead: str, limit: int) -> None:
        if isinstance(child, Entry):
            key = key_text(child.key, self.source)
            if indent == 0:
                key = _HEAD.sub(r"\1 \2", key)
            self.value(child.value, indent, f"{lead}{key}:", child.key.span.end, limit)
        else:
            self.value(child, indent, f"{lead}-", child.span.start, limit)

    def value(self, node: Node | None, indent: int, lead: str, lead_end: int, limit: int) -> None:
        """What stands behind a key or a dash in column `indent`."""
        match node:
            case None:
                self.lines.append(lead)
                self.trail(lead_end)
            case Mapping(style="flow") | Sequence(style="flow"):
                self.flow(node, indent, f"{lead} ", "", limit)
            case Scalar():
                self.scalar(node, indent, lead)
            case _ if lead.endswith("-"):
                self.block(node, len(lead) + 1, f"{lead} ", limit)
            case _:
                self.lines.append(lead)
                self.trail(lead_end)
                self.block(node, indent + _STEP, None, limit)

    def scalar(self, node: Scalar, indent: int, lead: str) -> None:
        mapping = None if node.span.start in self.texts else as_mapping(node, indent, lead)
        self.has_split_calls |= mapping is not None
        first, *rest = mapping or scalar_lines(node, self.source, indent, len(lead) + 1)
        is_block = bool(mapping) or node.style in ("literal", "folded")  # so that a comment may end its first line
        self.lines += [f"{lead} {first}".rstrip(), *([] if is_block else rest)]
        self.trail(node.span.start if node.style in ("literal", "folded") else node.span.end)
        self.lines += rest if is_block else []
        self.keeps_blanks = "+" in first and node.style in ("literal", "folded")

    # Flow collections.

    def flow(self, node: Mapping | Sequence, indent: int, lead: str, tail: str, limit: int) -> None:
        """A flow collection on one line; on several, where it has comments inside or would pass the width."""
        line = lead + flow_text(node, self.source) + tail
        if len(line) <= WIDTH and not self.has_comment_before(node.span.end):
            self.lines.append(line)
        else:
            opening, closing = "{}" if isinstance(node, Mapping) else "[]"
            self.lines.append(lead + opening)
            children = _children(node)
            limits = [*(child.span.start for child in children[1:]), node.span.end]
            for child, following in zip(children, limits, strict=False):
                self.own_line_comments(_line_offset(child), indent + 2 * _STEP)
                self.flow_child(child, indent + 2 * _STEP, following)
            self.own_line_comments(node.span.end, indent + 2 * _STEP)
            self.lines.append(" " * (indent + _STEP) + closing + tail)
        self.trail(node.span.end, limit)

    def flow_child(self, child: Entry | Node, indent: int, limit: int) -> None:
        node, lead = child, " " * indent
        if isinstance(child, Entry):
            node, lead = child.value, f"{lead}{key_text(child.key, self.source, in_flow=True)}: "
        if isinstance(node, Mapping | Sequence):
            self.flow(node, indent - _STEP, lead, ",", limit)
        else:
            text = pair_text(child, self.source) if isinstance(child, Entry) else flow_text(child, self.source)
            self.lines.append(f"{' ' * indent}{text},")
            self.trail(child.span.end, limit)

    # Comments and blank lines.

    def own_line_comments(
        self, limit: int, indent: int, *, is_first: bool = False, from_column: int | None = None
    ) -> bool:
        """Write the comments before `limit`, from the left margin or from a column on; says whether there were any."""
        written = False
        while self.has_comment_before(limit):
            comment = self.comments[-1]
            if from_column is not None and self.column(comment.span.start) < from_column:
                break
            if written or not is_first:
                self.blank_line(comment.span.start, forced=indent == 0 and not written and from_column is None)
            self.lines.append(" " * indent + comment.text)
            self.keeps_blanks = False
            self.comments.pop()
            written = True
        return written

    def has_comment_before(self, limit: int) -> bool:
        return bool(self.comments) and self.comments[-1].span.start < limit

    def trail(self, offset: int, limit: int | None = None) -> None:
        """Write the comment that stands on the line of `offset` and before `limit` behind the last line."""
        self.keeps_blanks = False
        if not self.comments:
            return
        start = self.comments[-1].span.start
        if "\n" not in self.source.text[offset:start] and start > offset and (limit is None or start < limit):
            self.lines[-1] += f"  {self.comments.pop().text}"

    def blank_line(self, offset: int, *, forced: bool) -> None:
        """An empty line, if the file has one above the line of `offset`, or where there is always one."""
        line, _ = self.source.position(offset)
        is_wanted = forced or (line > 1 and not self.source.line(line - 1).strip())
        if is_wanted and self.lines and not self.keeps_blanks:
            self.lines.append("")

    def column(self, offset: int) -> int:
        return self.source.position(offset)[1] - 1


def _children(node: Mapping | Sequence) -> Seq[Entry | Node]:
    return node.entries if isinstance(node, Mapping) else node.items


def _line_offset(child: Entry | Node) -> int:
    """Where the last part of a child stands that is written on its first line: comments before it go above the line."""
    match child:
        case Entry(value=Scalar() | Mapping(style="flow") | Sequence(style="flow") as value):
            return value.span.start
        case Mapping(style="block") | Sequence(style="block"):
            return _line_offset(_children(child)[0])
        case _:
            return child.span.start
