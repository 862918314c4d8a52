"""Typed scalars: what each form means, where mistakes are, and that unparse writes what parse reads."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark, Token
from lark.common import LexerConf
from lark.lexer import Lexer, LexerState

import dsl
from dsl.parse import parse
from dsl.scalars import FORMS, ScalarError, ScalarKind, parse_scalar, parse_text
from dsl.source import SourceFile, Span
from dsl.tree import Scalar
from dsl.unparse import Value, unparse
from dsl.values import (
    Amount,
    Argument,
    Arithmetic,
    Call,
    Compare,
    Constant,
    EvalReference,
    Field,
    Flow,
    Has,
    InRange,
    Logic,
    Matches,
    Name,
    Not,
    Point,
    Quantity,
    Range,
)  # fmt: skip

F = Fraction


def quantity(count: int | Fraction, unit: str) -> Quantity:
    return Quantity(F(count), unit)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("count", "12000", 12000),
        ("count", "30M", 30_000_000),
        ("count", "1.5B", 1_500_000_000),
        ("count", "64k", 64_000),
        ("count", "64Ki", 65_536),
        ("count", "2T", 2 * 10**12),
        ("quantity", "30M tokens", quantity(30_000_000, "tokens")),
        ("quantity", "64Ki tokens", quantity(65_536, "tokens")),
        ("quantity", "3M trained tokens", quantity(3_000_000, "trained tokens")),
        ("quantity", "1 epoch", quantity(1, "epochs")),
        ("quantity", "1.5 epochs", quantity(F(3, 2), "epochs")),
        ("quantity", "1 example", quantity(1, "examples")),
        ("quantity", "120k completions", quantity(120_000, "completions")),
        ("quantity", "16GiB", quantity(2**34, "bytes")),
        ("quantity", "20 dollars", quantity(20, "dollars")),
        ("amount", "40%", Amount("percent", F(2, 5))),
        ("amount", "0.5%", Amount("percent", F(1, 200))),
        ("amount", "2", Amount("ratio", F(2))),
        ("amount", "5M tokens", Amount("quantity", quantity(5_000_000, "tokens"))),
        ("amount", "all", Amount("all")),
        ("amount", "rest", Amount("rest")),
        ("when", "start", (Point("start"),)),
        ("when", "25%", (Point("fraction", F(1, 4)),)),
        ("when", "10M tokens", (Point("quantity", quantity(10**7, "tokens")),)),
        ("when", "every 500 steps", (Point("quantity", quantity(500, "steps"), every=True),)),
        ("when", "end of finetune", (Point("end", None, "finetune"),)),
        ("when", "every 50% of common.midtrain", (Point("fraction", F(1, 2), "common.midtrain", every=True),)),
        ("when", "[start, every 10%]", (Point("start"), Point("fraction", F(1, 10), every=True))),
        ("range", "1..4", Range(F(1), F(4))),
        ("range", "-0.5..1k", Range(F(-1, 2), F(1000))),
        ("number", "1e-4", F(1, 10_000)),
        ("number", "-0.95", F(-19, 20)),
        ("percent", "3%", F(3, 100)),
        ("boolean", "true", True),
        ("boolean", "false", False),
        ("word", "tpu-v5litepod-256", "tpu-v5litepod-256"),
        ("word", "4.5", "4.5"),
        ("name", "preferences.holdout", Name("preferences.holdout")),
        ("call", "constant", Call(Name("constant"), ())),
        ("call", "adamw(lr=1e-4)", Call(Name("adamw"), (Argument("lr", "1e-4"),))),
        ("location", "hf://datasets/org/name@rev/data/*.parquet", "hf://datasets/org/name@rev/data/*.parquet"),
        ("text", "anything: at all", "anything: at all"),
    ],
)  # fmt: skip
def test_what_is_written_and_what_it_means(kind: ScalarKind, text: str, value: object) -> None:
    assert parse_text(kind, text) == value


def test_arguments_are_balanced_text() -> None:
    text = 'f(data=a, x=[1, (2)], p="a, \\"b)", optimizer.lr=3e-4, y={k: v})'
    assert parse_text("call", text) == Call(
        Name("f"),
        (
            Argument("data", "a"),
            Argument("x", "[1, (2)]"),
            Argument("p", '"a, \\"b)"'),
            Argument("optimizer.lr", "3e-4"),
            Argument("y", "{k: v}"),
        ),
    )


def test_a_positional_argument_may_hold_a_comparison() -> None:
    call = parse_text("call", 'filter(took_bait == "no")')
    assert call == Call(Name("filter"), (Argument(None, 'took_bait == "no"'),))


def test_flows() -> None:
    flow = parse_text("flow", "base |> midtrain(data=a) |> none")
    assert flow == Flow((Name("base"), Call(Name("midtrain"), (Argument("data", "a"),)), Name("none")))


def test_predicates_bind_as_in_python() -> None:
    a, b, c = (Field(name) for name in "abc")
    expected = Logic("or", (a, Logic("and", (Not(b), c))))
    assert parse_text("predicate", "a or not b and c") == expected
    assert parse_text("predicate", "not (a or b)") == Not(Logic("or", (a, b)))
    assert parse_text("predicate", "not a == true") == Not(Compare("==", a, Constant(True)))


def test_tests_of_a_record() -> None:
    assert parse_text("predicate", "tokens in 200..6000") == InRange(Field("tokens"), Range(F(200), F(6000)))
    assert parse_text("predicate", "has(took_bait)") == Has(Field("took_bait"))
    assert parse_text("predicate", 'x == "no"') == Compare("==", Field("x"), Constant("no"))
    assert parse_text("predicate", "x < 3%") == Compare("<", Field("x"), Constant(F(3, 100)))


def test_patterns_are_taken_as_they_are_written() -> None:
    assert parse_text("predicate", r'matches(user, "\d+\\ \"x\"")') == Matches(Field("user"), r'\d+\\ "x"')


def test_claims() -> None:
    claim = parse_text("claim", "harm(a, at=all) * 3 - 2% <= suite.harm")
    harm = EvalReference(Name("harm"), (Argument(None, "a"), Argument("at", "all")))
    left = Arithmetic("-", Arithmetic("*", harm, Constant(F(3))), Constant(F(1, 50)))
    assert claim == Compare("<=", left, EvalReference(Name("suite.harm"), ()))


@pytest.mark.parametrize(
    ("kind", "text", "code", "place"),
    [
        ("count", "twelve", "MIX0150", "twelve"),
        ("count", "1.5", "MIX0152", "1.5"),
        ("count", "-3", "MIX0150", "-3"),
        ("number", "9" * 50, "MIX0150", "9" * 10),
        ("number", "1e9999", "MIX0150", "9"),
        ("quantity", "30 widgets", "MIX0151", "widgets"),
        ("quantity", "1.5 steps", "MIX0152", "1.5 steps"),
        ("quantity", "30", "MIX0150", "30"),
        ("amount", "most", "MIX0150", "most"),
        ("when", "every start of", "MIX0150", "every start of"),
        ("range", "4..1", "MIX0154", "4..1"),
        ("boolean", "yes", "MIX0150", "yes"),
        ("word", "two words", "MIX0150", "words"),
        ("name", "2nd", "MIX0150", "2nd"),
        ("call", "f(a=1, 2)", "MIX0155", "2"),
        ("call", "f(a=1, a=2)", "MIX0155", "2"),
        ("call", "f(a=)", "MIX0155", ""),
        ("call", "f(a=(1)", "MIX0150", "f(a=(1)"),
        ("flow", "a |> ", "MIX0150", "a |> "),
        ("flow", "a | b", "MIX0150", "|"),
        ("predicate", "1 < turns < 3", "MIX0153", "1 < turns < 3"),
        ("predicate", "x in 3..1", "MIX0154", "3..1"),
        ("predicate", "x == 'no'", "MIX0150", "'no'"),
        ("claim", "a < b < c", "MIX0153", "a < b < c"),
        ("claim", "harm(a)", "MIX0150", "harm(a)"),
        ("location", " ", "MIX0150", " "),
        ("predicate", "not " * 5000 + "a", "MIX0150", "not " * 5000 + "a"),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_mistakes_have_a_code_a_place_and_a_help(kind: ScalarKind, text: str, code: str, place: str) -> None:
    before = "key: "
    with pytest.raises(ScalarError) as caught:
        parse_text(kind, text, offset=len(before))
    error = caught.value
    assert (error.code, (before + text)[error.span.start : error.span.end]) == (code, place)
    assert error.help
    assert error.message


def test_places_are_right_over_several_lines_and_in_quotes() -> None:
    text = "a: base\n  |> f(data=b,\n     x=c)\nb: 'it''s |> g'\n"
    document, _ = parse(SourceFile("test.mix", text))
    broken, quoted = (entry.value for entry in document.root.entries)
    assert isinstance(broken, Scalar)
    assert isinstance(quoted, Scalar)
    flow = parse_scalar("flow", broken)
    call = flow.items[1]
    assert isinstance(call, Call)
    places = [flow.items[0].span, call.name.span, *(argument.span for argument in call.arguments)]
    assert [text[place.start : place.end] for place in places] == ["base", "f", "b", "c"]
    with pytest.raises(ScalarError) as caught:
        parse_scalar("flow", quoted)
    assert text[caught.value.span.start : caught.value.span.end] == "''s"


class NoLexer(Lexer):
    """Stands in for Lark's own, whose strict mode needs another package; the parser's strict mode doesn't."""

    def __init__(self, lexer_conf: LexerConf) -> None:
        pass

    def lex(self, lexer_state: LexerState, parser_state: object) -> Iterator[Token]:
        yield from ()


