"""The page: whole, self-contained, escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from runtime.report.html import render
from runtime.report.results import StudyResults
from runtime.report.samples import moved_most
from runtime.report.study_report import StudyReport

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Elements, attributes and text; fails on a tag that isn't closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
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


@pytest.fixture(scope="module")
def page(report: StudyReport) -> Page:
    return Page(render(report))


def words(page: Page) -> str:
    return " ".join("".join(page.text).split())


def test_nothing_runs_and_nothing_is_fetched(page: Page):
    assert "script" not in {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name == "src" for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"url\(|@import", "".join(page.text))


def test_words_of_others_are_escaped(page: Page):
    assert "<script>alert(1)</script>" in words(page)
    assert "<b>Escape & me</b>" in words(page)


def test_links_lead_somewhere_and_ids_are_unique(page: Page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"] for tag, attributes in page.elements if tag == "a"} <= {f"#{id}" for id in ids}


def test_charts_are_told_in_words(page: Page):
    charts = [attributes for tag, attributes in page.elements if tag == "svg" and attributes.get("role") == "img"]
    assert len(charts) == 2 * (3 + 1 + 3)  # forests, one curve, three of training; wide and narrow
    assert all(attributes["aria-label"] for attributes in charts)
    assert any("reasons +31.1 (+20.0 to +42.8)" in (attributes["aria-label"] or "") for attributes in charts)


def test_the_page_says_all_that_a_reader_asks(page: Page):
    text = words(page)
    for said in (
        "Does deliberation in the answer beat the bare aligned answer?",
        "2 arms and the base · 3 seeds · 3 evaluations · 4 claims: 2 held, 1 failed, 1 undecided",
        "95% Wilson intervals over 60 items and 3 seeds",
        "With 3 seeds the intervals say little of how much training itself would vary.",
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
