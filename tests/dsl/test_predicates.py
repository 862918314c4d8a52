"""Conditions of filters: the fields that they test, the types of these, what they can tell apart, their patterns."""

from __future__ import annotations

import pytest

from dsl.check import check
from dsl.checks.patterns import pattern_mistake
from dsl.record_fields import DERIVED, OWN
from tests.dsl.loading import ROOT, checked, reader, spec

COMMON = """
model writer:
  api: a/b
source documents:
  format: documents
  files: a
source chats:
  format: chat
  files: b
"""
ASKS = "with=c.writer, prompt=p.md"
JUDGE = f"judge(as=bait, {ASKS}, answers=[yes, no])"
SCORE = f"score(as=quality, {ASKS}, scale=1..10)"


def found(*apply: str, format: str = "chat", more: str = "") -> list[tuple[str, str]]:
    """Codes and places for a source with these transforms; that it may not use the import is of no concern."""
    lines = "".join(f"    - '{one}'\n" for one in apply)
    text = f"import:\n  c: c.mix\nsource s:\n  format: {format}\n  files: x\n{more}  apply:\n{lines}"
    return [one for one in checked(text, c=COMMON) if one[0] != "MIX0341"]


def of(condition: str, *before: str, format: str = "chat", more: str = "") -> list[tuple[str, str]]:
    return found(*before, f"filter({condition})", format=format, more=more)


@pytest.mark.parametrize("format", DERIVED)
def test_the_fields_of_each_format_are_there(format: str) -> None:
    tests = {"a number": "{} > 1", "a text": 'matches({}, "x")', "true or false": "not {}"}
    for name, field in DERIVED[format].items():
        assert of(tests[field.kind].format(name), format=format) == []


@pytest.mark.parametrize(
    ("condition", "format", "place"),
    [
        ("turns >= 2", "documents", "turns"),
        ("tokens > 2 and not has_tools", "documents", "has_tools"),
        ('matches(user, "x")', "documents", "user"),
        ('chosen == "x"', "chat", "chosen"),
        ("characters in 1..5", "chat", "characters"),
        ("messages == 1", "documents", "messages"),
        ("turn >= 2", "chat", "turn"),
        ("Turns >= 2", "chat", "Turns"),
        ("hastools", "prompts", "hastools"),
        ('assistent == "x"', "chat", "assistent"),
    ],
)
def test_fields_that_are_not_there(condition: str, format: str, place: str) -> None:
    assert of(condition, format=format) == [("MIX0355", place)]


@pytest.mark.parametrize(
    "condition",
    [
        'language == "en"',
        "n_turns > 2 and num_tokens > 3",
        "turn == 1 or has(turn)",
        "has(characters) and characters > 200",
        "has(tools) and has_tools",
        "turns >= 1",
        "turns == wanted_turns",
        'label == "no" and context == "x" and title != "y"',
    ],
)
def test_columns_of_the_file_may_be_there(condition: str) -> None:
    assert of(condition) == []


def test_columns_that_the_source_names_are_there() -> None:
    assert of("turns >= 2", format="documents", more="  fields: {turns: n}\n") == []
    assert of('turns == "many"', format="documents", more="  fields: {turns: n}\n") == []
    assert of("turn >= 2", more="  fields: {turn: n}\n") == []
    assert of("text > 2", format="documents", more="  fields: {text: story}\n") == [("MIX0355", "text > 2")]


@pytest.mark.parametrize(
    "condition",
    [
        'turns == "2"',
        '"2" != turns',
        "has_tools > 2",
        'has_tools == "yes"',
        "text > 3",
        "user in 1..3",
        "user == true",
        "assistant",
        "messages == 2",
        'matches(turns, "x")',
        'label > "x"',
        "label < true",
        "turns == text",
    ],
)
def test_types_do_not_mix(condition: str) -> None:
    assert of(condition) == [("MIX0355", condition)]


