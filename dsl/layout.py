"""The indenter: marks where blocks begin and end, and reports keys and items that fit in none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dsl.lines import DEEPEST, Piece, Reader


@dataclass
class _Block:
    """An open block; `waits` while its last key or dash still lacks a value."""

    column: int
    kind: Literal["KEY", "DASH"]
    start: int | None = None
    waits: bool = False


def add_indentation(reader: Reader) -> Iterator[Piece]:
    """The tokens of `reader`, with INDENT and DEDENT around every block but the outermost.

    A key or item that fits in no block is left out, with all that belongs to it.
    """
    blocks = [_Block(0, "KEY")]
    dropping = False
    for index, piece in enumerate(reader.pieces):
        kind, top = piece.type, blocks[-1]
        if kind != "KEY" and kind != "DASH":
            if not dropping:
                top.waits = False
                yield piece
            continue

        depth = _depth(blocks, piece)
        if dropping and depth is None and piece.column >= top.column:
            continue
        dropping = False
        if top.waits and (piece.column > top.column or (piece.column == top.column and kind == "DASH" != top.kind)):
            top.waits = False
            if len(blocks) == DEEPEST:
                help = "name parts of it under 'let:' or as declarations of their own"
                reader.mistake("MIX0122", f"blocks nested more than {DEEPEST} deep", piece.start, piece.end, help)
                dropping = True
                continue
            blocks.append(_Block(piece.column, kind, piece.start))
            yield Piece("_INDENT", piece.start, piece.start)
        else:
            if depth is None:
                depth, dropping = _misplaced(reader, blocks, index)
            yield from _close(reader, blocks, depth)
        if not dropping:
            blocks[-1].waits, blocks[-1].start = True, piece.start
            yield piece
    yield from _close(reader, blocks, 0)


def _depth(blocks: list[_Block], piece: Piece) -> int | None:
    """The index of the innermost block that a key or dash continues."""
    for depth in range(len(blocks) - 1, -1, -1):
        if blocks[depth].column == piece.column and blocks[depth].kind == piece.type:
            return depth
    return None


def _close(reader: Reader, blocks: list[_Block], depth: int) -> Iterator[Piece]:
    """End every block inside `blocks[depth]`, and the last entry of that one."""
    while True:
        top = blocks[-1]
        start = top.start or 0
        if top.waits and top.kind == "DASH":
            reader.mistake("MIX0121", "an empty list item", start, start + 1, "write the item after the dash")
        top.waits = False
        if len(blocks) == depth + 1:
            return
        blocks.pop()
        yield Piece("_DEDENT", start, start)


def _misplaced(reader: Reader, blocks: list[_Block], index: int) -> tuple[int, bool]:
    """Report a key or item, the token at `index`, that continues no block.

    Gives the index of the block to go on with, and whether to leave out what is misplaced.
    """
    piece = reader.pieces[index]
    what, other = ("a list item", "keys") if piece.type == "DASH" else ("a key", "list items")
    help = "align it with the line that it belongs beside"
    depth = next((depth for depth, block in enumerate(blocks) if block.column >= piece.column), None)
    if depth is None:
        depth = len(blocks) - 1
        is_first = blocks[-1].start is None
        message = f"{what} stands deeper than the line before it, which has its value"
        if is_first:
            message, help = "the first line of a file is indented", "start it in the first column"
            blocks[-1].column = piece.column
        drop = not is_first or piece.type == "DASH"
    else:
        block = blocks[depth]
        drop = block.kind != piece.type
        message = (
            f"{what} among {other}" if block.column == piece.column else f"{what} that is aligned with no line above"
        )
        if not _goes_on(reader.pieces, index, block.column):
            block.column = piece.column
    reader.mistake("MIX0103", message, piece.start, piece.end, help)
    return depth, drop


def _goes_on(pieces: list[Piece], index: int, column: int) -> bool:
    """Whether a block of that column goes on after the misplaced key or item at `index`, whose value is beside it."""
    following = pieces[index + 1 :]
    if not following or following[0].type in ("KEY", "DASH"):
        return False
    after = next((one for one in following if one.type in ("KEY", "DASH") and one.column <= column), None)
    return after is not None and after.column == column
