"""What `mixc plan` prints of specs that only their data shows to be wrong, or that this version doesn't run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mixc.cli.main import main
from tests.tiny import make_tiny_model

GOLDEN = Path(__file__).parents[1] / "golden" / "plan_diagnostics"
FIXTURES = sorted(GOLDEN.glob("MIX*.mix"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The specs with their data, and a tiny model beside them. Its store is shared, so that data is read once."""
    folder = shutil.copytree(GOLDEN, tmp_path_factory.mktemp("plans") / "project")
    make_tiny_model(folder / "tiny", seed=1)
    return folder


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_what_is_printed(
    path: Path,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["plan", path.name]) == 1
    printed = "".join(capsys.readouterr()).replace(str(project), "PROJECT")
    expected = path.with_suffix(".txt")
    if request.config.getoption("--update-golden"):
        expected.write_text(printed, encoding="utf-8")
    assert printed == expected.read_text(encoding="utf-8")
    assert f"[{path.name[:7]}]" in printed
