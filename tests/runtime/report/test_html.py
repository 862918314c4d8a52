"""The page: whole, self-contained, escaped."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from whole_study import HOSTILE, matrix_report, whole_report

from runtime.report.html import render
from runtime.report.results import StudyResults
from runtime.report.samples import moved_most
from runtime.report.study_report import StudyReport
from runtime.report.visible import visible

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Elements, attributes and text; fails on a tag that isn't closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.inner: dict[str, list[str]] = {"style": [], "script": []}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        tag, attributes = next(((t, a) for t, a in reversed(self.elements) if t == (self.open or [""])[-1]), ("", {}))
        if tag in self.inner and "type" not in attributes:
            self.inner[tag].append(data)


@pytest.fixture(scope="module")
def page(report: StudyReport) -> Page:
    return Page(render(report))


def policy(page: Page) -> dict[str, str]:
    (text,) = [
        str(each["content"]) for tag, each in page.elements if each.get("http-equiv") == "Content-Security-Policy"
    ]
    return dict(part.strip().split(" ", 1) for part in text.split(";"))


def hashed(page: Page, tag: str) -> str:
    """The hashes of the elements of a tag that have no type of their own, as a policy names them."""
    return " ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in page.inner[tag])


def words(page: Page) -> str:
    return " ".join("".join(page.text).split())


def test_nothing_runs_and_nothing_is_fetched(page: Page):
    assert "script" not in {tag for tag, _ in page.elements}  # it holds no transcripts
    assert policy(page) == {
        "default-src": "'none'",
        "style-src": hashed(page, "style"),
        "script-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name == "src" for name in attributes)
        assert "style" not in attributes  # the policy forbids them
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"url\(|@import", "".join(page.text))


def test_words_of_others_are_escaped(page: Page):
    assert "<script>alert(1)</script>" in words(page)
    assert "<b>Escape & me</b>" in words(page)


def test_transcripts_run_one_script_of_ours_and_can_not_end_their_element():
    page = Page(render(whole_report(prompts=4, samples=1)))
    assert [attributes.get("type") for tag, attributes in page.elements if tag == "script"] == [
        "application/json",
        None,
    ]
    assert policy(page)["script-src"] == hashed(page, "script")
    data = json.loads(next(text for text in page.text if text.startswith('{"arms"')))
    hostile = data["prompts"][data["answers"]["prompt"][data["answers"]["text"].index(visible(HOSTILE))]]
    assert hostile["messages"][1][1] == visible(HOSTILE)
    assert "img" not in {tag for tag, _ in page.elements}


def test_what_hides_or_reorders_text_is_written_out(report: StudyReport):
    text = words(Page(render(replace(report, question="Is it \u202efdp.exe\u2066 or\x00 not\u200b?"))))
    assert "Is it ⟨U+202E⟩fdp.exe⟨U+2066⟩ or⟨U+0000⟩ not⟨U+200B⟩?" in text


def test_a_page_that_is_served_may_ask_its_server_alone(report: StudyReport):
    page = Page(render(report, live=True))
    assert policy(page)["connect-src"] == "'self'"
    assert policy(page)["script-src"] == hashed(page, "script")


def test_the_page_says_what_stands_beside_results():
    text = words(Page(render(whole_report(prompts=4, samples=1))))
    for said in (
        "actions@seed=1, after update 150",
        "3 of 12 canaries differ",
        "reaches below",
        "anthropic/claude-sonnet-4-5",
        "$3.31",
        "data/honeypots/*.jsonl",
        "Rows of general_chat are not shown: its file is gone.",
        "after filter(tokens in 1..2048)",
        "7 trained",
        "distance to harm",
        "Same run as",
    ):
        assert said in text, said


def test_the_page_of_a_study_that_runs_says_so(report: StudyReport):
    text = words(Page(render(replace(report, results=replace(report.results, complete=False)))))
    assert "The study isn't complete: this is what is known so far." in text


def test_a_matrix_is_a_grid_with_every_arm():
    page = Page(render(matrix_report()))
    cells = [attributes["class"] for tag, attributes in page.elements if tag == "td" and "shade-" in str(attributes)]
    assert len(cells) == 4 * 6
    assert "data by dose" in words(page)


def test_links_lead_somewhere_and_ids_are_unique(page: Page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"] for tag, attributes in page.elements if tag == "a"} <= {f"#{id}" for id in ids}


def test_charts_are_told_in_words(page: Page):
    charts = [attributes for tag, attributes in page.elements if tag == "svg" and attributes.get("role") == "img"]
    assert len(charts) == 2 * (3 + 1 + 3)  # forests, one curve, three of training; wide and narrow
    assert all(attributes["aria-label"] for attributes in charts)
    assert any(
        re.search(r"reasons \+31\.1 \(\+\d+\.\d to \+\d+\.\d\)", attributes["aria-label"] or "")
        for attributes in charts
    )


def test_the_page_says_all_that_a_reader_asks(page: Page):
    text = words(page)
    for said in (
        "Does deliberation in the answer beat the bare aligned answer?",
        "2 arms and the base · 3 seeds · 3 evaluations · 4 claims: 2 held, 1 failed, 1 undecided",
        "95% Wilson intervals over 60 items and 3 seeds",
        "The intervals hold how much training itself varies, as far as 3 seeds tell.",
        "Left is 56.1%, right 63.3%; left less right \N{MINUS SIGN}7.2 points",
        "402,113",
        "unknown",
        "3 rows of honeypot_samples: broken: not JSON",
        "data/honeypots/a.jsonl:12",
        "135M",
        "1.70e14",
        "goals-53-quarterly-review",
        "0f" * 32,
        "0.10.2",
    ):
        assert said in text, said


def test_the_same_report_gives_the_same_page(report: StudyReport):
    assert render(report) == render(report)


def test_a_study_of_nothing_is_still_a_page():
    page = Page(render(StudyReport(None, StudyResults("empty", (), (), ()))))
    assert "empty" in words(page)


def test_an_arm_that_was_evaluated_at_one_point_has_no_curve(report: StudyReport):
    results = replace(report.results, entries=tuple(one for one in report.results.entries if one.eval == "bait_rate"))
    charts = [tag for tag, attributes in Page(render(StudyReport(None, results))).elements if tag == "svg"]
    assert len(charts) == 2


def test_samples_are_those_that_moved_most(report: StudyReport):
    base, arm = report.responses["bait_margin"]["base"], report.responses["bait_margin"]["reasons"]
    found = moved_most(base, arm, by_length=False, count=60)
    moved = [abs(one.arm_margin - one.base_margin) for one in found]
    assert moved == sorted(moved, reverse=True)
    assert len(found) == 60
    assert found[:3] == moved_most(base, arm, by_length=False)
    assert moved_most(base.slice(0, 5), arm.slice(5), by_length=False) == []
