"""Scalars as written and as read: YAML's plain, quoted and block styles."""

from __future__ import annotations

import re

from dsl.source import Span
from dsl.tree import Scalar, ScalarStyle

_NAMED_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b", " ": " ",
    '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip

_HEX = "[0-9A-Fa-f]"
ESCAPE = re.compile(
    rf"\\(?:[0abtnvfre \"/\\N_LP]|x{_HEX}{{2}}|(?:u|U0000)(?![Dd][89A-Fa-f]){_HEX}{{4}}"
    rf"|U00(?:0[1-9A-Fa-f]|10){_HEX}{{4}}|\r?\n[ \r\n]*)|(?P<unknown>\\.)",
    re.DOTALL,
)
"""What a backslash starts in double quotes; surrogates are no characters, so they have no escape."""

_ESCAPE_NAMES = {character: name for name, character in _NAMED_ESCAPES.items() if name not in " /"}
_NEEDS_ESCAPE = re.compile(r'["\\]|[^ -~\xa1-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]')

_FOLD = r" *\r?\n[ \r\n]*"
_PLAIN_PIECE = re.compile(rf"{_FOLD}|[^ \r\n]+| +")
_SINGLE_PIECE = re.compile(rf"{_FOLD}|''|[^ '\r\n]+| +")
_DOUBLE_PIECE = re.compile(rf"{ESCAPE.pattern}|{_FOLD}|[^ \\\r\n]+| +", re.DOTALL)
_QUOTES = frozenset("'\"|>")
_CHOMPING = re.compile(r"[+-]")


def read_scalar(raw: str, start: int, indent: int) -> Scalar:
    """The scalar that is written as `raw` at offset `start`; the lines of a block text start in column `indent`."""
    span = Span(start, start + len(raw))
    first = raw[:1]
    if first not in _QUOTES and "\n" not in raw:
        return Scalar(raw, "plain", span)
    match first:
        case "'":
            return _build(_SINGLE_PIECE, raw, "single", span)
        case '"':
            return _build(_DOUBLE_PIECE, raw, "double", span)
        case "|" | ">":
            return _read_block(raw, indent, span)
        case _:
            return _build(_PLAIN_PIECE, raw, "plain", span)


def _build(pieces: re.Pattern[str], raw: str, style: ScalarStyle, span: Span) -> Scalar:
    """Fold lines and replace escapes, piece by piece, and keep where each code point stands."""
    first, last = (0, len(raw)) if style == "plain" else (1, len(raw) - 1)
    text: list[str] = []
    offsets: list[int] = []
    for match in pieces.finditer(raw, first, last):
        piece, start = match.group(), span.start + match.start()
        read = _read_piece(piece, style)
        text.append(read)
        offsets.extend(range(start, start + len(read)) if read == piece else [start] * len(read))
    return Scalar("".join(text), style, span, tuple(offsets))


def _read_piece(piece: str, style: ScalarStyle) -> str:
    if piece == "''" and style == "single":
        return "'"
    if piece[0] == "\\" and style == "double":
        if piece[1] in "\r\n":
            return "\n" * (piece.count("\n") - 1)
        return chr(int(piece[2:], 16)) if len(piece) > 2 else _NAMED_ESCAPES.get(piece[1], piece[1])
    if "\n" in piece:
        return "\n" * (piece.count("\n") - 1) or " "
    return piece


def _read_block(raw: str, indent: int, span: Span) -> Scalar:
    """A literal (`|`) or folded (`>`) text, by the rules of YAML 1.2, chapter 8.1."""
    header, _, body = raw.partition("\n")
    folded = raw[0] == ">"
    text: list[str] = []
    offsets: list[int] = []
    position = span.start + len(header)
    breaks, previous, line_end = 1, "", position
    position += 1
    for line in body.splitlines(keepends=True):
        content, start = line[indent:].rstrip("\r\n"), position + indent
        if content:
            joint = _joint(previous, content, breaks, folded)
            text += joint, content
            offsets += [line_end] * len(joint)
            offsets += range(start, start + len(content))
            breaks, previous, line_end = 0, content, start + len(content)
        breaks += line.endswith("\n")
        position += len(line)
    chomping = _CHOMPING.search(header, 1, 3)
    end = _kept_breaks(chomping.group() if chomping else "", breaks, previous)
    text.append("\n" * end)
    offsets += [line_end] * end
    return Scalar("".join(text), "folded" if folded else "literal", span, tuple(offsets))


def _joint(previous: str, following: str, breaks: int, folded: bool) -> str:
    """What stands between two lines of a block text that are `breaks` line ends apart; the first has none before it."""
    if not previous:
        return "\n" * (breaks - 1)
    if folded and previous[0] != " " and following[0] != " ":
        return "\n" * (breaks - 1) or " "
    return "\n" * breaks


def _kept_breaks(chomping: str, breaks: int, last: str) -> int:
    """How many of the line ends after a block text's last line are part of it, or after its header if it has none."""
    match chomping:
        case "-":
            return 0
        case "+":
            return breaks if last else breaks - 1
        case _:
            return min(breaks, 1) if last else 0


def double_quoted(text: str) -> str:
    """A text in double quotes, on one line."""
    return f'"{_NEEDS_ESCAPE.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if name := _ESCAPE_NAMES.get(character):
        return f"\\{name}"
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
