"""Packages with transforms, installed into a folder as an installer leaves them: without one, and without network."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dsl.declarations.installed import forget

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "mixc-keep-short"


def put(folder: Path, name: str, version: str, offers: Mapping[str, str]) -> None:
    """What says that a package is installed, and which transforms it offers: words to `MODULE:CLASS`."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{word} = {target}" for word, target in offers.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[mixc.transforms]", *lines, ""]))


def put_example(folder: Path) -> None:
    """The example of the docs, as its pyproject.toml says."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    put(folder, project["name"], project["version"], project["entry-points"]["mixc.transforms"])
    (folder / "mixc_keep_short").symlink_to(EXAMPLE / "mixc_keep_short")


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """With what is installed in a folder; modules of it are forgotten after."""
    sys.path.insert(0, str(folder))
    forget()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(f"{folder}/"):
                del sys.modules[name]
        forget()


def put_broken(folder: Path) -> None:
    """Two packages with transforms that can't be used, each for another reason."""
    offers = {
        "keep_polite": "mixc_polite.declaration:KeepPolite",
        "keep_long": "mixc_long:KeepLong",
        "keep_twice": "mixc_long:KeepTwice",
        "keep-dashed": "mixc_long:KeepLong",
        "filter": "mixc_long:KeepLong",
    }
    put(folder, "mixc-polite", "1.0", offers)
    put(folder, "mixc-other", "2.0", {"keep_twice": "mixc_long:KeepTwice"})
    (folder / "mixc_polite").mkdir()
    (folder / "mixc_polite" / "__init__.py").write_text("")
    (folder / "mixc_polite" / "declaration.py").write_text("import politeness\n")
    (folder / "mixc_long.py").write_text(
        "from mixc.plugins import Count, Transform, field\n\n\n"
        "class KeepLong(Transform):\n"
        '    """Keeps long documents."""\n\n'
        '    takes = ("documents",)\n'
        '    runs = "mixc_long.keep"\n'
        '    least: int = field(Count(), "The fewest words.")\n'
    )
