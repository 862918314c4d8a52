"""`python -m dsl.reference`: writes the pages and the schema that are made from the declarations; --check compares."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from dsl.reference.pages import diagnostics_page, language_page
from dsl.reference.schema import schema

ROOT = Path(__file__).parents[2]


def generated() -> dict[str, str]:
    """The text of every generated file, by its path in the repository."""
    return {
        "docs/reference/language.md": language_page(),
        "docs/reference/diagnostics.md": diagnostics_page(),
        "editors/mix.schema.json": json.dumps(schema(), indent=1, ensure_ascii=False) + "\n",
    }


def stale(root: Path) -> list[str]:
    """Which generated files aren't there, or aren't what the declarations say now."""
    found: list[str] = []
    for name, text in generated().items():
        path = root / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            found.append(name)
    return found


def main() -> int:
    """0, or 1 where --check finds a stale file."""
    parser = argparse.ArgumentParser(prog="python -m dsl.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where a file is stale")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository, else the one that this file is in")
    arguments = parser.parse_args()
    old = stale(arguments.root)
    for name in old:
        if arguments.check:
            print(f"{name} is stale: run `make reference`, or `python -m dsl.reference`", file=sys.stderr)
        else:
            path = arguments.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(generated()[name], encoding="utf-8")
            print(f"wrote {name}")
    return 1 if old and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
