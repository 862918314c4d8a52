"""From text to the tokens of the structure grammar, line by line; each mistake is reported and stepped over."""

from __future__ import annotations

import re
from bisect import bisect_left

from dsl.lines import Line, Reader
from dsl.scan_flow import scan_flow
from dsl.scan_scalar import check_balance, check_key, check_start, scan_block_text, scan_quoted, unbalanced

_DASH = re.compile(r"-(?= |$)")
_MARKER = re.compile(r"(?:---|\.\.\.)(?= |$)|%")
_KEY_END = re.compile(r" #|:(?= |$)")
_QUOTED_KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*') *:(?= |$)""")
_QUESTION = re.compile(r"\?(?= |$)")
_COLON = re.compile(r":(?= |$)")
_MARK_ALONE = re.compile(r"[&!][^ ]* *(?=$| #)")
_BRACKET = re.compile(r"""[()\[\]{}"]""")
_OPENER = re.compile(r"[(\[{]")
_JOINED = re.compile(r"([a-z][a-z0-9_.]*(?: [a-z][a-z0-9_]*)?) *([:=]) *([^ :=].*)")
_CONFLICT = re.compile(r"(?:<{7}|={7}|>{7}|\|{7})(?= |$)")
_COMMENT = re.compile(r"//|--|;|/\*|\"{3}")
_KEY_AND_VALUE = re.compile(r"([a-z][a-z0-9_.]*) +([^|>\"'&*!%@`,?:(].*)")
_ASSIGNED = re.compile(r"[a-z][a-z0-9_.]* *= *[^ =]")
_TAKES_FIELDS = re.compile(r"let|import|[a-z]+ [a-z0-9_]+")
_WORD = re.compile(r"[a-z][a-z0-9_.]*(?: [a-z][a-z0-9_]*)?")

_EITHER = "write 'key: value', or '- item' in a list"


def scan(reader: Reader, start: int, end: int) -> None:
    """Fill `reader` with the tokens and comments of a part of its text: whole lines that start in `start..end`."""
    waiting: int | None = None  # the column of a key or dash that still lacks its value
    number = bisect_left(reader.lines, (start,))
    while number < len(reader.lines) and reader.lines[number].start < end:
        reader.go_to(number)
        line = reader.line
        if line.is_blank:
            pass
        elif reader.peek() == "#":
            reader.take_comment()
        elif line.indent == 0 and reader.match(_CONFLICT):
            message, help = "a mark of a merge conflict", "choose one side of the conflict, and delete its marks"
            reader.mistake("MIX0119", message, line.start, line.end, help)
            return  # what follows belongs to a part above
        elif line.indent == 0 and reader.match(_MARKER):
            _marker(reader)
        else:
            waiting = _scan_line(reader, waiting)
        number = reader.number + 1


def _marker(reader: Reader) -> None:
    line = reader.line
    if reader.peek() == "%":
        message, help = "a directive of YAML", "leave the line out; 'edition:' says which version a file is written for"
    else:
        message, help = "a document marker of YAML", "leave the line out: a file is one document"
    reader.mistake("MIX0106", message, line.start, line.end, help)


def _scan_line(reader: Reader, waiting: int | None) -> int | None:
    """Read one line, and those that its value goes on over; gives the column of what waits for a value after it."""
    opened = False
    while reader.match(_DASH):
        waiting, opened = _take_dash(reader), True
    if reader.match(_QUESTION):
        waiting, opened = _take_complex_key(reader), True
    elif key := _find_key(reader):
        waiting, opened = _take_key(reader, *key), True
    if opened and (mark := reader.match(_MARK_ALONE)):
        check_start(reader)
        reader.position = mark.end()  # the value may stand on the lines below
    start = reader.position
    if not reader.at_end and reader.peek() != "#":
        if not opened and _lacks_colon(reader, waiting):
            return _step_over(reader, waiting)
        assert waiting is not None
        _scan_value(reader, waiting)
        waiting = None
    _end_line(reader, start)
    return waiting


def _take_dash(reader: Reader) -> int:
    column = reader.column
    reader.emit("DASH", reader.position, reader.position + 1, column)
    reader.position += 1
    reader.skip_blanks()
    return column


