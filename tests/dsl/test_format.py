"""The formatter: its laws on generated files, and its layout on small ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl.field_shapes import typed_scalars
from dsl.format import format_source
from dsl.parse import parse
from dsl.source import SourceFile
from dsl.spacing import spaced
from tests.dsl.strategies import documents
from tests.dsl.trees import plain

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.mix"))


def formatted(text: str) -> str:
    result, diagnostics = format_source(SourceFile("test.mix", text))
    assert diagnostics == []
    return result


@settings(max_examples=150, deadline=None)
@given(documents())
def test_generated_documents_keep_tree_and_comments_and_are_stable(text: str) -> None:
    result = formatted(text)
    before, _ = parse(SourceFile("", text))
    after, diagnostics = parse(SourceFile("", result))
    assert diagnostics == []
    assert plain(after.root) == plain(before.root) == yaml.load(result, yaml.BaseLoader)
    assert [comment.text for comment in after.comments] == [comment.text for comment in before.comments]
    assert formatted(result) == result


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_stay_as_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert formatted(text) == text


def test_a_file_with_mistakes_stays_as_it_is() -> None:
    text = "a:   b\na:  *c\n"
    result, diagnostics = format_source(SourceFile("test.mix", text))
    assert result == text
    assert [each.code for each in diagnostics] == ["MIX0108", "MIX0104"]


LONG = "x" * 30

LAYOUTS = {
    "indentation": ("a:\n    b:\n    - c\n    -   d: 1\n        e: 2\n", "a:\n  b:\n    - c\n    - d: 1\n      e: 2\n"),
    "blank lines": ("\na: 1\nb:\n\n\n  c: 1\n\n\n  d: 1\n\n\n\ne: 1\n\n", "a: 1\n\nb:\n  c: 1\n\n  d: 1\n\ne: 1\n"),
    "comments": (
        "#  top\na:   # one\n # two\n    b: 1 ## three\n".replace(" ##", "  ##") + "    # four\n# five\nc: 1\n",
        "#  top\na:  # one\n  # two\n  b: 1  ## three\n  # four\n\n# five\nc: 1\n",
    ),
    "comment before a value": ("a:  # one\n  # two\n  b\n", "# one\n# two\na: b\n"),
    "quotes": (
        "'a b': \"c\"\nd: 'it''s'\ne: '$f'\ng: [\"h, i\", \"j\"]\nk: \"l: m\"\nn: ''\n",
        "a b: c\n\nd: it's\n\ne: '$f'\n\ng: [\"h, i\", j]\n\nk: \"l: m\"\n\nn: ''\n",
    ),
    "flow collections": ("a: [ b,c ,d, ]\ne: {f : g,\n  h: }\n", "a: [b, c, d]\n\ne: {f: g, h: }\n"),
    "comments in a flow collection": (
        "a: [b, c,  # one\n  # two\n  {d: e}\n  ]  # three\n",
        "a: [\n    b,\n    c,  # one\n    # two\n    {d: e},\n  ]  # three\n",
    ),
    "a long flow collection": (
        f"a:\n  b: [{LONG}, {LONG}, {LONG}, {LONG}]\n",
        f"a:\n  b: [\n      {LONG},\n      {LONG},\n      {LONG},\n      {LONG},\n    ]\n",
    ),
    "a short flow is joined": ("a: b\n  |> c\n  |> d\n", "a: b |> c |> d\n"),
    "a long flow is broken": (
        f"a: {LONG} |> {LONG}\n    |> {LONG} |> {LONG}\n",
        f"a: {LONG}\n  |> {LONG}\n  |> {LONG}\n  |> {LONG}\n",
    ),
    "a long flow in a list": (
        f"a:\n  - {LONG} |> {LONG} |> {LONG} |> {LONG}\n",
        f"a:\n  - {LONG}\n    |> {LONG}\n    |> {LONG}\n    |> {LONG}\n",
    ),
    "long text keeps its lines": (f"a: {LONG} {LONG}\n     {LONG} {LONG}\n", f"a: {LONG} {LONG}\n  {LONG} {LONG}\n"),
    "short text is joined": ("a: b\n     c\n", "a: b c\n"),
    "a long call": (
        f"a: adamw(lr=1e-4, b={LONG}, c={LONG}, d=[1, 2], note={LONG})  # why\n",
        f"a:  # why\n  adamw:\n    lr: 1e-4\n    b: {LONG}\n    c: {LONG}\n    d: [1, 2]\n    note: {LONG}\n",
    ),
    "a long call beside a long key": (
        f"{LONG}: adamw(lr={LONG}, b2={LONG}, c=1)\n",
        f"{LONG}:\n  adamw: {{lr: {LONG}, b2: {LONG}, c: 1}}\n",
    ),
    "a long call in a list": (
        f"a:\n  - dedup(by={LONG}, threshold={LONG}, x={LONG})\n",
        f"a:\n  - dedup:\n      by: {LONG}\n      threshold: {LONG}\n      x: {LONG}\n",
    ),
    "a long call with a positional argument": (f"a: f({LONG * 4}, x=1)\n", f"a: f({LONG * 4}, x=1)\n"),
    "literal text": ("a: |\n     b\n\n      # c\nd: 1\n", "a: |\n  b\n\n   # c\n\nd: 1\n"),
    "literal text, indented first line": ("a:\n  b: |3\n      c\n", "a:\n  b: |2\n     c\n"),
    "literal text at the end": ("a: |\n  b", "a: |-\n  b\n"),
    "kept empty lines": ("a: >+\n    b\n\nc: 1\n", "a: >+\n  b\n\nc: 1\n"),
    "text in quotes over lines": ("a: \"b:\n       c \\\n     d #\"\n", "a: \"b:\n  c \\\n  d #\"\n"),
    "line ends": ("a: 1\r\nb: |\r\n  c\r\n", "a: 1\n\nb: |\n  c\n"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_layout(text: str, expected: str) -> None:
    assert formatted(text) == expected
    assert formatted(expected) == expected


SPACED = {
    "a quantity": ("sequence: 512tokens", "sequence: 512 tokens"),
    "a count and its suffix": ("batch: 8k    examples", "batch: 8k examples"),
    "a unit of two words": ("for: 3M trained   tokens", "for: 3M trained tokens"),
    "numbers keep their spelling": (
        "optimizer: adamw( lr = 0.00001,b2 = 0.95 )",
        "optimizer: adamw(lr=0.00001, b2=0.95)",
    ),
    "a call in quotes": ("schedule: 'cosine( warmup=3% )'", "schedule: cosine(warmup=3%)"),
    "a list in a call": (
        "adapter: lora(rank=4,alpha=8,on=[attention,mlp])",
        "adapter: lora(rank=4, alpha=8, on=[attention, mlp])",
    ),
    "moments": ("checkpoint: [ 10%,every   5%, end  of  a ]", "checkpoint: [10%, every 5%, end of a]"),
    "an alternative": ("until: 5steps", "until: 5 steps"),
    "a mapping for a call": ("optimizer: {adamw: {lr: 1e-4}}", "optimizer: {adamw: {lr: 1e-4}}"),
    "text": ("doc: f( a = 1,b  |>c )", "doc: f( a = 1,b  |>c )"),
    "a constant": ("batch: $b", "batch: $b"),
    "what is no such value": ("sequence: 512   tokns ,", "sequence: 512   tokns ,"),
}


@pytest.mark.parametrize(("line", "expected"), SPACED.values(), ids=SPACED)
def test_blanks_in_fields_of_a_stage(line: str, expected: str) -> None:
    assert formatted(f"train t:\n  {line}\n") == f"train t:\n  {expected}\n"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("filter(turns>=2   and(not has_tools))", "filter(turns >= 2 and (not has_tools))"),
        ("filter: tokens   in 200 .. 6000", "filter: tokens in 200..6000"),
        ('filter(matches ( user,"a  b" )or has( x ))', 'filter(matches(user, "a  b") or has(x))'),
        ('judge(as=a, with=m,answers=["may,  be",no])', 'judge(as=a, with=m, answers=["may,  be", no])'),
        ("set(field=a,value=b   c)", "set(field=a, value=b   c)"),
        ("take( 800examples )", "take(800 examples)"),
        ("tools(files=[a,b],count=1 .. 4,chance=60%)", "tools(files=[a, b], count=1..4, chance=60%)"),
        ("generate(with=m,vars={a:b,c:d})", "generate(with=m, vars={a:b,c:d})"),
    ],
)  # fmt: skip
def test_blanks_in_transforms(written: str, expected: str) -> None:
    assert formatted(f"source s:\n  apply:\n    - {written}\n") == f"source s:\n  apply:\n    - {expected}\n"


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("k.ch( a )>k.ch( base )", "k.ch(a) > k.ch(base)"),
        ("c(a,at = 50%  of ft)*3+-2%<=c(base)-  2%", "c(a, at=50% of ft) * 3 + -2% <= c(base) - 2%"),
        ("(c( f=x,at=all)+1)/2>-1", "(c(f=x, at=all) + 1) / 2 > -1"),
    ],
)
def test_blanks_in_claims(claim: str, expected: str) -> None:
    assert formatted(f"study s:\n  expect:\n    - {claim}\n") == f"study s:\n  expect:\n    - {expected}\n"


@pytest.mark.parametrize(
    ("start", "written", "expected"),
    [
        ("study s:\n  arms:\n    a:", "base|>k.ft( data=d( holdout=1% ),batch=8examples )",
         "base |> k.ft(data=d(holdout=1%), batch=8 examples)"),
        ("study s:\n  matrix:\n    - f:\n        a:", "x|>y( for=1epoch )", "x |> y(for=1 epoch)"),
        ("source s:\n  from:", "a|>b( doc=x  y )", "a |> b(doc=x  y)"),
        ("model m:\n  from:", "m( seed=3 )", "m(seed=3)"),
        ("model m:\n  from:", "hf://a/b  c", "hf://a/b  c"),
        ("train t:\n  data:", "a( holdout=1% )", "a(holdout=1%)"),
    ],
)  # fmt: skip
def test_blanks_in_flows_of_each_kind(start: str, written: str, expected: str) -> None:
    assert formatted(f"{start} {written}\n") == f"{start} {expected}\n"


def test_a_long_flow_without_blanks_is_broken() -> None:
    steps = [f"ft(data=chats_of_{number}, optimizer.lr=1e-4)" for number in range(4)]
    lines = "".join(f"    |> {step}\n" for step in steps)
    assert formatted(f"model m:\n  from: base|>{'|>'.join(steps)}\n") == f"model m:\n  from: base\n{lines}"


def test_a_condition_over_lines_keeps_its_lines() -> None:
    words = " or ".join(f'({LONG}=="a{number}")' for number in range(3))
    text = f"source s:\n  apply:\n    - filter: {words}\n        and   turns>2\n"
    spaced = words.replace("==", " == ")
    assert formatted(text) == f"source s:\n  apply:\n    - filter: {spaced}\n        and turns > 2\n"


def test_a_long_call_inside_a_long_call_is_broken_too() -> None:
    digits = "0." + "9" * 35
    adamw = f"adamw(lr=1e-4, b1={digits}, b2={digits}, weight_decay={digits})"
    assert formatted(f"study s:\n  matrix:\n    - f:\n        a: ft(data=d, optimizer={adamw})\n") == (
        "study s:\n  matrix:\n    - f:\n        a:\n          ft:\n            data: d\n            optimizer:\n"
        f"              adamw:\n                lr: 1e-4\n                b1: {digits}\n                b2: {digits}\n"
        f"                weight_decay: {digits}\n"
    )


def test_a_long_text_that_looks_like_a_call_stays_text() -> None:
    text = f"train t:\n  doc: see(a={LONG}, b={LONG}, c={LONG}, d={LONG})\n"
    assert formatted(text) == text


@pytest.mark.parametrize(
    "written", [f"f(a={LONG}, b={LONG}, c={LONG}, d={LONG})", f"{LONG} |> {LONG} |> {LONG} |> {LONG}"]
)
def test_what_is_long_and_in_quotes_is_written_as_without_them(written: str) -> None:
    assert formatted(f"a: '{written}'\n") == formatted(f"a: {written}\n")


def test_a_mapping_that_would_fit_as_a_call_stays_a_mapping() -> None:
    text = "train t:\n  optimizer:\n    adamw: {lr: 1e-4}\n"
    assert formatted(text) == text


KNOWN = [*EXAMPLES, Path(__file__).parents[2] / "specs" / "quickstart.mix"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_blanks_between_tokens_make_no_difference(data: st.DataObject) -> None:
    """Any blanks put into or taken from the scalars of a file that is formatted come to the same file again."""
    text = data.draw(st.sampled_from(KNOWN)).read_text(encoding="utf-8")
    document, _ = parse(SourceFile("", text))
    scalars = [one for one in typed_scalars(document.root) if one[0].style == "plain" and "\n" not in one[0].text]
    changed = text
    for scalar, shape in sorted(scalars, key=lambda one: -one[0].span.start):
        if spaced(shape, scalar.text) is None or "\n" in text[scalar.span.start : scalar.span.end]:
            continue
        pieces = re.split(r'("(?:[^"\\]|\\.)*"| [*+] | ?(?:\|>|[<>=!]=|[<>,=()]) ?)', scalar.text)
        loose = ""
        for piece in pieces:
            blank = data.draw(st.sampled_from(["", " ", "  "]))
            token = piece.strip()
            loose += f"{blank}{token}{blank}" if token and token[0] in "|<>=!*+,()" else piece
        loose = loose.strip()
        if " #" not in loose and ": " not in loose:
            changed = changed[: scalar.span.start] + loose + changed[scalar.span.end :]
    assert formatted(changed) == text
