"""One way through the house: which package may import which, and what a quick command never imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ALLOWED = {
    # The language is text in, declarations out: a checker in an editor or a review has nothing else installed.
    "dsl": {"dsl"},
    # Plans are pure: the same inputs, the same plan. What touches files, clocks or networks is the runtime's.
    "compiler": {"dsl", "compiler"},
    # The runtime serves any face: command line, notebook, launcher.
    "runtime": {"dsl", "compiler", "runtime"},
    "mixc": {"dsl", "compiler", "runtime", "mixc"},
}
HEAVY = {"jax", "flax", "optax", "orbax", "numpy", "pyarrow", "tensorstore", "tokenizers", "scipy", "inspect_ai"}


def imported(path: Path) -> set[str]:
    """Top-level names of all that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_rooms_below(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        foreign = (imported(path) & ALLOWED.keys()) - ALLOWED[package]
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


def test_the_language_needs_no_arrays() -> None:
    for path in (ROOT / "dsl").rglob("*.py"):
        assert not imported(path) & HEAVY, path.relative_to(ROOT)


def test_only_the_program_imports_jax() -> None:
    for path in (ROOT / "compiler").rglob("*.py"):
        if "program" not in path.relative_to(ROOT).parts:
            assert not imported(path) & {"jax", "flax", "optax"}, path.relative_to(ROOT)


@pytest.mark.parametrize(
    "command",
    [
        ["check", "specs/quickstart.mix"],
        ["fmt", "--check", "specs/quickstart.mix"],
        ["show", "specs/quickstart.mix"],
        ["explain", "MIX0203"],
        ["--help"],
    ],
    ids=lambda words: words[0],
)
def test_quick_commands_start_without_heavy_modules(command: list[str]) -> None:
    script = (
        "import sys\nfrom mixc.cli.main import main\n"
        f"try:\n    code = main({command!r})\nexcept SystemExit as end:\n    code = end.code\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[] 0", done.stderr
