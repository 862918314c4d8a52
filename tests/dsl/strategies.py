"""Documents for property tests: well-formed ones in every style, and mutations of text."""

from __future__ import annotations

from hypothesis import strategies as st

WORDS = (
    "base",
    "web",
    "10M tokens",
    "100%",
    "f(x=1)",
    "a |> b",
    "it's",
    "x#1",
    "x:y",
    "é",
    "日本",
    "-5",
    "$dose",
    "1e-4",
)
SNIPPETS = (
    *" \n:?[]{},#&*!|>'\"%@`\\()-", "\n  ", "\n    ", "- ", ": ", " #", "  # c", "k: v", "k:", "|>", "<<", "---", "\t",
    "\r\n", "\u2028", "\ufeff", "\x00", "f(a, b)", '"a b"', "|-", ">+", "\n\n", "é",
)  # fmt: skip


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A well-formed file."""
    lines = draw(mappings(0, 3))
    ending = draw(st.sampled_from(["\n", "", "\n\n"]))
    return draw(st.sampled_from(["\n", "\n", "\r\n"])).join(lines) + ending


@st.composite
def mappings(draw: st.DrawFn, indent: int, depth: int) -> list[str]:
    """The lines of a block mapping in column `indent`."""
    lines: list[str] = []
    for number in range(draw(st.integers(1, 4))):
        lines += draw(fillers(indent))
        key = draw(st.sampled_from([f"k{number}", f"kind name{number}", f'"a: {number}"', f"'q {number}'"]))
        first, rest = draw(values(indent, depth))
        lines += [f"{' ' * indent}{key}:{first}", *rest]
    return lines


@st.composite
def sequences(draw: st.DrawFn, indent: int, depth: int) -> list[str]:
    """The lines of a block list in column `indent`."""
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        lines += draw(fillers(indent))
        if draw(st.booleans()):
            first, rest = draw(values(indent, depth, may_be_empty=False))
            lines += [f"{' ' * indent}-{first}", *rest]
        else:
            nested = draw(mappings(indent + 2, depth - 1)) if depth else [f"{' ' * (indent + 2)}k: v"]
            while not nested[0].strip() or nested[0].lstrip().startswith("#"):
                nested = nested[1:]
            lines += [f"{' ' * indent}- {nested[0].lstrip()}", *nested[1:]]
    return lines


@st.composite
def values(draw: st.DrawFn, indent: int, depth: int, *, may_be_empty: bool = True) -> tuple[str, list[str]]:
    """What follows a key or dash in column `indent`: the rest of its line, and further lines."""
    margin = " " * (indent + draw(st.integers(1, 3)))
    text = " ".join(draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12)))
    comment = draw(st.sampled_from(["", "", "  # why", "   #"]))
    style = draw(st.integers(0, 9 if depth else 7))
    match style:
        case 0:
            return (comment, []) if may_be_empty else (f" {text}", [])
        case 1:
            return f" {text}{comment}", []
        case 2:
            return f" {text}", ["", f"{margin}{text}{comment}"] if draw(st.booleans()) else [
                f"{margin}|> {text}{comment}"
            ]
        case 3:
            return comment, [f"{margin}{text}"]
        case 4:
            return draw(
                st.sampled_from([" 'it''s: #'", f' "{text}"', r' "\t\"\u2028 \x41"', " ''", ' "$name"'])
            ) + comment, []
        case 5:
            quote = draw(st.sampled_from("'\""))
            text = text.replace("'", "''") if quote == "'" else text
            return f" {quote}{text} ", ["", f"{margin}{text}", f"{margin}{text}{quote}{comment}"]
        case 6:
            header = draw(st.sampled_from(["|", ">", "|-", ">+", "|2", ">-2", "|+"]))
            column = indent + 2 if "2" in header else len(margin)
            body = draw(st.lists(st.sampled_from(["text", " more: #", "", "  - x", "# no"]), min_size=1, max_size=5))
            if "2" not in header:
                body = ["text", *body]
            return f" {header}{comment}", [" " * column + line if line else "" for line in body]
        case 7:
            return f" {draw(flows(indent))}{comment}", []
        case 8:
            return comment, draw(mappings(len(margin), depth - 1))
        case _:
            return comment, draw(sequences(len(margin), depth - 1))


@st.composite
def flows(draw: st.DrawFn, indent: int, depth: int = 2) -> str:
    """A flow collection, on one line or several."""
    margin = " " * (indent + 2)
    gap = draw(st.sampled_from(["", " ", f"\n{margin}", f"  # in\n{margin}", f"\n{margin}# own\n\n{margin}"]))
    items: list[str] = []
    is_mapping = draw(st.booleans())
    for number in range(draw(st.integers(0, 4))):
        item = draw(flows(indent, depth - 1)) if depth and draw(st.booleans()) else draw(st.sampled_from(WORDS))
        items.append(f"k{number}: {item}" if is_mapping else item)
    opening, closing = "{}" if is_mapping else "[]"
    return f"{opening}{gap}{f'{gap},{gap or chr(32)}'.join(items)}{gap}{closing}"


@st.composite
def fillers(draw: st.DrawFn, indent: int) -> list[str]:
    """Blank lines and comments between entries."""
    comment = " " * draw(st.integers(0, indent + 3)) + "# comment"
    return draw(st.sampled_from([[], [], [], [""], [comment], ["", "", comment], [comment, "", comment]]))


@st.composite
def mutations(draw: st.DrawFn, texts: list[str]) -> str:
    """A piece of one of `texts` with a few random edits."""
    lines = draw(st.sampled_from(texts)).split("\n")
    first = draw(st.integers(0, len(lines) - 1))
    text = "\n".join(lines[first : first + draw(st.integers(1, 30))])
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text)))
        end = place + draw(st.sampled_from([0, 0, 1, 3]))
        text = text[:place] + draw(st.sampled_from(SNIPPETS)) + text[end:]
    return text
