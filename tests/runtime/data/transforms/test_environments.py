"""Tools and system prompts that rows get around an unchanged prompt."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.rows import Record, Rows, canonical_json, make_rows
from runtime.data.transforms.system import add_system, read_system_prompts
from runtime.data.transforms.tools import add_tools, read_tool_definitions
from runtime.errors import UserError

Json = dict[str, Any]
ALWAYS = Fraction(1)


def rows_of(records: Sequence[Json]) -> Rows:
    return make_rows(
        Record(canonical_json(record), json.dumps(record, ensure_ascii=False), "data.jsonl", number)
        for number, record in enumerate(records, 1)
    )


def tool(name: str, description: str = "…") -> Json:
    parameters = {"type": "object", "properties": {"place": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def prompt(text: str, **columns: Any) -> Json:
    return {"messages": [{"role": "user", "content": text}], **columns}


MANY = [prompt(f"Request {number}") for number in range(1200)]
TOOLS = [tool(name) for name in "abcdefgh"]


def write(path: Path, content: object) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text)
    return path


def by_prompt(rows: Rows) -> dict[str, list[str]]:
    """Names of the tools of each row, by its user's words."""
    return {
        record["messages"][-1]["content"]: [each["function"]["name"] for each in record.get("tools", [])]
        for record in rows.records()
    }


# Tools.


def test_the_share_of_rows_and_the_number_of_tools_are_as_asked(tmp_path: Path) -> None:
    outcome = add_tools(rows_of(MANY), TOOLS, 1, 4, Fraction(6, 10), tmp_path / "rows")
    sizes = np.array([len(names) for names in by_prompt(outcome.rows).values()])
    assert 0.55 < np.mean(sizes > 0) < 0.65
    assert set(sizes) == {0, 1, 2, 3, 4}
    assert all(140 < np.sum(sizes == size) < 225 for size in (1, 2, 3, 4))
    assert outcome.notes == (f"{np.sum(sizes > 0)} of 1,200 rows got tools, {sizes.sum():,} in all",)
    assert outcome.facts["rows by tools added"] == {str(size): int(np.sum(sizes == size)) for size in range(5)}
    reached = outcome.facts["rows by tool"]
    assert list(reached) == list("abcdefgh")
    assert max(reached.values()) < 1.4 * min(reached.values())


def test_prompts_stay_byte_for_byte_and_every_row_is_there(tmp_path: Path) -> None:
    hard = [prompt("a\0b\u2028 𝄞 \r\n <|im_start|>"), prompt("é"), prompt("e\u0301", label="x"), prompt("é", tools=[])]
    outcome = add_tools(rows_of(hard), TOOLS, 2, 2, ALWAYS, tmp_path / "rows")
    before = sorted(canonical_json({**record, "tools": None}) for record in hard)
    after = sorted(canonical_json({**record, "tools": None}) for record in outcome.rows.records())
    assert before == after
    assert {len(record["tools"]) for record in outcome.rows.records()} == {2}


def test_all_rows_get_some_at_a_chance_of_one_and_few_at_a_small_one(tmp_path: Path) -> None:
    rows = rows_of(MANY)
    assert all(by_prompt(add_tools(rows, TOOLS, 1, 1, ALWAYS, tmp_path / "all").rows).values())
    few = by_prompt(add_tools(rows, TOOLS, 1, 1, Fraction(1, 100), tmp_path / "few").rows)
    more = by_prompt(add_tools(rows, TOOLS, 1, 1, Fraction(1, 10), tmp_path / "more").rows)
    assert 1 <= sum(map(bool, few.values())) <= 30
    assert all(more[text] == names for text, names in few.items() if names)