def _take_complex_key(reader: Reader) -> int:
    """Report `? key`, and take it, with the colon that starts a line below it, for `key:`."""
    column, start = reader.column, reader.position
    help = "write 'key: value', with a word as the key"
    reader.mistake("MIX0107", "a complex key of YAML", start, reader.line.end, help)
    reader.position += 1
    reader.skip_blanks()
    end, colon = _find_key(reader) or (reader.line.end, None)
    reader.emit("KEY", reader.position, end, column)
    reader.position = (_colon_below(reader, column) if colon is None else colon) + 1
    reader.skip_blanks()
    return column


def _colon_below(reader: Reader, column: int) -> int:
    """Go on to the line that a colon starts in `column`, or to the last that stands deeper; gives where that colon, or
    the end of that line, is."""
    while (number := reader.next_line()) is not None:
        line = reader.lines[number]
        if line.indent > column:
            reader.go_to(number)
            continue
        if 0 < column == line.indent and _COLON.match(reader.text, line.first, line.end):
            reader.go_to(number)
            return reader.position
        break
    return reader.line.end - 1


def _find_key(reader: Reader) -> tuple[int, int] | None:
    """Where the key that starts here ends, and its colon; None if what starts here is no key."""
    match reader.peek():
        case '"' | "'":
            quoted = reader.match(_QUOTED_KEY)
            return (quoted.end(1), quoted.end() - 1) if quoted else None
        case "[" | "{" | "#" | "":
            return None
        case _:
            stop = _KEY_END.search(reader.text, reader.position, reader.line.end)
            if stop is None or stop.group() != ":" or stop.start() == reader.position:
                return None
            start, end = reader.position, stop.start()
            if _OPENER.search(reader.text, start, end) and unbalanced(reader.text, start, end) is not None:
                return None  # the colon stands inside a call, or in brackets after a word that lacks its own
            return reader.trimmed(start, end), end


def _take_key(reader: Reader, end: int, colon: int) -> int:
    start, column = reader.position, reader.column
    text = reader.text[start:end]
    reader.emit("KEY", start, end, column)
    if text == "<<":
        help = "write 'extends: NAME' to start from another declaration"
        reader.mistake("MIX0109", "a merge key of YAML", start, reader.line.end, help)
        reader.position = reader.line.end
        return column
    check_key(reader, start, end)
    if text[0] in "\"'":
        scan_quoted(reader, column)
    elif check_start(reader):
        check_balance(reader, start, end)
    reader.position = colon + 1
    reader.skip_blanks()
    return column


def _scan_value(reader: Reader, parent: int) -> None:
    """Take the value that starts here; its further lines stand deeper than column `parent`."""
    match reader.peek():
        case "[" | "{":
            scan_flow(reader, parent)
        case '"' | "'":
            reader.emit("SCALAR", *scan_quoted(reader, parent))
        case "|" | ">" if scan_block_text(reader, parent):
            pass
        case _:
            _scan_plain(reader, parent)


def _scan_plain(reader: Reader, parent: int) -> None:
    start, before = reader.position, reader.mistakes
    check_start(reader)
    end = _plain_segment(reader, start)
    while reader.at_end and (number := _continuation(reader, parent)):
        reader.go_to(number)
        end = _plain_segment(reader, start)
    reader.emit("SCALAR", start, end)
    if reader.mistakes == before:
        check_balance(reader, start, end)


def _plain_segment(reader: Reader, start: int) -> int:
    """Go on to the line's end or its comment, within the plain scalar from `start`; gives where its text ends."""
    text, end = reader.text, reader.line.end
    position = max(reader.position, start + 1)
    while stop := _KEY_END.search(text, position, end):
        if stop.group() == " #":
            reader.position = stop.end() - 1
            return reader.trimmed(start, stop.start())
        reader.mistake(
            "MIX0113",
            "a colon and a blank inside plain text",
            stop.start(),
            stop.end(),
            "put the text in quotes; for a mapping, start a new line with 'key: value', or write '{key: value}'",
        )
        position = end
    reader.position = end
    return reader.trimmed(start, end)


