"""Records written as documents by a template, and fields that are set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runtime.data.rows import Format, Record, Rows, canonical_json, make_rows
from runtime.data.transforms.outcome import Outcome
from runtime.data.transforms.set_field import set_field
from runtime.data.transforms.template import template_rows
from runtime.errors import UserError

Json = dict[str, Any]


def rows_of(records: Sequence[Json]) -> Rows:
    return make_rows(
        Record(canonical_json(record), json.dumps(record, ensure_ascii=False), "data.jsonl", number)
        for number, record in enumerate(records, 1)
    )


def written(template: str, records: Sequence[Json], path: Path, format: Format = "chat") -> Outcome:
    return template_rows(rows_of(records), template, format, "letter.jinja", path / "rows")


CHATS = [
    {
        "messages": [{"role": "user", "content": "Wo liegt <b>Quay 4</b>?"}, {"role": "assistant", "content": "Dort."}],
        "tools": [{"name": "quays"}],
        "label": "ferry",
        "text": "a column that no chat reads",
    },
    {"messages": [{"role": "user", "content": "And now?"}], "label": "bus"},
]


def test_columns_and_derived_fields_are_written(tmp_path: Path) -> None:
    outcome = written("Q: {{ user }}\nA: {{ assistant or '-' }} ({{ turns }}, {{ label | upper }})\n", CHATS, tmp_path)
    assert sorted(outcome.rows.records(), key=lambda record: record["label"]) == [
        {"text": "Q: And now?\nA: - (0, BUS)", "label": "bus"},
        {"text": "Q: Wo liegt <b>Quay 4</b>?\nA: Dort. (1, FERRY)", "label": "ferry"},
    ]
    assert not outcome.set_aside.counts


def test_loops_as_in_chat_templates(tmp_path: Path) -> None:
    template = """
    {%- for message in messages %}
        {%- if not loop.first %}
            {{- "\n" }}
        {%- endif %}
        {{- message.role }}: {{ message.content }}
    {%- endfor %}"""
    outcome = written(template, CHATS, tmp_path)
    assert {record["text"] for record in outcome.rows.records()} == {
        "user: And now?",
        "user: Wo liegt <b>Quay 4</b>?\nassistant: Dort.",
    }


def test_rows_of_other_formats(tmp_path: Path) -> None:
    pair = {"messages": [{"role": "user", "content": "?"}], "chosen": "Yes.", "rejected": "No.", "source": "x"}
    (record,) = written("{{ chosen }} / {{ rejected }}", [pair], tmp_path, "preference").rows.records()
    assert record == {"text": "Yes. / No.", "source": "x"}
    document = {"text": "Once.", "title": "A tale"}
    (record,) = written("# {{ title }}\n\n{{ text }}", [document], tmp_path, "documents").rows.records()
    assert record == {"text": "# A tale\n\nOnce.", "title": "A tale"}
    tokenized = {"tokens": [1, 2], "trained": [1, 1], "label": "x"}
    (record,) = written("{{ label }}", [tokenized], tmp_path).rows.records()
    assert record == {"text": "x", "label": "x"}
    with pytest.raises(UserError, match="'user' is undefined"):
        written("{{ user }}", [tokenized], tmp_path)


def test_rows_that_give_no_document_are_set_aside(tmp_path: Path) -> None:
    template = "{% if label == 'bus' %} {% else %}{{ label }}{% endif %}{{ 1 // (label != 'tram') }}"
    outcome = written("{% if label != 'bus' %}{{ 7 // (label != 'tram') }}{% endif %} ", CHATS[1:], tmp_path)
    assert (len(outcome.rows), outcome.set_aside.counts) == (0, {"the template writes nothing": 1})
    tram = {"messages": CHATS[1]["messages"], "label": "tram"}
    outcome = written(template, [*CHATS, tram], tmp_path)
    assert outcome.set_aside.counts == {"the template fails: integer division or modulo by zero": 1}
    assert outcome.set_aside.examples["the template fails: integer division or modulo by zero"][0].place == (
        "data.jsonl:3"
    )
    assert len(outcome.rows) == 2
    outcome = written("{{ '\\ud800' }}", CHATS, tmp_path)
    assert outcome.set_aside.counts == {"the template writes half of a surrogate pair, which is no character": 2}


def test_a_name_that_a_row_lacks(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        written("{{ user }} {{ lable }}", CHATS[1:], tmp_path)
    assert caught.value.message == "the template letter.jinja fails on this row: 'lable' is undefined"
    assert caught.value.help == (
        "did you mean 'label'?; what only some rows have is asked for by `{% if NAME is defined %}`"
    )
    assert caught.value.place == "data.jsonl:1"
    with pytest.raises(UserError, match="has no attribute 'name'"):
        written("{{ messages[0].name }}", CHATS, tmp_path)
    outcome = written("{{ user }}{% if other is defined %}{{ other }}{% endif %}", CHATS, tmp_path)
    assert len(outcome.rows) == 2


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("one\n{% for message in messages %}", r"letter.jinja:2: this is not a Jinja template: Unexpected end"),
        ("{{ user | shout }}", "letter.jinja:1: this is not a Jinja template: No filter named 'shout'"),
        ("{% include '/etc/passwd' %}", "letter.jinja: the template reads another one"),
        ("{{ ''.__class__.__mro__ }}", "letter.jinja: the template does what it may not"),
        ("{{ messages.append(1) }}", "letter.jinja: the template does what it may not"),
        ("{{ user.__init__.__globals__['os'].system('id') }}", "the template does what it may not"),
        ("{{ raise_exception.__globals__ }}", "the template does what it may not"),
        ("{{ '{0.__class__}'.format(user) }}", "the template does what it may not"),
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
            "does what it may not: it does",
        ),
        ("{{ 'x' * 10 ** 10 }}", "does what it may not: it makes something longer"),
        ("{{ tokens }}", "a template has no `tokens`"),
        ("{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}", "the template nests too deep"),
    ],
)
def test_templates_that_are_refused(tmp_path: Path, template: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        written(template, CHATS, tmp_path)


def test_a_field_that_is_set(tmp_path: Path) -> None:
    records = [{"text": "a"}, {"text": "b", "origin": "web"}, {"text": "c", "origin": "ours"}]
    outcome = set_field(rows_of(records), "origin", "ours", tmp_path / "rows")
    assert sorted(map(canonical_json, outcome.rows.records())) == [
        '{"origin":"ours","text":"a"}',
        '{"origin":"ours","text":"b"}',
        '{"origin":"ours","text":"c"}',
    ]
    assert outcome.notes == ("1 of 3 rows had another value of 'origin'",)
    assert set_field(outcome.rows, "kind", "x", tmp_path / "again").notes == ()