@pytest.mark.parametrize(
    "condition",
    [
        "1 > 2",
        '"a" == "a"',
        "3 in 1..5",
        "turns == turns",
        "turns >= 0",
        "tokens < 0",
        "0 > tokens",
        "turns == 2.5",
        "has(turns)",
        "has(system)",
        'bait == "maybe"',
        'bait != "maybe"',
        'bait == "No"',
        "has(bait)",
        "quality > 10",
        "quality >= 1",
        "11 < quality",
        "quality == 0",
        "quality in 11..12",
        "quality in 0..10",
        'origin == "web"',
        'origin == "book"',
    ],
)
def test_conditions_that_are_always_the_same(condition: str) -> None:
    assert of(condition, JUDGE, SCORE, "set(field=origin, value=web)") == [("MIX0356", condition)]


@pytest.mark.parametrize(
    "condition",
    [
        'bait == "no"',
        '"yes" != bait',
        "quality >= 10",
        "quality in 5..15",
        "quality == 2.5",
        "not (turns > 3 and tokens <= 2048)",
        "has_tools == true",
        "bait == expected_bait",
        "turns > 0 or characteristics > 3",
    ],
)
def test_conditions_that_choose(condition: str) -> None:
    assert of(condition, JUDGE, SCORE) == []


def test_a_label_is_quoted() -> None:
    assert of("bait == no", JUDGE) == [("MIX0355", "no")]
    assert of("yes != bait", JUDGE) == [("MIX0355", "yes")]


def test_made_fields_are_typed_and_spelt() -> None:
    assert of("bait > 3", JUDGE) == [("MIX0355", "bait > 3")]
    assert of('quality == "9"', SCORE) == [("MIX0355", 'quality == "9"')]
    assert of("qualty > 3", SCORE) == [("MIX0355", "qualty")]
    assert of("score_b > 3", f"score(as=score_a, {ASKS}, scale=1..10)") == []


def test_a_field_is_not_there_before_it_is_made() -> None:
    assert found('filter(bait == "no")', JUDGE) == [("MIX0355", "bait")]
    assert found('filter(has(bait) and bait == "no")', "dedup") == []


def test_the_format_changes_along_the_chain() -> None:
    sample, template = "sample(with=c.writer)", "template(t.jinja)"
    assert found("filter(turns >= 1)", sample, "filter(turns >= 1)", format="prompts") == []
    assert found("filter(turns >= 1)", template, "filter(turns >= 1)") == [("MIX0355", "turns")]
    assert found(JUDGE, "filter(bait > 3)", template, "filter(characters > 3)") == [("MIX0355", "bait > 3")]


def test_fields_are_known_through_sources_and_augments() -> None:
    text = f"""
    import:
      c: c.mix
    augment judged:
      apply: ['{JUDGE}']
    source a:
      from: c.chats |> judged
    source b:
      from: a
      apply:
        - filter(bait == "maybe")
    """
    assert checked(text, c=COMMON) == [("MIX0356", 'bait == "maybe"')]


def test_an_augment_is_held_to_the_records_that_come() -> None:
    augment = "import:\n  c: c.mix\naugment long:\n  apply:\n    - filter(turns > 1)\n"
    assert checked(augment + "source a:\n  from: c.chats |> long\n", c=COMMON) == []
    assert checked(augment + "source a:\n  from: c.documents |> long\n", c=COMMON) == [("MIX0355", "turns")]


def test_an_augment_alone_is_held_to_what_holds_for_all_records() -> None:
    text = "augment x:\n  apply:\n    - filter(tokens == true)\n    - filter(1 > 2)\n    - filter(turn > 1)\n"
    assert checked(text) == [("MIX0355", "tokens == true"), ("MIX0356", "1 > 2")]
    with_tools = "augment x:\n  apply:\n    - filter(turns > 1)\n    - tools(files=f, count=1..2)\n"
    assert checked(with_tools) == []


