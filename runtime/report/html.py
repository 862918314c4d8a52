"""A study's page: one file that reads nothing from elsewhere and runs no script but its own, which it names by hash."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from runtime.evals.scale import plural
from runtime.looking.tokens import by_side
from runtime.model_calls.prices import money
from runtime.report.answer import answer
from runtime.report.charts import bar
from runtime.report.doses import doses
from runtime.report.evaluations import evaluation
from runtime.report.figure import minus
from runtime.report.figures import count, scientific, share, short
from runtime.report.results import BASE, StudyResults
from runtime.report.samples import Sample, moved_most
from runtime.report.study_report import StudyReport
from runtime.report.tables import Table, counts_of_claims, differences_are, excludes_zero, tables
from runtime.report.training import stages
from runtime.report.transcripts import transcripts
from runtime.report.visible import visible


def render(report: StudyReport, *, live: bool = False) -> str:
    """The whole page. All that comes from specs, data and models is escaped.

    `live`: for a page that `mixc watch` serves, which asks its server now and then whether there is a newer one.
    """
    shown = tables(report.results)
    held = transcripts(report.answers, report.by_length)
    return template("report.html.jinja").render(
        report=report,
        results=report.results,
        answer=answer(report.results, shown),
        status=_status(report.results, shown),
        differences_are=differences_are(shown),
        evaluations=[evaluation(report, table) for table in shown],
        stages=stages(report.curves),
        doses=doses(report.results.study, report.trains),
        samples=list(_samples(report)),
        mixes=list(_mixes(report.mixes)),
        transcripts=held if held.shown else None,
        **assets("report.css", *(["transcripts.js"] if held.shown else []), *(["live.js"] if live else [])),
        live=live,
    )


def assets(style: str, *scripts: str) -> dict[str, Any]:
    """The style sheet and the scripts of a page, as they stand in it, and the policy that allows these alone."""
    sheet, *programs = (_asset(name) for name in (style, *scripts))
    run = " ".join(_hash(each) for each in programs) or "'none'"
    policy = f"default-src 'none'; style-src {_hash(sheet)}; script-src {run}; base-uri 'none'; form-action 'none'"
    if "live.js" in scripts:
        policy += "; connect-src 'self'"
    return {"style": sheet, "scripts": programs, "policy": policy}


@cache
def _asset(name: str) -> Markup:
    """A file of ours; Markup, because what a style sheet and a script say isn't HTML."""
    return Markup((files("runtime.report") / "page" / name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


@cache
def template(name: str) -> jinja2.Template:
    """A template of this folder's pages. Whatever it writes out is escaped, and hidden characters are shown."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("runtime.report", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters.update(
        count=count, short=short, share=share, scientific=scientific, minus=minus, sentence=_sentence, money=money
    )
    environment.globals.update(plural=plural, excludes_zero=excludes_zero, by_side=by_side, bar=bar, BASE=BASE)
    return environment.get_template(name)


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _sentence(text: str) -> str:
    """Begins with a capital, ends with a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def _status(results: StudyResults, shown: Sequence[Table]) -> str:
    arms = {entry.arm for entry in results.entries}
    parts = [plural(len(arms - {BASE}), "arm") + (" and the base" if BASE in arms else "")]
    seeds = max((table.seeds for table in shown), default=0)
    parts += [plural(seeds, "seed")] if seeds else []
    parts.append(plural(len(shown), "evaluation"))
    if results.claims:
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in counts_of_claims(results))
        parts.append(f"{plural(len(results.claims), 'claim')}: {outcomes}")
    return " · ".join(parts)


@dataclass(frozen=True)
class ArmSamples:
    """Items of an evaluation that an arm moved most."""

    eval: str
    arm: str
    by_length: bool
    samples: tuple[Sample, ...]


def _samples(report: StudyReport) -> Iterator[ArmSamples]:
    for eval, by_arm in report.responses.items():
        for arm, table in by_arm.items():
            if arm != BASE and BASE in by_arm:
                by_length = eval in report.by_length
                samples = moved_most(by_arm[BASE], table, by_length)
                if samples:
                    yield ArmSamples(eval, arm, by_length, tuple(samples))


def _mixes(mixes: Sequence[Any]) -> Iterator[tuple[Any, list[int]]]:
    """Each mix of each train step once, with the seeds that it is trained with; shown is the first one's."""
    found: dict[tuple[str, str, str], list[Any]] = {}
    for mix in mixes:
        found.setdefault((mix["name"], mix["train"], mix["tokenizer"]), []).append(mix)
    for same in found.values():
        yield same[0], sorted({mix["seed"] for mix in same})
