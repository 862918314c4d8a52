"""Scalars as the scanner takes them: where one ends, and what it may not hold."""

from __future__ import annotations

import re
from itertools import islice, takewhile

from dsl.lines import Reader
from dsl.quoting import ESCAPE

_CLOSING_QUOTE = {
    '"': re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL),
    "'": re.compile(r"'[^']*(?:''[^']*)*'"),
}
_HEADER = re.compile(r"[|>](?:([1-9])[+-]?|[+-]([1-9])?)?(?= *$| +#)")
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[()\[\]{}"]', re.DOTALL)
_PARTNER = {")": "(", "]": "[", "}": "{"}
_SPECIAL = frozenset("&*!?-:%@`,|>]}")
_INCLUDE = re.compile(r"!(?:include|import)\b", re.IGNORECASE)
_ENVIRONMENT = re.compile(r"!env", re.IGNORECASE)
_PERCENT = re.compile(r"% *([0-9.]+)(?= *$| #|,|[\]}])")
_FLOW_ENDS = ",[]{}"
_LONGEST_KEY = 1000  # YAML gives up at 1024, with quotes and blanks
_QUOTE_IT = "put the value in quotes"


def unbalanced(text: str, start: int, end: int) -> int | None:
    """Where the first bracket or quote without its partner stands; double quotes hide what is in them."""
    opened: list[int] = []
    for match in _BRACKET.finditer(text, start, end):
        bracket = match.group()
        if bracket in "([{":
            opened.append(match.start())
        elif bracket == '"':
            return match.start()
        elif bracket in _PARTNER:
            if not opened or text[opened[-1]] != _PARTNER[bracket]:
                return match.start()
            opened.pop()
    return opened[0] if opened else None


def check_balance(reader: Reader, start: int, end: int) -> bool:
    """Whether the brackets and quotes of a plain scalar are balanced; reports the first that is not."""
    place = unbalanced(reader.text, start, end)
    if place is None:
        return True
    reader.mistake(
        "MIX0114",
        f"{reader.text[place]!r} has no partner in this text",
        place,
        place + 1,
        f"add the one that is missing, or {_QUOTE_IT} if it is meant as text",
    )
    return False


def check_start(reader: Reader, *, in_flow: bool = False) -> bool:
    """Whether a plain scalar may start with what comes next; reports it if not."""
    first = reader.peek()
    if first not in _SPECIAL:
        return True
    second = reader.peek(2)[1:]
    stands_alone = second in ("", " ") or (in_flow and second in _FLOW_ENDS)
    match first:
        case "&":
            code, message, help = "MIX0104", "an anchor of YAML", "name the value under 'let:' and write '$name' for it"
        case "*":
            code, message = "MIX0104", "a value can't start with '*', an alias of YAML"
            help = f"{_QUOTE_IT} if it is a pattern; for a repeated value use 'let:' and '$name'"
        case "!":
            code, message = "MIX0105", "a value can't start with '!', a tag of YAML"
            help = f"leave the tag out: the field gives the type; or {_QUOTE_IT}"
            if reader.match(_INCLUDE):
                help = "import the file under 'import:'"
            elif reader.match(_ENVIRONMENT):
                help = "nothing comes from the environment: write a constant under 'let:', and change it with --set"
        case "?" if stands_alone:
            code, message, help = "MIX0107", "a complex key of YAML", "write 'key: value', with a word as the key"
        case "-" if stands_alone:
            code, message = "MIX0119", "a list item can't start here"
            help = "start the list on a line of its own, each item as '- item', or write '[a, b]'"
        case ":" if stands_alone:
            code, message, help = "MIX0119", "a colon without a key before it", "write 'key: value'"
        case "%" if percent := reader.match(_PERCENT):
            code, message, help = "MIX0115", "a value can't start with '%'", f"write '{percent[1]}%'"
        case "%" | "@" | "`" | ",":
            code, message, help = "MIX0115", f"a value can't start with {first!r}", _QUOTE_IT
        case "?" | ":" if in_flow:
            code, message, help = "MIX0115", f"a value in brackets can't start with {first!r}", _QUOTE_IT
        case "|" if second == ">":
            code, message = "MIX0115", "a value can't start with '|>'"
            help = "write what flows into it first: 'base |> finetune'"
            if reader.comments and not reader.text[reader.comments[-1].span.end : reader.position].strip():
                message, help = "a text can't go on after a comment", "move the comment above the whole value"
        case "|" | ">":
            code, message = "MIX0120", f"text after {first!r} starts on the next line"
            help = f"break the line after {first!r} and indent the text; or {_QUOTE_IT}"
        case "]" | "}":
            code, message, help = "MIX0114", f"{first!r} closes nothing", f"leave it out, or {_QUOTE_IT}"
        case _:
            return True
    reader.mistake(code, message, reader.position, reader.position + 1, help)
    return False


def check_key(reader: Reader, start: int, end: int) -> None:
    """Report a key that is too long for YAML."""
    if end - start > _LONGEST_KEY:
        message, help = f"a key of {end - start} characters", f"write a name: at most {_LONGEST_KEY} characters"
        reader.mistake("MIX0119", message, start, end, help)


def scan_quoted(reader: Reader, parent: int) -> tuple[int, int]:
    """Take the quoted scalar that starts here, over several lines if these stand deeper than column `parent`.

    Gives its place. Reports unknown escapes, and a quote that isn't closed: then the rest of the line is taken.
    """
    start, first = reader.position, reader.line
    match = _CLOSING_QUOTE[reader.peek()].match(reader.text, start)
    if match is None or not _reaches(reader, match.end(), parent):
        reader.mistake(
            "MIX0116",
            "a quote that isn't closed",
            start,
            first.end,
            f"end the text with {reader.text[start]}; further lines of it are indented deeper than its key",
        )
        reader.position = first.end
        return min(start + 1, first.end), first.end
    if match.group()[0] == '"':
        _check_escapes(reader, match)
    reader.position = match.end()
    return match.span()


def _reaches(reader: Reader, end: int, parent: int) -> bool:
    """Go on to the line where `end` stands, unless a line on the way is not deeper than `parent`."""
    number = reader.number
    while reader.lines[number].end < end:
        number += 1
        line = reader.lines[number]
        if not line.is_blank and line.indent <= parent:
            return False
    reader.go_to(number)
    return True


def _check_escapes(reader: Reader, quoted: re.Match[str]) -> None:
    for match in ESCAPE.finditer(quoted.group()):
        if match.lastgroup == "unknown":
            place = quoted.start() + match.start()
            reader.mistake(
                "MIX0118",
                f"there is no escape '{match.group()}'",
                place,
                place + len(match.group()),
                r"write '\\' for a backslash, or use single quotes: they have no escapes",
            )


def scan_block_text(reader: Reader, parent: int) -> bool:
    """Take the literal or folded text whose header starts here, if it does: its lines stand deeper than `parent`."""
    header = reader.match(_HEADER)
    if header is None:
        return False
    reader.position = header.end()
    reader.skip_blanks()
    if not reader.at_end:
        reader.take_comment()

    given = header.group(1) or header.group(2)
    first = reader.number + 1
    indent = parent + int(given) if given else _block_indent(reader, first, parent)
    last = _last_content(reader, first, indent)
    if "+" in header.group():
        while last + 1 < len(reader.lines) and reader.lines[last + 1].is_blank:
            last += 1
    following = last + 1
    end = reader.lines[following].start if following < len(reader.lines) else len(reader.text)
    reader.emit("SCALAR", header.start(), end if last >= first else header.end(), indent)
    reader.go_to(last)
    reader.position = reader.line.end
    return True


def _block_indent(reader: Reader, first: int, parent: int) -> int:
    """The column where a block text's lines start: that of its first line with content.

    Reports a blank line before it that is longer, or that starts the text and is shorter: loaders refuse these.
    """
    blank = list(takewhile(lambda line: line.is_blank, islice(reader.lines, first, None)))
    deepest = max((line.indent for line in blank), default=0)
    number = first + len(blank)
    column = reader.lines[number].indent if number < len(reader.lines) else 0
    message, wrong = "a blank line before a text is longer than its first line is deep", None
    if parent < column < deepest:
        wrong = next(line for line in blank if line.indent > column)
    elif blank and 0 < blank[0].indent < max(deepest, column):
        message, wrong = "a blank line before a text has fewer blanks than the lines below it", blank[0]
    if wrong:
        reader.mistake("MIX0103", message, wrong.start, wrong.end, "remove the blanks from the empty line")
    return column if column > parent else max(parent + 1, deepest)


def _last_content(reader: Reader, first: int, indent: int) -> int:
    """The last line of a block text whose lines start in column `indent`; `first - 1` if it has none."""
    last = first - 1
    for number in range(first, len(reader.lines)):
        line = reader.lines[number]
        if line.end - line.start > indent and line.indent >= indent:
            last = number
        elif not line.is_blank:
            break
    return last
