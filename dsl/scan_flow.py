"""Flow lists and mappings, `[a, b]` and `{key: value}`, on one line or several."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from dsl.lines import DEEPEST, PieceKind, Reader
from dsl.scan_scalar import check_balance, check_key, check_start, scan_quoted, unbalanced

_STOP = re.compile(r"[,\[\]{}?]|:(?= |$|[,\[\]{}])| #")
_KEY_BEFORE_QUOTE = re.compile(r"""[^ ,\[\]{}"'?:]+:(?=["'])""")
_SEPARATOR = re.compile(r"[,\]}]| #")
_WHOLE = re.compile(r'"(?:[^"\\]|\\.)*"|[()\[\]{},]| #')
_OPENERS: dict[str, tuple[PieceKind, str]] = {"[": ("LBRACKET", "]"), "{": ("LBRACE", "}")}
_CLOSERS: dict[str, PieceKind] = {"]": "RBRACKET", "}": "RBRACE"}


@dataclass
class _Collection:
    """A collection that is still open."""

    closer: str
    due: Literal["item", "value", "comma"] = "item"
    is_empty: bool = True
    has_mistake: bool = False  # so that the same one isn't reported for each of its items

    @property
    def is_mapping(self) -> bool:
        return self.closer == "}"


def scan_flow(reader: Reader, parent: int) -> None:
    """Take the collection that starts here; its further lines stand deeper than column `parent`.

    Commas are emitted between the items that are kept, wherever they are written: what was left out can't
    leave a hole in the tokens.
    """
    start, first, before = reader.position, reader.line, reader.mistakes
    stack: list[_Collection] = []
    _open(reader, stack)
    while stack:
        if not _advance(reader, parent):
            if reader.mistakes == before:
                help = f"add the {stack[0].closer!r}; further lines are indented deeper than the key"
                reader.mistake("MIX0117", f"{reader.text[start]!r} isn't closed", start, first.end, help)
            while stack:
                _emit_closer(reader, stack, reader.position)
            return
        match reader.peek():
            case "," | "]" | "}":
                _separator(reader, stack)
            case "?" if reader.peek(2)[1:] in ("", " "):
                check_start(reader, in_flow=True)
                reader.position += 1
            case ":" if stack[-1].due == "comma":
                help = "write 'key: value', with a word as the key"
                _give_up(reader, stack[-1], "MIX0107", "a list or mapping as a key", help)
            case character:
                if stack[-1].due == "comma":
                    help = "write a comma between two items, or quote an item that holds brackets"
                    reader.mistake("MIX0117", "a comma is missing", reader.position, reader.position + 1, help)
                    stack[-1].due = "item"
                if character in _OPENERS:
                    _nested(reader, stack)
                elif character in "\"'":
                    _quoted(reader, stack[-1], parent)
                else:
                    _plain(reader, stack[-1])


def _advance(reader: Reader, parent: int) -> bool:
    """Go on to the next token, over line ends and comments; False if the collection's lines are over before it."""
    while True:
        reader.skip_blanks()
        if reader.peek() == "#":
            reader.take_comment()
        if not reader.at_end:
            return True
        number = reader.next_line()
        if number is None:
            return False
        line = reader.lines[number]
        if line.indent <= parent and reader.text[line.first] != "#":
            if reader.text[line.first] not in _CLOSERS:
                return False
            help = "indent the bracket deeper than the key"
            reader.mistake("MIX0103", "a closing bracket as far left as its key", line.first, line.first + 1, help)
        reader.go_to(number)


def _separator(reader: Reader, stack: list[_Collection]) -> None:
    """Take a comma or a closing bracket."""
    top, character = stack[-1], reader.peek()
    if character == ",":
        if top.due == "item":
            help = "leave the comma out, or write the item before it"
            reader.mistake("MIX0117", "nothing before this comma", reader.position, reader.position + 1, help)
        top.due = "item"
    else:
        if character != top.closer:
            help = f"close it with {top.closer!r}"
            reader.mistake(
                "MIX0117", f"{character!r} closes no bracket here", reader.position, reader.position + 1, help
            )
        _emit_closer(reader, stack, reader.position)
    reader.position += 1


def _emit_closer(reader: Reader, stack: list[_Collection], position: int) -> None:
    reader.emit(_CLOSERS[stack.pop().closer], position, min(position + 1, len(reader.text)))


def _open(reader: Reader, stack: list[_Collection]) -> None:
    kind, closer = _OPENERS[reader.peek()]
    reader.emit(kind, reader.position, reader.position + 1)
    stack.append(_Collection(closer))
    reader.position += 1


def _nested(reader: Reader, stack: list[_Collection]) -> None:
    """Take a collection inside another."""
    top = stack[-1]
    if len(stack) == DEEPEST:
        help = "name parts of it under 'let:', or write them on lines of their own"
        _give_up(reader, top, "MIX0122", f"brackets nested more than {DEEPEST} deep", help)
    elif top.is_mapping and top.due == "item":
        _give_up(reader, top, "MIX0107", "a list or mapping as a key", "write 'key: value', with a word as the key")
    else:
        if not top.is_mapping:
            _emit_comma(reader, top)
        top.due = "comma"
        _open(reader, stack)


def _give_up(reader: Reader, top: _Collection, code: str, message: str, help: str) -> None:
    """Report what can't be made sense of, and step over the rest of the line."""
    reader.mistake(code, message, reader.position, reader.line.end, help)
    reader.position, top.due = reader.line.end, "comma"


def _quoted(reader: Reader, top: _Collection, parent: int) -> None:
    number = reader.number
    place = scan_quoted(reader, parent)
    reader.skip_blanks()
    if reader.peek() == ":" and number == reader.number:
        _key(reader, top, *place)
    else:
        _value(reader, top, *place)


def _plain(reader: Reader, top: _Collection) -> None:
    """Take a plain scalar; it ends with its line at the latest."""
    start, before = reader.position, reader.mistakes
    if top.is_mapping and top.due == "item" and (key := reader.match(_KEY_BEFORE_QUOTE)):
        reader.position = key.end() - 1
        _key(reader, top, start, reader.position)
        return
    check_start(reader, in_flow=True)
    stop = _STOP.search(reader.text, start + 1, reader.line.end)
    end = _go_to_stop(reader, start, stop)
    if reader.mistakes == before and stop:
        if stop.group() in "[{" or unbalanced(reader.text, start, end) is not None:
            end = _call(reader, start, end)
        elif stop.group() == "?":
            reader.mistake("MIX0115", "a '?' inside brackets", stop.start(), stop.end(), "put the text in quotes")
    if reader.mistakes > before:
        end = _go_to_stop(reader, start, _SEPARATOR.search(reader.text, max(end, start + 1), reader.line.end))
    if reader.peek() == ":":
        _key(reader, top, start, end)
    else:
        _value(reader, top, start, end)


def _go_to_stop(reader: Reader, start: int, stop: re.Match[str] | None) -> int:
    """Go on to `stop`, or to the end of the line; gives where the text from `start` ends before it."""
    reader.position = stop.start() if stop else reader.line.end
    return reader.trimmed(start, reader.position)


def _call(reader: Reader, start: int, end: int) -> int:
    """Report a plain scalar that a comma or bracket cuts short; gives where all of it ends."""
    depth = 0
    for match in _WHOLE.finditer(reader.text, start, reader.line.end):
        character = match.group()
        if character in "([{":
            depth += 1
        elif depth and character in ")]}":
            depth -= 1
        elif not depth and character in ",]}":
            reader.mistake(
                "MIX0111",
                "a comma or bracket inside a call splits it here",
                start,
                match.start(),
                "put the call in quotes, or write each item on a line of its own: '- item' or 'key: value'",
            )
            return match.start()
    check_balance(reader, start, end)
    return end


def _key(reader: Reader, top: _Collection, start: int, end: int) -> None:
    """Take what stands before a colon, and the colon."""
    colon = reader.position
    reader.position += 1
    check_key(reader, start, end)
    if reader.peek() not in ("", " "):
        _lacks_blank(reader, colon)
    if not top.is_mapping:
        help = "write '- key: value' on a line of its own, or '{key: value}'"
        if not top.has_mistake:
            reader.mistake("MIX0117", "a key in a list", start, colon + 1, help)
        top.has_mistake = True
    elif top.due == "item":
        _emit_item(reader, top, "FLOW_KEY", start, end)
        top.due = "value"
    else:
        help = "put the text in quotes, or write a comma before the next key"
        reader.mistake("MIX0113", "a colon and a blank inside plain text", colon, colon + 1, help)


def _lacks_blank(reader: Reader, colon: int) -> None:
    reader.mistake(
        "MIX0112", "no blank after the colon", colon, colon + 1, "write 'key: value', or put the text in quotes"
    )


def _value(reader: Reader, top: _Collection, start: int, end: int) -> None:
    """Take a scalar that isn't followed by a colon."""
    if not (top.is_mapping and top.due == "item"):
        _emit_item(reader, top, "SCALAR", start, end)
    elif (colon := reader.text.find(":", start, end)) > start and colon + 1 < end:
        _lacks_blank(reader, colon)
        _emit_item(reader, top, "FLOW_KEY", start, colon)
        reader.emit("SCALAR", colon + 1, end)
    else:
        if not top.has_mistake:
            help = "write 'key: value', or '[a, b]' for a list"
            reader.mistake("MIX0117", "a key without a value", start, end, help)
        top.has_mistake = True
        _emit_item(reader, top, "FLOW_KEY", start, end)
    top.due = "comma"


def _emit_item(reader: Reader, top: _Collection, kind: PieceKind, start: int, end: int) -> None:
    if top.due == "item":
        _emit_comma(reader, top)
    reader.emit(kind, start, end)


def _emit_comma(reader: Reader, top: _Collection) -> None:
    if not top.is_empty:
        reader.emit("_COMMA", reader.position, reader.position)
    top.is_empty = False