@pytest.mark.parametrize("pattern", ["([", "(?=x)", "harm(?!less)", r"(a)\1", "a{2000}"])
def test_patterns_are_re2(pattern: str) -> None:
    assert [code for code, _ in of(f'matches(text, "{pattern}")')] == ["MIX0357"]
    assert checked(f"reward r:\n  verify: '{pattern}'\n") == [("MIX0357", f"'{pattern}'")]
    assert pattern_mistake(pattern)


def test_patterns_that_are_fine() -> None:
    for pattern in ("(?i)harm|honest", r"\d+", r"^\p{Greek}+$", "plugin_name"):
        assert pattern_mistake(pattern) is None
    assert pattern_mistake("\ud800")
    assert checked("reward r:\n  verify: '(?i)yes'\n") == []


def test_a_bad_pattern_prints_nothing_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    pattern_mistake("([")
    assert capfd.readouterr() == ("", "")


def test_places_of_conditions_written_otherwise() -> None:
    text = """
    let:
      long: turns > 1
      only_long: filter(turns > 2)
    source a:
      format: documents
      files: x
      apply:
        - filter($long)
        - $only_long
        - filter: turns > 3
        - "filter(turns == \\"x\\")"
    """
    places = ["turns", "turns", "turns", 'filter(turns == \\"x\\")']
    assert sorted(checked(text)) == sorted(("MIX0355", place) for place in places)


def test_a_constant_of_another_file_is_pointed_at_where_it_is_used() -> None:
    lib = "let:\n  keep: has_tools\nsource a:\n  format: documents\n  files: x\n  apply:\n    - filter($keep)\n"
    main = "import:\n  lib: {file: lib.mix, let: {keep: turns > 1}}\nsource b:\n  from: lib.a\n"
    assert checked(main, lib=lib) == [("MIX0355", "filter($keep)")]


def test_an_argument_of_a_call_is_pointed_at() -> None:
    text = "import:\n  c: c.mix\nsource b:\n  from: c.chats(apply=[dedup, filter(turn > 1)])\n"
    assert checked(text, c=COMMON) == [("MIX0355", "turn")]


def test_one_mistake_is_told_once() -> None:
    assert of("turns > 2 or turns < 1", format="documents") == [("MIX0355", "turns")]
    text = spec("source a:\n  format: documents\n  files: x\n  apply:\n    - filter(turns > 1)\nsource b:\n  from: a\n")
    assert len(check([ROOT / "main.mix"], root=ROOT, read=reader({"main.mix": text}))) == 1


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ("nonsense(x=1)", "MIX0209"),
        (f"judge({ASKS}, answers=[yes, no])", "MIX0204"),
        (f"judge(as=bait, {ASKS})", "MIX0204"),
        (f"score(as=harm, {ASKS}, scale=10..1)", "MIX0154"),
        ("set(value=x)", "MIX0204"),
        ("filter(turns >)", "MIX0150"),
        ("sample(with=c.nobody)", "MIX0210"),
    ],
)
def test_a_hole_hides_no_other_condition_and_makes_no_other_mistake(broken: str, code: str) -> None:
    assert [one for one, _ in found(broken, 'filter(bait == "maybe")')] == [code]
    assert [one for one, _ in found(broken, "filter(1 > 2)")] == [code, "MIX0356"]


def test_a_hidden_origin_leaves_the_format_open() -> None:
    for origin in ("format: dokuments\n  files: x", "from: nobody", "from: c.chats |> nothing"):
        text = f"import:\n  c: c.mix\nsource s:\n  {origin}\n  apply:\n    - filter(turns > 1)\n    - filter(1 > 2)\n"
        codes = [code for code, _ in checked(text, c=COMMON) if code != "MIX0341"]
        assert codes[-1] == "MIX0356"
        assert "MIX0355" not in codes


def test_own_fields_and_derived_ones_agree() -> None:
    for format, own in OWN.items():
        shared = own.keys() & DERIVED[format].keys()
        assert all(own[name] == DERIVED[format][name].kind for name in shared)