def test_the_grammar_has_no_conflicts() -> None:
    grammar = (Path(dsl.__file__).parent / "grammar" / "scalars.lark").read_text()
    Lark(grammar, start=sorted(set(FORMS) - {"location", "text"}), parser="lalr", lexer=NoLexer, strict=True)


def test_every_kind_has_a_form() -> None:
    assert set(FORMS) == set(get_args(ScalarKind))


names = st.sampled_from(["a", "common.finetune", "none", "has_tools"])
counts = st.integers(0, 10**13)
decimals = st.decimals(0, 10**6, places=4).map(Fraction)
units = st.sampled_from(["tokens", "trained tokens", "steps", "examples", "prompts", "completions"])
quantities = st.one_of(
    st.builds(lambda count, unit: Quantity(F(count), unit), counts, units),
    st.builds(lambda count, unit: Quantity(count, unit), decimals, st.sampled_from(["epochs", "minutes", "dollars"])),
    st.builds(lambda count: Quantity(F(count), "bytes"), counts),
)
amounts = st.one_of(
    st.builds(lambda value: Amount("percent", value), decimals),
    st.builds(lambda value: Amount("ratio", value), decimals),
    st.builds(lambda value: Amount("quantity", value), quantities),
    st.sampled_from([Amount("all"), Amount("rest")]),
)
points = st.builds(
    lambda moment, of, every: Point(moment.kind, moment.value, of, every),
    st.one_of(
        st.sampled_from([Point("start"), Point("end")]),
        st.builds(lambda value: Point("fraction", value), decimals),
        st.builds(lambda value: Point("quantity", value), quantities),
    ),
    st.none() | names,
    st.booleans(),
)
ranges = st.tuples(decimals, decimals).map(lambda pair: Range(min(pair), max(pair)))
labels = st.text(st.characters(exclude_characters="\\", exclude_categories=["Cs", "Cc"]))
texts = st.sampled_from(["1e-4", "[a, b]", '"x, y)"', "f(x=1)", "{k: v}"])
arguments = st.lists(st.builds(lambda text: Argument(None, text), texts), max_size=2).flatmap(
    lambda positional: st.dictionaries(st.sampled_from(["x", "optimizer.lr", "z"]), texts).map(
        lambda named: (*positional, *(Argument(path, text) for path, text in named.items()))
    )
)
flows = st.lists(names.map(Name) | st.builds(Call, names.map(Name), arguments), min_size=1).map(
    lambda items: Flow(tuple(items))
)
fields = st.sampled_from(["turns", "meta.score", "X"]).map(Field)
operands = fields | st.builds(Constant, decimals | labels | st.booleans())
operators = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
predicates = st.recursive(
    st.one_of(
        fields,
        st.builds(Compare, operators, operands, operands),
        st.builds(InRange, operands, ranges),
        st.builds(Matches, fields, labels),
        st.builds(Has, fields),
    ),
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(Logic, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
)
results = st.builds(EvalReference, names.map(Name), arguments)
sides = st.recursive(
    results | st.builds(Constant, decimals),
    lambda inner: st.builds(Arithmetic, st.sampled_from(["+", "-", "*", "/"]), inner, inner),
    max_leaves=6,
)
claims = st.builds(Compare, operators, sides, sides)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.tuples(st.just("count"), counts),
        st.tuples(st.just("number"), decimals),
        st.tuples(st.just("quantity"), quantities),
        st.tuples(st.just("amount"), amounts),
        st.tuples(st.just("when"), st.lists(points, min_size=1, max_size=3).map(tuple)),
        st.tuples(st.just("range"), ranges),
        st.tuples(st.just("boolean"), st.booleans()),
        st.tuples(st.just("call"), st.builds(Call, names.map(Name), arguments)),
        st.tuples(st.just("flow"), flows),
        st.tuples(st.just("predicate"), predicates),
        st.tuples(st.just("claim"), claims),
    )
)
def test_what_is_unparsed_is_read_back_as_the_same(written: tuple[ScalarKind, Value]) -> None:
    kind, value = written
    assert parse_text(kind, unparse(value)) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("quantity", "30M tokens"), ("quantity", "16GiB"), ("quantity", "1 epoch"), ("count", "1.5B"),
        ("number", "1e-4"), ("number", "0.95"), ("amount", "40%"), ("when", "every 50% of midtrain"),
        ("when", "[10M tokens, end]"), ("range", "200..6000"), ("flow", "base |> finetune(data=advice, for=1 epoch)"),
        ("predicate", 'turns >= 2 and not (has_tools or took_bait == "no")'),
        ("claim", "a(x, at=all) * 3 - (b - c) <= 0.05"), ("call", "constant"),
    ],
)  # fmt: skip
def test_the_canonical_text_is_the_usual_one(kind: ScalarKind, text: str) -> None:
    value = parse_text(kind, text)
    assert unparse(value) == text  # pyright: ignore[reportArgumentType]


def test_a_scalar_without_offsets_is_where_its_span_says() -> None:
    name = parse_scalar("name", Scalar("fiction", "plain", Span(10, 17)))
    assert name.span == Span(10, 17)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(list(FORMS)),
    st.text(st.sampled_from("ab1.%()[]{}|>=<\"', of every in not 9MKi\\-+*/"), max_size=20),
)
def test_no_text_is_too_odd_to_be_refused(kind: ScalarKind, text: str) -> None:
    try:
        parse_text(kind, text)
    except ScalarError as error:
        assert 0 <= error.span.start <= error.span.end <= len(text)  # noqa: PT017
