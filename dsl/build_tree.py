"""From the scanner's tokens to the syntax tree, by the structure grammar."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Seq
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lark import Lark, Token, Transformer
from lark.common import LexerConf
from lark.lexer import Lexer

from dsl.lines import Piece
from dsl.quoting import read_scalar
from dsl.source import Span
from dsl.tree import Entry, Mapping, Node, Scalar, Sequence


def build_tree(text: str, pieces: list[Piece]) -> Mapping:
    """The file's outermost mapping; `pieces` are tokens of `text` in an order that the grammar takes."""
    return _grammar().parse(_Tokens(text, pieces))


class _Tokens(NamedTuple):
    """What the structure grammar parses."""

    text: str
    pieces: list[Piece]


class _TokenLexer(Lexer):
    """Hands the tokens of the scanner to Lark."""

    def __init__(self, lexer_conf: LexerConf) -> None:
        pass

    def lex(self, data: _Tokens) -> Iterator[Token]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for kind, start, end, column in data.pieces:
            yield Token(kind, data.text[start:end], start, column=column, end_pos=end)


class _TreeBuilder(Transformer[Token, Mapping]):
    """Makes nodes of `dsl.tree` from what the grammar matches; each method takes the children of its rule."""

    def document(self, entries: list[Entry]) -> Mapping:
        span = Span(entries[0].span.start, entries[-1].span.end) if entries else Span(0, 0)
        return Mapping(tuple(entries), "block", span)

    block_mapping = document

    def entry(self, children: tuple[Token, Node | None]) -> Entry:
        key, value = self.scalar(children[:1]), children[1]
        return Entry(key, value, Span(key.span.start, value.span.end if value else key.span.end))

    pair = entry

    def block_sequence(self, items: list[tuple[Token, Node | None]]) -> Sequence:
        last, value = items[-1]
        span = Span(_start(items[0][0]), value.span.end if value else _start(last) + 1)
        return Sequence(tuple(value for _, value in items if value is not None), "block", span)

    def item(self, children: list[Token | Node | None]) -> tuple[Token | Node | None, ...]:
        return tuple(children)

    def flow_mapping(self, children: list[Token | Entry]) -> Mapping:
        entries = tuple(child for child in children if isinstance(child, Entry))
        return Mapping(entries, "flow", _between(children))

    def flow_sequence(self, children: list[Token | Node]) -> Sequence:
        items = tuple(child for child in children if not isinstance(child, Token))
        return Sequence(items, "flow", _between(children))

    def scalar(self, children: Seq[Token]) -> Scalar:
        (token,) = children
        return read_scalar(str(token), _start(token), token.column or 0)


def _start(token: Token) -> int:
    assert token.start_pos is not None
    return token.start_pos


def _between(children: Seq[object]) -> Span:
    """From an opening to a closing bracket."""
    opening, closing = children[0], children[-1]
    assert isinstance(opening, Token)
    assert isinstance(closing, Token)
    assert closing.end_pos is not None
    return Span(_start(opening), closing.end_pos)


@cache
def _grammar() -> Any:  # not all of Lark is typed
    return Lark(
        (Path(__file__).parent / "grammar" / "structure.lark").read_text(),
        start="document",
        parser="lalr",
        lexer=_TokenLexer,
        strict=True,
        transformer=_TreeBuilder(),
    )
