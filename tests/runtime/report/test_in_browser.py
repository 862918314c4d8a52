"""The page in Chromium: quiet, legible, usable by keyboard, fast with many transcripts, and deaf to what they say.

Needs Chromium (Debian's `chromium`) and, for contrast and roles, axe-core: `npm install --prefix DIR axe-core`, and
MIXC_AXE=DIR/node_modules/axe-core/axe.min.js. MIXC_PICTURES=DIR leaves pictures there, for people to look at.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from browser import Tab, chromium, tab
from whole_study import matrix_report, whole_report

from runtime.report.html import render
from runtime.report.study_report import StudyReport

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="Chromium isn't installed: apt-get install chromium"),
]
AXE = os.environ.get("MIXC_AXE")
PICTURES = os.environ.get("MIXC_PICTURES")
PHONE, DESK = 390, 1280


def in_browser(script: Callable[[Tab], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with tab() as opened:
            return await script(opened)

    return asyncio.run(run())


def written(folder: Path, report: StudyReport) -> str:
    path = folder / "report.html"
    path.write_text(render(report), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module", params=["whole", "matrix"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    reports = {"whole": whole_report, "matrix": matrix_report}
    return written(tmp_path_factory.mktemp(request.param), reports[request.param]())


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_is_quiet_fits_and_passes_axe(address: str, width: int, dark: bool):
    async def script(page: Tab) -> list[Any]:
        await page.open(address, width, dark=dark)
        await page.run("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        await page.run(
            "document.querySelectorAll('.prompt').forEach((one) => (one.style.contentVisibility = 'visible'))"
        )
        assert await page.run("document.documentElement.scrollWidth <= innerWidth")
        if PICTURES:
            name = f"{Path(address).parent.name.rstrip('0')}-{width}-{'dark' if dark else 'light'}.png"
            await page.picture(Path(PICTURES, name), whole=True)
        complaints = list(page.complaints)
        if AXE is None:
            return complaints
        await page.run(f"{Path(AXE).read_text(encoding='utf-8')};0")
        checked = await page.run("axe.run({runOnly: ['color-contrast']}).then((all) => all.passes[0].nodes.length)")
        assert checked > 20
        tags = json.dumps(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"])
        found = await page.run(
            f"axe.run({{runOnly: {tags}}}).then((all) => all.violations.map((one) =>"
            " [one.id, one.nodes.map((node) => node.html + ' ' + node.failureSummary).slice(0, 3)]))"
        )
        return [*complaints, *found]

    assert in_browser(script) == []


@pytest.mark.skipif(AXE is None, reason="MIXC_AXE doesn't name axe-core's axe.min.js")
def test_axe_is_there():
    assert Path(str(AXE)).is_file()


def test_what_transcripts_say_does_nothing(tmp_path: Path):
    async def script(page: Tab) -> tuple[str, bool, bool, list[str]]:
        await page.open(written(tmp_path, whole_report()), DESK)
        await page.run("(document.querySelector('[name=text]').value = 'onerror', form('input'))".replace("form", FIRE))
        shown = await page.run("document.getElementById('transcript-list').textContent")
        images = await page.run("document.images.length === 0")
        return (
            await page.run("document.title"),
            images,
            "⟨U+202E⟩gnp.exe" in shown and HOSTILE in shown,
            page.complaints,
        )

    title, no_images, as_text, complaints = in_browser(script)
    assert title.startswith("reasons: ")
    assert (no_images, as_text, complaints) == (True, True, [])


HOSTILE = '</script><img src=x onerror="document.title=1"> <!-- '
FIRE = "((kind) => document.getElementById('transcript-filter').dispatchEvent(new Event(kind, {bubbles: true})))"


def test_filters_find_what_fits_and_show_a_few(tmp_path: Path):
    """Among 20,000 answers; `bench/report_page.py` measures how long that takes."""
    report = whole_report(720, samples=2)
    harmful = sum(
        label == "yes" for each in report.answers if each.eval == "harm" for label in each.table["label"].to_pylist()
    )

    async def script(page: Tab) -> tuple[str, int]:
        await page.open(written(tmp_path, report), DESK)
        choose = "[...form.elements.verdict.options].find((one) => one.text === 'yes').value"
        await page.run(
            f"(() => {{ const form = document.getElementById('transcript-filter');"
            f" form.elements.verdict.value = {choose}; {FIRE}('input'); }})()"
        )
        assert page.complaints == []
        count = await page.run("document.getElementById('transcript-count').textContent")
        return count, await page.run("document.querySelectorAll('#transcript-list article').length")

    count, articles = in_browser(script)
    assert count.startswith(f"{harmful:,} of 20,")
    assert articles == 10


def test_the_keyboard_reaches_filters_and_what_is_cut(tmp_path: Path):
    async def script(page: Tab) -> tuple[set[str], int, str]:
        await page.open(written(tmp_path, whole_report()), DESK)
        await page.run("document.querySelector('#transcript-filter select').focus()")
        reached: set[str] = set()
        for _ in range(12):
            reached.add(await page.run("document.activeElement.name ?? document.activeElement.className"))
            await page.press("Tab")
        await page.run("document.getElementById('transcript-more').focus()")
        await page.press("Enter")
        articles = await page.run("document.querySelectorAll('#transcript-list article').length")
        return reached, articles, await page.run("document.activeElement.tagName")

    reached, articles, focused = in_browser(script)
    assert reached >= {"eval", "arm", "verdict", "seed", "text", "beside"}
    assert (articles, focused) == (20, "ARTICLE")


def test_a_filter_stands_in_the_address(tmp_path: Path):
    address = written(tmp_path, whole_report())

    async def script(page: Tab) -> tuple[str, str]:
        await page.open(f"{address}#transcripts?eval=0&point=end&arm=1&text=case", DESK)
        count = await page.run("document.getElementById('transcript-count').textContent")
        return count, await page.run("document.querySelector('[name=arm]').selectedOptions[0].textContent")

    count, arm = in_browser(script)
    assert arm == "plain"
    assert "of 1,540 answers fit" in count
    assert not count.startswith("0 ")
