"""`mixc explain`: what a code, a kind, a field, a built-in or a type of value means."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from dsl.diagnostics.pages import Page, codes, read_page
from dsl.diagnostics.suggest import nearest
from mixc.cli.formats import as_text

if TYPE_CHECKING:
    from dsl.reference.entries import FieldEntry
    from dsl.reference.topics import Topic

_WIDEST, _NARROWEST = 100, 40
_CODE = re.compile(r"mix\d{1,9}", re.IGNORECASE)
_ALMOST = 0.75
_FENCED = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("explain", help=__doc__, description=__doc__)
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="a code (MIX0203), a kind (source), a field (source.holdout), a built-in (adamw), a type of value (when); "
        "without a name, all that can be explained",
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """0, or 1 where nothing has this name."""
    as_json = arguments.json or arguments.format == "json"
    if arguments.name is None:
        return _outline(as_json)
    if arguments.name.upper().startswith("MIX") and (page := read_page(arguments.name.upper())):
        sections = {"code": page.code, "title": page.title, "sections": page.sections}
        sys.stdout.write(as_text(sections) if as_json else "\n\n".join(_page(page)) + "\n")
        return 0
    # Only what isn't a code needs the declarations, which take longer to import than everything else here.
    from dsl.reference.topics import find, names

    found = find(arguments.name)
    if not found:
        near = _nearest(arguments.name, names())
        help = f"did you mean '{near}'?" if near else "`mixc explain` lists what there is"
        print(f"error: nothing is called '{arguments.name}'\nhelp: {help}", file=sys.stderr)
        return 1
    if as_json:
        sys.stdout.write(as_text([_record(topic) for topic in found]))
    else:
        sys.stdout.write("\n\n\n".join("\n\n".join(_topic(topic)) for topic in found) + "\n")
    return 0


def _nearest(name: str, names: list[str]) -> str | None:
    """The code with the nearest number, or a name that is much like this one; among so many, less is by chance."""
    if _CODE.fullmatch(name):
        return min(codes(), key=lambda code: abs(int(code[3:]) - int(name[3:])))
    near = nearest(name, [*codes(), *names])
    if near is None or name.lower() in near or near in name.lower():
        return near
    return near if SequenceMatcher(None, name.lower(), near.lower()).ratio() >= _ALMOST else None


def _outline(as_json: bool) -> int:
    from dsl.reference.topics import outline

    groups = outline()
    if as_json:
        sys.stdout.write(as_text(groups | {"Codes": codes()}))
        return 0
    blocks = [f"{heading}\n{_wrapped(', '.join(words), '  ')}" for heading, words in groups.items()]
    known = codes()
    blocks += [f"Codes\n  {known[0]} to {known[-1]}, as printed with an error"]
    blocks += [
        _wrapped("`mixc explain NAME` tells about one; a field is KIND.FIELD, as in `mixc explain source.holdout`.")
    ]
    sys.stdout.write("\n\n".join(blocks) + "\n")
    return 0


def _page(page: Page) -> Iterator[str]:
    yield f"{page.code}: {page.title}"
    for heading, body in page.sections.items():
        yield heading
        yield from _markdown(body)


def _topic(topic: Topic) -> Iterator[str]:
    yield _wrapped(topic.title)
    yield from _markdown(topic.text)
    if topic.facts:
        label = max(len(name) for name, _ in topic.facts)
        yield "\n".join(_labelled(name, value, label) for name, value in topic.facts)
    if topic.fields:
        yield "Fields"
        yield from (_field(field) for field in topic.fields)


def _field(field: FieldEntry) -> str:
    default = "required" if field.default is None else f"default: {field.default}" if field.default else ""
    written = f"{field.written}; {default}" if default else field.written
    role = "" if field.role == "computation" else f" ({field.role})"
    return f"  {field.name}\n{_wrapped(field.description + role, '    ')}\n{_wrapped(written, '    = ', '      ')}"


def _record(topic: Topic) -> dict[str, Any]:
    fields = [
        {
            "name": field.name,
            "written": field.written,
            "required": field.default is None,
            "default": field.default or None,
            "role": field.role,
            "description": field.description,
        }
        for field in topic.fields
    ]
    return {"title": topic.title, "text": topic.text, **dict(topic.facts), "fields": fields}


def _markdown(text: str) -> Iterator[str]:
    """Paragraphs wrapped to the terminal, code indented instead of fenced."""
    for index, piece in enumerate(_FENCED.split(text)):
        if index % 2:
            yield textwrap.indent(piece.rstrip("\n"), "    ")
        else:
            yield from (_wrapped(paragraph) for paragraph in piece.strip().split("\n\n") if paragraph)


def _labelled(name: str, value: str, width: int) -> str:
    return _wrapped(value, f"  {name:<{width}}  ", " " * (width + 4))


def _wrapped(text: str, first: str = "", further: str | None = None) -> str:
    columns = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    return textwrap.fill(
        " ".join(text.split()),
        columns,
        initial_indent=first,
        subsequent_indent=first if further is None else further,
        break_long_words=False,
        break_on_hyphens=False,
    )