def test_no_name_stands_twice_in_a_row(tmp_path: Path) -> None:
    own = [tool("a", "the row's own"), {"name": "b", "parameters": {"type": "object"}}]
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "c", "arguments": "{}"}}]}
    chat = {"messages": [{"role": "user", "content": "?"}, call, {"role": "tool", "content": "!"}], "tools": own}
    doubled = [*TOOLS, tool("d", "another d")]
    outcome = add_tools(rows_of([chat]), doubled, 8, 8, ALWAYS, tmp_path / "rows")
    (record,) = outcome.rows.records()
    assert record["tools"][:2] == own
    assert sorted(each["function"]["name"] for each in record["tools"][2:]) == list("defgh")
    assert record["messages"] == chat["messages"]
    assert outcome.notes[1] == "1 rows got fewer tools than drawn: they have or call tools of the same names"


def test_more_tools_than_there_are_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 tools a row are asked for, and the files define 2"):
        add_tools(rows_of(MANY[:2]), [tool("a"), tool("b"), tool("b", "again")], 1, 3, ALWAYS, tmp_path / "rows")


def test_a_definition_that_is_added_goes_to_some_rows_and_leaves_the_others(tmp_path: Path) -> None:
    rows = rows_of(MANY)
    before = by_prompt(add_tools(rows, TOOLS, 2, 2, ALWAYS, tmp_path / "before").rows)
    after = by_prompt(add_tools(rows, [*TOOLS, tool("new")], 2, 2, ALWAYS, tmp_path / "after").rows)
    changed = [text for text in before if before[text] != after[text]]
    assert all("new" in after[text] for text in changed)
    assert 0.16 < len(changed) / len(MANY) < 0.28  # two of nine places are the new one's
    assert all([name for name in after[text] if name != "new"] == before[text][:1] for text in changed)


@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(0, 3), st.fractions(Fraction(1, 50), 1))
@settings(max_examples=25, deadline=None)
def test_what_a_row_gets_follows_from_it_and_the_definitions(
    tmp_path_factory: pytest.TempPathFactory, seed: int, low: int, more: int, chance: Fraction
) -> None:
    """However definitions are spread over files, repeated and ordered, and whatever rows stand beside it."""
    folder, drawn = tmp_path_factory.mktemp("tools"), random.Random(seed)
    turned = [{"type": "function", "function": dict(reversed(each["function"].items()))} for each in TOOLS[:3]]
    whole = read_tool_definitions([write(folder / "all.json", [*TOOLS, *turned])])
    spread = drawn.sample([*TOOLS, *TOOLS[2:5], *turned], len(TOOLS) + 6)
    cut = drawn.randrange(1, len(spread))
    lines = "\n\n".join(map(json.dumps, spread[cut:]))
    parts = [write(folder / "z.json", spread[:cut]), write(folder / "a.jsonl", lines)]
    again = read_tool_definitions(parts)
    assert list(map(json.dumps, again)) == list(map(json.dumps, whole))
    assert len(whole) == len(TOOLS)
    some = MANY[:40]
    expected = by_prompt(add_tools(rows_of(some), whole, low, low + more, chance, folder / "some").rows)
    others = drawn.sample([*some, *MANY[500:530]], 70)
    found = by_prompt(add_tools(rows_of(others), again, low, low + more, chance, folder / "others").rows)
    assert {text: found[text] for text in expected} == expected
    assert all(not names or low <= len(names) <= low + more for names in found.values())
    assert all(len(set(names)) == len(names) for names in found.values())


def test_draws_are_the_same_on_every_machine_and_in_every_version(tmp_path: Path) -> None:
    drawn = by_prompt(add_tools(rows_of(MANY[:4]), TOOLS, 1, 3, Fraction(6, 10), tmp_path / "tools").rows)
    assert drawn == {"Request 0": [], "Request 1": ["h", "e", "f"], "Request 2": ["g"], "Request 3": ["g"]}
    rows = add_system(rows_of(MANY[:4]), PROMPTS, Fraction(6, 10), tmp_path / "system").rows
    first = {record["messages"][-1]["content"]: record["messages"][0]["content"] for record in rows.records()}
    library = "You answer for a library."
    assert first == {"Request 0": "Request 0", "Request 1": library, "Request 2": library, "Request 3": "Request 3"}


