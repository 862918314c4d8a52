"""Diagnostics as other programs take them: SARIF for code scanning, commands for GitHub's log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dsl.diagnostics.diagnostic import Diagnostic
from dsl.diagnostics.pages import read_page
from dsl.diagnostics.render import to_json

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def to_sarif(diagnostics: Sequence[Diagnostic]) -> dict[str, Any]:
    """A SARIF 2.1.0 log of one run; columns count code points."""
    records = to_json(diagnostics)
    codes = sorted({one.code for one in diagnostics})
    rules: list[dict[str, Any]] = []
    for code in codes:
        page = read_page(code)
        rules.append({"id": code, "shortDescription": {"text": page.title if page else code}})
    results = [
        {
            "ruleId": record["code"],
            "ruleIndex": codes.index(str(record["code"])),
            "level": record["severity"],
            "message": {"text": f"{record['message']}; {record['help']}" if record["help"] else record["message"]},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": str(record["file"]).replace("\\", "/")},
                        "region": {
                            "startLine": record["line"],
                            "startColumn": record["column"],
                            "endLine": record["end_line"],
                            "endColumn": record["end_column"],
                        },
                    }
                }
            ],
        }
        for record in records
    ]
    driver = {"name": "mixc", "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SARIF, "version": "2.1.0", "runs": [run]}


def to_github(diagnostics: Sequence[Diagnostic]) -> str:
    """Workflow commands, one a line, that GitHub shows beside the changed lines."""
    lines: list[str] = []
    for record in to_json(diagnostics):
        where = ",".join(
            f"{name}={_escaped(str(record[field]), property=True)}"
            for name, field in (
                ("file", "file"),
                ("line", "line"),
                ("col", "column"),
                ("endLine", "end_line"),
                ("endColumn", "end_column"),
                ("title", "code"),
            )
        )
        text = f"{record['message']}; {record['help']}" if record["help"] else str(record["message"])
        lines.append(f"::{record['severity']} {where}::{_escaped(text)}")
    return "".join(f"{line}\n" for line in lines)


def as_text(value: object) -> str:
    """JSON as commands print it."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _escaped(text: str, *, property: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if property else text
