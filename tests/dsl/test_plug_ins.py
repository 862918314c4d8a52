"""Transforms of installed packages: in a spec they are as built-ins are, and a broken one is an error of its own."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from dsl.declarations.data import Source
from dsl.declarations.installed import PlugInError, forget, mistake, offers, plug_in, word_of
from dsl.declarations.plug_in_values import from_json, to_json, version_of
from dsl.declarations.plug_ins import PlugIn, mistakes
from dsl.format import format_source
from dsl.reference.topics import find, names, outline
from dsl.show import origin, rows_of
from dsl.source import SourceFile
from dsl.values import Range
from mixc import plugins
from tests.dsl.editor.cursor import offered, told
from tests.dsl.loading import checked, declared
from tests.plug_ins import put, put_example

ROOT = Path(__file__).parents[2]

SOURCE = """
source fiction:
  format: documents
  files: data/*.jsonl
  apply:
    - {}
"""


def source_with(*apply: str) -> str:
    return SOURCE.format("\n    - ".join(apply))


def bound(*apply: str) -> tuple[PlugIn, ...]:
    source = declared(source_with(*apply), "fiction")
    assert isinstance(source, Source)
    assert all(isinstance(one, PlugIn) for one in source.apply)
    return tuple(one for one in source.apply if isinstance(one, PlugIn))


def test_a_plug_in_is_bound_as_a_built_in_is():
    for one in bound("keep_short(3k)", "keep_short(most=3000)", "keep_short: 3k", "keep_short: {most: 3k}"):
        assert type(one) is plug_in("keep_short")
        assert word_of(one) == "keep_short"
        assert (one.most, one.ignore) == (3000, None)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("keep_short(0)", ("MIX0207", "0")),
        ("keep_short(few)", ("MIX0150", "few")),
        ("keep_short", ("MIX0204", "keep_short")),
        ("keep_short(3, 4)", ("MIX0221", "4")),
        ("keep_short(3, ignored=a.txt)", ("MIX0203", "ignored")),
        ("keep_short(3, ignore=../../a.txt)", ("MIX0216", "../../a.txt")),
        ("keep_shart(3)", ("MIX0209", "keep_shart")),
        ("keep_polite(80%)", ("MIX0225", "keep_polite")),
    ],
)
def test_what_is_wrong_is_told_at_its_place(written: str, found: tuple[str, str]):
    assert checked(source_with(written)) == [found]


def test_formats_of_a_chain_are_checked_through_plug_ins():
    chats = source_with("keep_short(3)").replace("documents", "chat")
    assert checked(chats) == [("MIX0303", "keep_short(3)")]
    assert checked(source_with("keep_short(3)", "tools(files=a.json, count=1..2)"))[0][0] == "MIX0303"
    assert checked(chats.replace("- keep", "- template(a.jinja)\n    - keep")) == []


def test_conditions_test_the_fields_that_a_plug_in_makes():
    assert checked(source_with("keep_short(3)", "filter(words > 2)", "filter(label == words)")) == []
    assert checked(source_with("filter(words > 2)", "keep_short(3)")) == [("MIX0355", "words")]
    assert checked(source_with('set(field=words, value="a")', "keep_short(3)")) == [("MIX0358", "keep_short(3)")]


def test_a_word_of_the_language_is_never_a_plug_in_s():
    assert "filter" in offers()
    assert checked(source_with("filter(tokens > 2)")) == []
    wrong = mistake("filter")
    assert wrong is not None
    assert "has the name of a built-in" in wrong.message
    with pytest.raises(PlugInError):
        plug_in("keep_twice")
    with pytest.raises(KeyError):
        plug_in("keep_nothing")


def test_fields_travel_as_json_with_numbers_exact():
    (one,) = bound("keep_short(3M, ignore=words/common.txt)")
    fields, files = to_json(one, lambda path: str(Path(path).relative_to("/project")))
    assert (fields, files) == ({"most": 3_000_000, "ignore": "words/common.txt"}, ("words/common.txt",))
    back = from_json(type(one), fields, lambda path: Path("/data") / path)
    assert (back.most, back.ignore) == (3_000_000, Path("/data/words/common.txt"))  # type: ignore[attr-defined]


class Every(plugins.Transform):
    """Has a field of each type."""

    runs = "a.b:c"
    count: int = plugins.field(plugins.Count(), "A count.", default=3)
    number: Fraction = plugins.field(plugins.Number(low=0), "A number.", default=0.1)
    share: Fraction = plugins.field(plugins.Percent(), "A share.", default=Fraction(1, 3))
    is_on: bool = plugins.field(plugins.Boolean(), "Whether.", default=True)
    between: Range = plugins.field(plugins.Range(), "From, to.", default=Range(Fraction(1), Fraction(5, 2)))
    text: str = plugins.field(plugins.Text(), "A text.", default="a, b")
    word: str = plugins.field(plugins.OneOf(("a", "b")), "A word.", default="a")
    words: tuple[str, ...] = plugins.field(plugins.ListOf(plugins.OneOf()), "Words.", default=["x", "y"])
    file: Path | None = plugins.field(plugins.Location(), "A file.", default=None)
    files: tuple[Path, ...] = plugins.field(plugins.ListOf(plugins.Location()), "Files.", default=())


def test_every_type_of_field_comes_back_as_it_went():
    assert list(mistakes(Every)) == []
    every = Every.model_construct(file="/p/a", files=("/p/a", "/p/b"))
    fields, files = to_json(every, str)
    assert files == ("/p/a", "/p/b")
    assert fields["number"] == "1/10"
    back = from_json(Every, fields, Path)
    given = {name: getattr(every, name) for name in Every.facts()}
    expected = given | {"file": Path("/p/a"), "files": (Path("/p/a"), Path("/p/b"))}
    assert {name: getattr(back, name) for name in Every.facts()} == expected


def declaration(**others: object) -> object:
    return type("Odd", (plugins.Transform,), {"__doc__": "Odd.", "runs": "a:b", "__module__": __name__, **others})


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        (3, "is no subclass"),
        (plugins.Transform, "is no subclass"),
        (declaration(__doc__=None), "has no docstring"),
        (declaration(runs="a.b.c"), "not 'MODULE:FUNCTION'"),
        (declaration(takes="documents"), "takes 'documents'"),
        (declaration(takes=()), r"takes \(\)"),
        (declaration(takes=("texts",)), "takes"),
        (declaration(gives="texts"), "gives 'texts'"),
        (declaration(makes=["a"]), "makes"),
        (declaration(makes=("a-b",)), "no condition can name"),
        (declaration(makes=("text",)), "records have already"),
    ],
)
def test_a_declaration_is_held_to_its_form(odd: object, told: str):
    with pytest.raises(AssertionError, match=told):
        raise AssertionError("; ".join(mistakes(odd)))


@pytest.mark.parametrize(
    ("shape", "default", "told"),
    [
        (plugins.Count(), "3", "default is '3'"),
        (plugins.Count(), 0.5, "default is Fraction"),
        (plugins.OneOf(("a",)), "b", "default is 'b'"),
        (plugins.ListOf(plugins.Count()), ("a",), "default is"),
        (plugins.Location(), "a.txt", "default is 'a.txt'"),
        (plugins.ListOf(plugins.ListOf(plugins.Count())), (), "a type that plug-ins have not"),
    ],
)
def test_a_default_is_a_value_of_its_type(shape: object, default: object, told: str):
    class Odd(plugins.Transform):
        """Odd."""

        runs = "a:b"
        one: object = plugins.field(shape, "One.", default=default)  # type: ignore[arg-type]

    with pytest.raises(AssertionError, match=told):
        raise AssertionError("; ".join(mistakes(Odd)))


def test_the_version_changes_with_the_module_that_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mixc_mine.py").write_text(
        'from mixc.plugins import Transform\n\n\nclass Mine(Transform):\n    """Mine."""\n\n    runs = "mixc_mine:f"\n'
    )
    put(tmp_path, "mixc-mine", "1.2", {"mine": "mixc_mine:Mine"})
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    mine = plug_in("mine")
    before = version_of(mine)
    assert before.startswith("1.2+")
    (tmp_path / "mixc_mine.py").write_text("def f(): ...\n")
    assert version_of(mine) not in (before, "1.2")
    forget()


def test_explain_tells_of_plug_ins():
    (topic,) = find("keep_short")
    assert topic.text.startswith("Drops documents of more than")
    assert ("package", "mixc-keep-short 0.1.0") in topic.facts
    assert [field.name for field in topic.fields] == ["most", "ignore"]
    (field,) = find("keep_short.most")
    assert field.title == "most: a field of keep_short"
    (broken,) = find("keep_polite")
    assert "can't be imported: ModuleNotFoundError" in broken.text
    assert "keep_short" in names()
    assert outline()["Transforms of installed packages"] == ["keep_short"]
    assert outline()["Plug-ins that can't be used"] == [
        "filter",
        "keep-dashed",
        "keep_long",
        "keep_polite",
        "keep_twice",
    ]
    built_in, shadow = find("filter")
    assert built_in.title == "filter: a transform"
    assert "has the name of a built-in" in shadow.text


def test_show_and_the_formatter_treat_them_as_built_ins():
    source = declared(source_with("keep_short(3, ignore=a.txt)"), "fiction")
    shown = {row.path: (row.value, origin(row)) for row in rows_of(source)}
    assert shown["apply[0]"] == ("keep_short", "/project/main.mix:7")
    assert shown["apply[0].most"][0] == "3"
    assert shown["apply[0].ignore"][0] == "a.txt"
    text = "edition: 2026\n" + source_with("keep_short( 3,ignore= a.txt )")
    assert "- keep_short(3, ignore=a.txt)\n" in format_source(SourceFile("a.mix", text))[0]


def test_editors_offer_and_explain_them():
    assert "keep_short" in offered("source a:\n  apply:\n    - ‸\n")
    assert "keep_polite" not in offered("source a:\n  apply:\n    - ‸\n")
    assert {"most", "ignore"} <= offered("source a:\n  apply:\n    - keep_short(‸").keys()
    text = told("source a:\n  apply:\n    - keep_sh‸ort(3)\n")
    assert text is not None
    assert "keep_short(most, ignore=none)" in text
    assert "Drops documents of more than so many words" in text
    assert "The most words" in (told("source a:\n  apply:\n    - keep_short(mo‸st=3)\n") or "")


def run(script: str, folder: Path) -> str:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{script}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.stdout


def test_nothing_is_looked_for_where_no_plug_in_is_used(tmp_path: Path):
    put_example(tmp_path)
    script = """
from dsl.check import check
from dsl.declarations.installed import offers
assert check(["specs/quickstart.mix"]) == []
print(offers.cache_info().misses, "mixc_keep_short" in sys.modules)
"""
    assert run(script, tmp_path) == "0 False\n"


def test_what_is_run_is_not_imported_by_the_checker(tmp_path: Path):
    put_example(tmp_path)
    (tmp_path / "a.mix").write_text("edition: 2026\n" + source_with("keep_short(3)"))
    script = f"""
from dsl.check import check
assert check([{str(tmp_path / "a.mix")!r}]) == []
print("mixc_keep_short.declaration" in sys.modules, "mixc_keep_short.rows" in sys.modules, "numpy" in sys.modules)
"""
    assert run(script, tmp_path) == "True False False\n"


def test_what_a_plug_in_prints_or_exits_with_breaks_nothing(tmp_path: Path):
    (tmp_path / "mixc_loud.py").write_text("import sys\nprint('hello')\nsys.exit(3)\n")
    put(tmp_path, "mixc-loud", "1.0", {"loud": "mixc_loud:Loud", "odd": "mixc_loud", "empty": ""})
    (tmp_path / "a.mix").write_text("edition: 2026\n" + source_with("loud(3)", "odd", "empty"))
    script = f"""
import os
sys.stderr = open(os.devnull, "w")
from dsl.check import check
print(*(one.message for one in check([{str(tmp_path / "a.mix")!r}])), sep="\\n")
"""
    loud, odd, empty = run(script, tmp_path).splitlines()
    assert loud == "'loud' of mixc-loud 1.0 can't be imported: SystemExit: 3"
    assert "can't be imported" in odd
    assert "can't be imported" in empty
