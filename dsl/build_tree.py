"""From the scanner's tokens to the syntax tree, by the structure grammar."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Seq
from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark, Transformer
from lark.common import LexerConf
from lark.lexer import Lexer

from dsl.lines import Piece
from dsl.quoting import read_scalar
from dsl.source import Span
from dsl.tree import Entry, Mapping, Node, Scalar, Sequence


def build_tree(pieces: Iterable[Piece]) -> Mapping:
    """The file's outermost mapping; `pieces` are its tokens in an order that the grammar takes.

    They are fed to Lark one by one, as they are: making its own tokens of them took a quarter of the time.
    """
    parser = _grammar().parse_interactive()
    feed = parser.parser_state.feed_token
    for piece in pieces:
        feed(piece)
    return parser.feed_eof()


class _NoLexer(Lexer):
    """Lark wants a lexer; the scanner is ours."""

    def __init__(self, lexer_conf: LexerConf) -> None:
        pass

    def lex(self, lexer_state: Any, parser_state: Any) -> Any:
        raise NotImplementedError


class _TreeBuilder(Transformer[Any, Mapping]):
    """Makes nodes of `dsl.tree` from what the grammar matches; each method takes the children of its rule."""

    def document(self, entries: list[Entry]) -> Mapping:
        span = Span(entries[0].span.start, entries[-1].span.end) if entries else Span(0, 0)
        return Mapping(tuple(entries), "block", span)

    block_mapping = document

    def entry(self, children: tuple[Piece, Node | None]) -> Entry:
        key, value = self.scalar(children[:1]), children[1]
        return Entry(key, value, Span(key.span.start, value.span.end if value else key.span.end))

    pair = entry

    def block_sequence(self, items: list[tuple[Piece, Node | None]]) -> Sequence:
        last, value = items[-1]
        span = Span(items[0][0].start, value.span.end if value else last.end)
        return Sequence(tuple(value for _, value in items if value is not None), "block", span)

    def item(self, children: list[Piece | Node | None]) -> tuple[Piece | Node | None, ...]:
        return tuple(children)

    def flow_mapping(self, children: list[Piece | Entry]) -> Mapping:
        entries = tuple(child for child in children if isinstance(child, Entry))
        return Mapping(entries, "flow", _between(children))

    def flow_sequence(self, children: list[Piece | Node]) -> Sequence:
        items = tuple(child for child in children if not isinstance(child, Piece))
        return Sequence(items, "flow", _between(children))

    def scalar(self, children: Seq[Piece]) -> Scalar:
        (piece,) = children
        return read_scalar(piece.text, piece.start, piece.column)


def _between(children: Seq[object]) -> Span:
    """From an opening to a closing bracket."""
    opening, closing = children[0], children[-1]
    assert isinstance(opening, Piece)
    assert isinstance(closing, Piece)
    return Span(opening.start, closing.end)


@cache
def _grammar() -> Any:  # not all of Lark is typed
    return Lark(
        (Path(__file__).parent / "grammar" / "structure.lark").read_text(),
        start="document",
        parser="lalr",
        lexer=_NoLexer,
        strict=True,
        transformer=_TreeBuilder(),
    )