def test_forms_of_definitions(tmp_path: Path) -> None:
    bare = {"name": "a", "description": "…", "parameters": {"type": "object", "properties": {}}}
    flat = {"type": "function", "name": "b", "parameters": {"type": "object", "properties": {}}}
    paths = [
        write(tmp_path / "one.json", tool("c")),
        write(tmp_path / "bare.json", [bare, flat]),
        write(tmp_path / "lines.jsonl", "\ufeff" + json.dumps({"function": {"name": "d"}}) + "\n\n"),
    ]
    found = read_tool_definitions(paths)
    assert {each["function"]["name"] for each in found} == set("abcd")
    assert all(each["type"] == "function" for each in found)
    assert all(each["function"]["parameters"]["type"] == "object" for each in found)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[{]", r"tools.json: it is not JSON: .* at column 3"),
        ('["a"]', "tools.json, item 1: this is not the definition of a function"),
        ('{"type": "retrieval"}', "this is not the definition of a function"),
        ('{"type": "function", "function": {}}', "the definition has no name"),
        ('[{"name": "a"}, {"name": "a b"}]', "item 2: 'a b' names no function\nhelp: take 1 to 64 letters"),
        ('{"name": "a", "input_schema": {}}', "'a' has a key 'input_schema', which a definition hasn't"),
        ('{"name": "a", "description": 3}', "the description of 'a' is not a text"),
        ('{"name": "a", "parameters": {"x": "string"}}', "the parameters of 'a' are no object schema"),
        (
            '{"name": "a", "parameters": {"type": "object", "properties": []}}',
            r"\[\] is not of type 'object' \(at \$\.p",
        ),
        (
            '{"name": "a", "parameters": {"type": "object", "properties": {"b": {"type": "strin"}}}}',
            r"'strin' is not valid .*\(at \$\.properties\.b\.type\)",
        ),
        ('{"name": "a", "description": "\\ud800"}', "half of a surrogate pair"),
        ("[" * 100_000, "it nests deeper than 256 levels"),
        ('{"name": "a", "name": "b"}', "it has the key 'name' twice"),
    ],
)
def test_what_is_no_definition(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_tool_definitions([write(tmp_path / "tools.json", content)])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "tools.jsonl").write_bytes(b'{"name": "a"}\n{"name": "\xff"}\n')
    with pytest.raises(UserError, match=r"tools.jsonl:2: it is not in UTF-8 \(byte 0xff at 11\)"):
        read_tool_definitions([tmp_path / "tools.jsonl"])
    with pytest.raises(UserError, match=r"none.json: can't read the file: No such file"):
        read_tool_definitions([tmp_path / "none.json"])


def test_every_example_definition_and_prompt_reaches_some_row(tmp_path: Path) -> None:
    data = Path(__file__).parents[4] / "specs" / "data"
    definitions = read_tool_definitions(sorted((data / "tools").glob("*.json")))
    outcome = add_tools(rows_of(MANY), definitions, 1, 4, Fraction(6, 10), tmp_path / "tools")
    assert set(outcome.facts["rows by tool"]) == {definition["function"]["name"] for definition in definitions}
    prompts = read_system_prompts([data / "system_prompts.jsonl"])
    outcome = add_system(outcome.rows, prompts, Fraction(8, 10), tmp_path / "system")
    assert outcome.notes[0].endswith(f"rows got one of {len(prompts)} system prompts, of {len(prompts)}")


# System prompts.

PROMPTS = ["You answer for a library.", "Be brief.\n\nBe kind.", "Du bist ein Lotse."]


