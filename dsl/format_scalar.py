"""Scalars as the formatter writes them: quotes only where they are needed, long flows and calls broken."""

from __future__ import annotations

from collections.abc import Iterator

from dsl.parse import parse
from dsl.quoting import double_quoted
from dsl.scalars import ScalarError, parse_scalar
from dsl.source import SourceFile, Span
from dsl.tree import Entry, Mapping, Node, Scalar, Sequence

WIDTH = 100
"""Columns after which flows, calls and flow collections are broken."""


def key_text(key: Scalar, source: SourceFile, *, in_flow: bool = False) -> str:
    if key.style == "plain":
        return key.text
    candidate = f"k: {{{key.text}: x}}" if in_flow else f"k:\n  {key.text}: x"
    return key.text if _reads_as(candidate, "k", key.text, "x") else _written(key, source)


def flow_text(node: Node | None, source: SourceFile) -> str:
    """A node inside a flow collection, on one line."""
    match node:
        case None:
            return ""
        case Scalar():
            return _inline_text(node, source)
        case Sequence():
            return f"[{', '.join(flow_text(item, source) for item in node.items)}]"
        case Mapping():
            return f"{{{', '.join(pair_text(entry, source) for entry in node.entries)}}}"


def pair_text(entry: Entry, source: SourceFile) -> str:
    return f"{key_text(entry.key, source, in_flow=True)}: {flow_text(entry.value, source)}"


def scalar_lines(scalar: Scalar, source: SourceFile, indent: int, column: int) -> list[str]:
    """A scalar that starts in `column`, beside a key or dash in column `indent`; all lines but the first indented."""
    margin = " " * (indent + 2)
    if scalar.style in ("literal", "folded"):
        first, *rest = _block_text_lines(scalar, source)
    elif scalar.style == "plain" or may_be_plain(scalar.text):
        first, *rest = _plain_lines(scalar, source, column)
    else:
        first, *rest = _quoted_lines(scalar, source)
    return [first, *(margin + line if line else "" for line in rest)]


def as_mapping(scalar: Scalar, indent: int, lead: str) -> list[str] | None:
    """A call that would pass the width as a one-key mapping: what goes on behind `lead`, and further lines.

    None for what isn't such a call, or can't be written so because an argument has no name.
    """
    if len(lead) + 1 + len(scalar.text) <= WIDTH or not (scalar.style == "plain" or may_be_plain(scalar.text)):
        return None
    try:
        call = parse_scalar("call", scalar)
    except ScalarError:
        return None
    pairs = [f"{argument.path}: {argument.text}" for argument in call.arguments if argument.path]
    if not pairs or len(pairs) != len(call.arguments):
        return None
    is_item = lead.endswith("-")
    margin = " " * (len(lead) + 1 if is_item else indent + 2)
    one_line = f"{call.name.text}: {{{', '.join(pairs)}}}"
    if len(margin) + len(one_line) <= WIDTH and _is_well_formed(one_line):
        lines = [one_line]
    else:
        lines = [f"{call.name.text}:", *(f"  {pair}" for pair in pairs)]
        if not _is_well_formed("\n".join(lines)):
            return None
    lines = [margin + line for line in lines]
    return [lines[0].lstrip(), *lines[1:]] if is_item else ["", *lines]


def _inline_text(scalar: Scalar, source: SourceFile) -> str:
    if scalar.style == "plain" or may_be_plain(scalar.text, in_flow=True):
        return scalar.text
    written = _written(scalar, source)
    return double_quoted(scalar.text) if "\n" in written else written


def _plain_lines(scalar: Scalar, source: SourceFile, column: int) -> list[str]:
    """On one line if it fits; else a flow is broken before each `|>`, and other text keeps its lines."""
    is_plain = scalar.style == "plain"
    lines = [line.strip() for line in _written(scalar, source).split("\n")] if is_plain else [scalar.text]
    if "\n" in scalar.text:
        return lines
    if column + len(scalar.text) <= WIDTH:
        return [scalar.text]
    return _flow_lines(scalar.text) or lines


def _flow_lines(text: str) -> list[str] | None:
    """The lines of a flow of two or more; None for other text, and where a line end would change a blank."""
    whole = Scalar(text, "plain", Span(0, len(text)))
    try:
        items = parse_scalar("flow", whole).items
    except ScalarError:
        return None
    parts = [text[item.span.start : item.span.end] for item in items]
    if len(parts) < 2 or " |> ".join(parts) != text:
        return None
    return [parts[0], *(f"|> {part}" for part in parts[1:])]


def _quoted_lines(scalar: Scalar, source: SourceFile) -> list[str]:
    first, *rest = _written(scalar, source).split("\n")
    lines = [first, *(line.lstrip(" ") for line in rest)]
    return [*map(_without_end_blanks, lines[:-1]), lines[-1]]


def _without_end_blanks(line: str) -> str:
    stripped = line.rstrip(" ")
    return stripped + " " if stripped.endswith("\\") and stripped != line else stripped


def _block_text_lines(scalar: Scalar, source: SourceFile) -> list[str]:
    """A literal or folded text: its header, and its lines from the column where they start."""
    text = scalar.text.strip("\n")
    if not text:
        return [double_quoted(scalar.text)]
    column = source.position(scalar.offset(scalar.text.index(text)))[1] - 1
    _, *lines = (line[column:] for line in _written(scalar, source).split("\n"))
    while not lines[-1]:
        lines.pop()
    end_breaks = len(scalar.text) - len(scalar.text.rstrip("\n"))
    style = "|" if scalar.style == "literal" else ">"
    indentation = "2" if text.startswith(" ") else ""
    chomping = ("-", "", "+")[min(end_breaks, 2)]
    return [style + indentation + chomping, *lines, *[""] * (end_breaks - 1)]


def _written(scalar: Scalar, source: SourceFile) -> str:
    return source.text[scalar.span.start : scalar.span.end].replace("\r\n", "\n")


def may_be_plain(text: str, *, in_flow: bool = False) -> bool:
    """Whether a text means the same without quotes: with them `$name` and `drop` are only text."""
    if text.startswith("$") or text == "drop":
        return False
    return _reads_as(f"k: [{text}]" if in_flow else f"k: {text}", "k", text)


def _reads_as(written: str, *texts: str) -> bool:
    """Whether what is written is well formed and holds these keys and scalars, in this order."""
    document, diagnostics = parse(SourceFile("", written))
    return not diagnostics and tuple(_texts(document.root)) == texts


def _texts(node: Node | None) -> Iterator[str]:
    match node:
        case None:
            pass
        case Scalar():
            yield node.text
        case Sequence():
            for item in node.items:
                yield from _texts(item)
        case Mapping():
            for entry in node.entries:
                yield entry.key.text
                yield from _texts(entry.value)


def _is_well_formed(text: str) -> bool:
    return not parse(SourceFile("", text))[1]
