"""What `dsl.editor` gives, as the protocol's own types."""

from __future__ import annotations

import re
from functools import cache

from lsprotocol import types

from dsl.diagnostics.diagnostic import Diagnostic
from dsl.diagnostics.pages import read_page
from dsl.editor.candidates import Candidate
from dsl.editor.outline import Symbol
from dsl.source import Span
from mixc.server.positions import Lines

_SEVERITY = {"error": types.DiagnosticSeverity.Error, "warning": types.DiagnosticSeverity.Warning}
_UNUSED = ("MIX0340", "MIX0341", "MIX0342")
_COMPLETION = {
    "kind": types.CompletionItemKind.Class,
    "directive": types.CompletionItemKind.Keyword,
    "field": types.CompletionItemKind.Property,
    "name": types.CompletionItemKind.Reference,
    "built-in": types.CompletionItemKind.Function,
    "word": types.CompletionItemKind.EnumMember,
    "unit": types.CompletionItemKind.Unit,
    "constant": types.CompletionItemKind.Constant,
    "label": types.CompletionItemKind.Variable,
    "file": types.CompletionItemKind.File,
}
_SYMBOL = {
    "import": types.SymbolKind.Module,
    "constant": types.SymbolKind.Constant,
    "declaration": types.SymbolKind.Class,
    "field": types.SymbolKind.Field,
    "label": types.SymbolKind.EnumMember,
}


def diagnostic(one: Diagnostic, lines: Lines, uri: str, *, with_related: bool) -> types.Diagnostic:
    """A diagnostic with its mend; where the client shows what is related, with the title of its page."""
    where = lines.range(one.span)
    related = None
    if with_related:
        more = f"`mixc explain {one.code}`: {_title(one.code)}"
        related = [types.DiagnosticRelatedInformation(types.Location(uri, where), more)]
    return types.Diagnostic(
        where,
        f"{one.message}\nhelp: {one.help}" if one.help else one.message,
        severity=_SEVERITY[one.severity],
        code=one.code,
        source="mixc",
        tags=[types.DiagnosticTag.Unnecessary] if one.code in _UNUSED else None,
        related_information=related,
        data={"explain": f"mixc explain {one.code}", "title": _title(one.code)},
    )


@cache
def _title(code: str) -> str:
    page = read_page(code)
    return page.title if page else code


def completion_item(one: Candidate, index: int, lines: Lines, *, snippets: bool) -> types.CompletionItem:
    """A candidate; `index` keeps the order that they come in."""
    plain = re.sub(r"\$(\d|\$)", lambda match: "$" if match.group(1) == "$" else "", one.insert)
    has_places = re.search(r"\$\d", one.insert) is not None
    as_snippet = snippets and has_places
    text = one.insert.replace("$$", "\\$") if as_snippet else plain if has_places or "$" in one.insert else one.insert
    return types.CompletionItem(
        one.label,
        kind=_COMPLETION[one.sort],
        detail=one.detail or None,
        documentation=types.MarkupContent(types.MarkupKind.Markdown, one.documentation) if one.documentation else None,
        sort_text=f"{index:04}",
        filter_text=one.label.removeprefix("- "),
        insert_text_format=types.InsertTextFormat.Snippet if as_snippet else types.InsertTextFormat.PlainText,
        text_edit=types.TextEdit(lines.range(one.span), text),
    )


def document_symbol(one: Symbol, lines: Lines) -> types.DocumentSymbol:
    return types.DocumentSymbol(
        one.name,
        _SYMBOL[one.sort],
        lines.range(one.span),
        lines.range(one.name_span),
        detail=one.detail or None,
        children=[document_symbol(child, lines) for child in one.children],
    )


def minimal_edit(before: str, after: str, lines: Lines) -> list[types.TextEdit]:
    """The one edit that turns a text into another, without what they begin and end with in common."""
    if before == after:
        return []
    start = _common(before, after)
    most = min(len(before), len(after)) - start
    end = min(_common(before[::-1], after[::-1]), most)
    span = Span(start, len(before) - end)
    return [types.TextEdit(lines.range(span), after[start : len(after) - end])]


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next(
        (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