def _continuation(reader: Reader, parent: int) -> int | None:
    """The number of the line on which the plain scalar that reaches this line's end goes on, if it does."""
    number = reader.next_line()
    if number is None:
        return None
    line = reader.lines[number]
    goes_on = line.indent > parent and reader.text[line.first] != "#" and not _opens_block(reader, line)
    return number if goes_on else None


def _opens_block(reader: Reader, line: Line) -> bool:
    """Whether a line looks like `key: value` or `- item`, so that it can't be more of a plain scalar."""
    text = reader.text
    if _DASH.match(text, line.first, line.end) or _QUOTED_KEY.match(text, line.first, line.end):
        return True
    stop = _KEY_END.search(text, line.first, line.end)
    return bool(stop) and stop.group() == ":" and not _BRACKET.search(text, line.first, stop.start())


def _lacks_colon(reader: Reader, waiting: int | None) -> bool:
    """Whether text on a line of its own is no value: nothing waits for one, or keys follow beside or below it."""
    line = reader.line
    if waiting is None or line.indent <= waiting:
        return True
    if waiting == 0 and _TAKES_FIELDS.fullmatch(reader.pieces[-1].text) and reader.match(_ASSIGNED):
        return True
    number = reader.next_line()
    if number is None or reader.peek() in "\"'[{|>":
        return False
    following = reader.lines[number]
    return following.indent > waiting and _opens_block(reader, following)


def _step_over(reader: Reader, waiting: int | None) -> int | None:
    """Report a line that is neither key nor item, and take it for what it was meant as, if that can be told."""
    line = reader.line
    comment = reader.text.find("  #", line.first, line.end)
    end = reader.trimmed(line.first, line.end if comment < 0 else comment)
    text = reader.text[line.first : end]
    number = reader.next_line()
    following = reader.lines[number] if number is not None else line
    heads_block = following.indent > line.indent and (_opens_block(reader, following) or line.indent == 0)
    if text[0] in "[{" and ":" in text:
        help = "write 'key: value', with a word as the key"
        reader.mistake("MIX0107", "a list or mapping as a key", line.first, end, help)
    elif check_start(reader):
        message, help = "a line that is neither 'key: value' nor '- item'", _mend(text, heads_block=heads_block)
        reader.mistake("MIX0119", message, line.first, end, help)
    joined = _JOINED.fullmatch(text)
    if heads_block and not joined:
        reader.emit("KEY", line.first, end, line.indent)
        return line.indent
    if guess := joined or _KEY_AND_VALUE.fullmatch(text):
        reader.emit("KEY", line.first, line.first + guess.end(1), line.indent)
        reader.emit("SCALAR", line.first + guess.start(guess.lastindex or 0), end)
        waiting = None
    while number is not None and reader.lines[number].indent > line.indent:
        reader.go_to(number)
        number = reader.next_line()
    return waiting


def _mend(text: str, *, heads_block: bool) -> str:
    """What to write instead of a line that is no key, item or value."""
    if _COMMENT.match(text):
        return "a comment starts with '#'"
    if " #" in text:
        return _EITHER
    if joined := _JOINED.fullmatch(text):
        return f"write '{joined[1]}: {joined[3]}', with a blank after the colon"
    if heads_block and _WORD.fullmatch(text.rstrip(" {=")):
        return f"write '{text.rstrip(' {=')}:'"
    if guess := _KEY_AND_VALUE.fullmatch(text):
        return f"write '{guess[1]}: {guess[2]}'"
    return f"write '{text}: …'" if _WORD.fullmatch(text) else _EITHER


def _end_line(reader: Reader, value: int) -> None:
    """Take the comment after the value that starts at `value`, or report what else stands there."""
    reader.skip_blanks()
    if reader.at_end:
        return
    if reader.peek() == "#":
        reader.take_comment()
        return
    start, end = reader.position, reader.line.end
    if reader.peek() == ":":
        help = "write 'key: value', with a word as the key and a blank after the colon"
        reader.mistake("MIX0107", "a complex key of YAML", value, start, help)
    else:
        help = "put the whole value in quotes, or leave out what follows it"
        if reader.text[value] == "'" == reader.text[start - 1]:
            help = "write an apostrophe as '', or put the text in double quotes"
        reader.mistake("MIX0116", "more text after the end of the value", start, end, help)
    reader.position = end