def test_a_share_of_the_rows_gets_a_prompt_before_its_messages(tmp_path: Path) -> None:
    rows = rows_of(MANY)
    outcome = add_system(rows, PROMPTS, Fraction(8, 10), tmp_path / "rows")
    got = [record["messages"] for record in outcome.rows.records() if record["messages"][0]["role"] == "system"]
    assert 0.76 < len(got) / len(MANY) < 0.84
    assert outcome.notes == (f"{len(got):,} of 1,200 rows got one of 3 system prompts, of 3",)
    counts = [sum(messages[0]["content"] == each for messages in got) for each in PROMPTS]
    assert sum(counts) == len(got)
    assert max(counts) < 1.3 * min(counts)
    users = sorted(canonical_json(record["messages"][-1:]) for record in outcome.rows.records())
    assert users == sorted(canonical_json(record["messages"]) for record in MANY)
    assert max(len(messages) for messages in got) == 2


def test_a_row_keeps_its_own_system_prompt(tmp_path: Path) -> None:
    own = {"messages": [{"role": "system", "content": "Mine."}, {"role": "user", "content": "?"}]}
    outcome = add_system(rows_of([own, prompt("x")]), PROMPTS, ALWAYS, tmp_path / "rows")
    assert own in list(outcome.rows.records())
    assert outcome.notes == (
        "1 of 2 rows got one of 1 system prompts, of 3",
        "1 of 2 rows have a system prompt of their own and keep it",
    )


@given(st.permutations(PROMPTS), st.integers(1, 2), st.fractions(Fraction(1, 50), 1))
@settings(max_examples=25, deadline=None)
def test_which_prompt_a_row_gets_follows_from_it_and_the_prompts(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], cut: int, chance: Fraction
) -> None:
    folder = tmp_path_factory.mktemp("system")
    lines = "\n".join(json.dumps(each) for each in (*order[cut:], *order))
    paths = [write(folder / "b.json", order[:cut]), write(folder / "a.jsonl", lines)]
    prompts = read_system_prompts(paths)
    assert prompts == sorted(PROMPTS)
    some, more = MANY[:40], MANY[:40] + MANY[90:120]
    expected = set(map(canonical_json, add_system(rows_of(some), PROMPTS, chance, folder / "some").rows.records()))
    found = set(map(canonical_json, add_system(rows_of(more), prompts, chance, folder / "more").rows.records()))
    assert expected <= found


def test_forms_of_system_prompts(tmp_path: Path) -> None:
    (tmp_path / "whole.md").write_text("# Library\n\nAnswer briefly.\n", encoding="utf-8-sig")
    paths = [
        tmp_path / "whole.md",
        write(tmp_path / "a.jsonl", '{"text": "one", "id": 3}\n"two"\n{"system": "three"}\n{"prompt": "four"}'),
        write(tmp_path / "list.json", ["five", {"text": "one"}]),
    ]
    assert read_system_prompts(paths) == ["# Library\n\nAnswer briefly.", "five", "four", "one", "three", "two"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", '"x"\n" "', r"a.jsonl:2: this is no system prompt, which is a text"),
        ("a.json", '[{"content": "x"}]', r"a.json, item 1: this is no system prompt\nhelp: name it by one of text"),
        ("a.json", '[{"text": "x", "prompt": "y"}]', "item 1: this is no system prompt"),
        ("a.txt", " \n", "a.txt: this is no system prompt"),
        ("a.yaml", "x", "can't read a file that ends in '.yaml'\nhelp: use one of .jsonl"),
    ],
)
def test_what_is_no_system_prompt(tmp_path: Path, name: str, content: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_system_prompts([write(tmp_path / name, content)])


def test_no_system_prompt_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the files hold no system prompt"):
        add_system(rows_of(MANY[:1]), [], ALWAYS, tmp_path / "rows")


def test_rows_that_were_tokenized_before(tmp_path: Path) -> None:
    rows = rows_of([{"tokens": [1, 2], "trained": [1, 1]}])
    with pytest.raises(UserError, match="this row was tokenized before, and has no messages"):
        add_tools(rows, TOOLS, 1, 2, ALWAYS, tmp_path / "rows")
    with pytest.raises(UserError, match="this row was tokenized before, and has no messages"):
        add_system(rows, PROMPTS, ALWAYS, tmp_path / "rows")
