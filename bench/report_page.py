"""How fast a report's page filters transcripts in Chromium, from the event to the finished layout; 100 ms are asked.

python bench/report_page.py
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)
sys.path.insert(1, str(ROOT / "tests" / "runtime" / "report"))

from browser import chromium, tab
from whole_study import whole_report

from bench.record import record
from runtime.report.html import render

ASKED = 0.1
"""Seconds."""
PROMPTS = (37, 720)
"""Answered twice, in two evaluations, by three arms with two seeds and the base: 1,000 and 20,000 answers."""
FILTERS = ({"text": "noon"}, {"text": "the shift"}, {"text": "", "verdict": "1"}, {"verdict": "", "arm": "2"})
REPEATS = 5
_SCRIPT = """
(() => {
  const form = document.getElementById("transcript-filter");
  for (const [name, value] of Object.entries(%s)) form.elements[name].value = value;
  const start = performance.now();
  form.dispatchEvent(new Event("input", {bubbles: true}));
  document.body.offsetHeight;
  return (performance.now() - start) / 1000;
})()
"""


def main() -> None:
    if chromium() is None:
        sys.exit("Chromium isn't installed: apt-get install chromium")
    for prompts in PROMPTS:
        report = whole_report(prompts, samples=2)
        answers = sum(len(each.table) for each in report.answers)
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder, "report.html")
            page.write_text(render(report), encoding="utf-8")
            seconds = asyncio.run(spent(page))
        slowest = max(seconds, key=statistics.median)
        median = statistics.median(slowest)
        print(f"{answers:,} answers: {1000 * median:.1f} ms, at best {1000 * min(slowest):.1f} (the slowest filter)")
        work = f"{answers:,} transcripts, the slowest of {len(FILTERS)} filters, to the finished layout"
        record(
            "report_page", work, f"{1000 * median:.1f} ms", f"{1000 * ASKED:.0f} ms asked", ASKED / median, ["jinja2"]
        )


async def spent(page: Path) -> list[list[float]]:
    """Seconds of every filter, `REPEATS` times each."""
    async with tab() as opened:
        await opened.open(page.as_uri(), 1280)
        await opened.run("new Promise((done) => setTimeout(done, 2000))")  # the page prepares its search when idle
        found: list[list[float]] = [[] for _ in FILTERS]
        for _ in range(REPEATS):
            for each, times in zip(FILTERS, found, strict=True):
                times.append(await opened.run(_SCRIPT % json.dumps(each)))
        return found


if __name__ == "__main__":
    main()
