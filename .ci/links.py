"""Checks that every relative link in the project's Markdown files leads to a file or folder that exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)>\s]+)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def main() -> int:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(listed, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")
    files = [ROOT / name for name in names if name and (ROOT / name).exists()]
    broken = [f"{file.relative_to(ROOT)}: {link}" for file in files for link in links(file) if not leads(file, link)]
    for line in broken:
        print(f"no such file: {line}", file=sys.stderr)
    print(f"{len(files)} Markdown files, {len(broken)} broken links")
    return 1 if broken else 0


def links(file: Path) -> list[str]:
    return LINK.findall(FENCE.sub("", file.read_text(encoding="utf-8")))


def leads(file: Path, link: str) -> bool:
    path = link.partition("#")[0]
    return re.match(r"[a-z][a-z0-9+.-]*:", link) is not None or not path or (file.parent / path).exists()


if __name__ == "__main__":
    sys.exit(main())
