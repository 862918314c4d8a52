"""Writes constraints.txt: what pip resolves pyproject.toml to, as plain pins.

`make constraints` keeps the versions that constraints.txt has and adds what is missing; `UPGRADE=1` takes the newest.
The oldest Python comes first and decides; newer ones get the same versions wherever those have wheels for them, so that
behaviour is the same, and lines with a marker where they don't. Each is resolved for its first release (3.11.0):
distributions ship early ones, and some packages ask for later ones. At the end every pin is checked for wheels.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "constraints.txt"
PYTHONS = ("3.11", "3.12", "3.13")
PEER_PYTHON = "3.11"
EXTRAS = ("local", "inspect", "remote", "ray", "dev")
PLATFORMS = {
    machine: [f"manylinux{tag}_{machine}" for tag in ("_2_28", "_2_27", "_2_17", "2014")]
    for machine in ("x86_64", "aarch64")
}

HEADER = """\
# Every version that `make` installs, for Python {pythons}; each has wheels for {machines} (glibc 2.28).
# Made by `make constraints` (.ci/constraints.py) from pyproject.toml: the dependencies, the extras {extras}, and the
# dependency groups. Edit pyproject.toml and run that, not this file. In use: pip install -c constraints.txt ...
"""
PEER_HEADER = """
# What mixc is compared with by `make test-all` and `make bench`. Torch's own CUDA packages have no pins here.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions, not those in the file")
    arguments = parser.parse_args()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    extras = project["project"]["optional-dependencies"]
    wanted = project["project"]["dependencies"] + groups["build"] + [line for name in EXTRAS for line in extras[name]]
    kept = [] if arguments.upgrade or not TARGET.exists() else [str(TARGET)]

    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first.txt"
        for python in PYTHONS:
            command = shutil.which(f"python{python}")
            if command is None or subprocess.run([command, "-c", ""], capture_output=True).returncode != 0:
                print(f"python{python} is not in PATH: only its wheels are checked")
                continue
            pip = make_pip(command, Path(folder) / python)
            options = ["--python-version", python, "--target", str(Path(folder) / "nowhere")]
            print(f"resolving for Python {python}")
            found[python] = resolve(pip, wanted, [str(first)] if first.exists() else kept, *options)
            if not first.exists():
                first.write_text(pins(found[python]))
            if python == PEER_PYTHON:
                print("resolving what we compare with")
                here = Path(folder) / "peer.txt"
                here.write_text(pins(found[python]))
                peer = resolve(pip, [*wanted, *groups["peer"]], [str(here)], *options)
                models = resolve(pip, groups["model"] + groups["embedding"], [], *options, "--no-deps")
        if PEER_PYTHON not in found:
            print(f"python{PEER_PYTHON} is needed in PATH", file=sys.stderr)
            return 1

        peer = {name: version for name, version in peer.items() if name not in found[PEER_PYTHON]}
        lines = merged({python: pinned | models for python, pinned in found.items()})
        header = HEADER.format(pythons=", ".join(PYTHONS), machines=" and ".join(PLATFORMS), extras=", ".join(EXTRAS))
        text = header + "\n".join(lines) + "\n" + PEER_HEADER
        text += "".join(
            f'{name}=={version}; python_version == "{PEER_PYTHON}"\n' for name, version in sorted(peer.items())
        )

        missing = missing_wheels(pip, found, Path(folder))
    for line in missing:
        print(line, file=sys.stderr)
    if missing:
        return 1
    TARGET.write_text(text)
    print(f"{TARGET.name}: {len(lines)} pins, and {len(peer)} for comparisons")
    return 0


def make_pip(python: str, folder: Path) -> list[str]:
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    return [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]


def resolve(pip: list[str], requirements: list[str], constraints: list[str], *options: str) -> dict[str, str]:
    """Versions by name. If the constraints can't be met, resolves without them."""
    report = [*pip, "install", "-qq", "--dry-run", "--ignore-installed", "--only-binary", ":all:", "--report", "-"]
    bounds = [word for file in constraints for word in ("--constraint", file)]
    done = subprocess.run([*report, *options, *bounds, *requirements], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        if not constraints:
            sys.exit(done.returncode)
        print("these pins don't fit; resolving without them")
        return resolve(pip, requirements, [], *options)
    entries = [entry["metadata"] for entry in json.loads(done.stdout)["install"]]
    return {
        entry["name"].lower().replace("_", "-"): entry["version"].partition("+")[0]  # a local build's own suffix
        for entry in entries
        if not entry["name"].startswith(("nvidia-", "cuda-", "triton"))
    }


def pins(versions: dict[str, str]) -> str:
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


def merged(found: dict[str, dict[str, str]]) -> list[str]:
    """One line a package, or one for each Python where the versions differ."""
    lines: list[str] = []
    for name in sorted(set().union(*found.values())):
        versions = {python: pinned[name] for python, pinned in found.items() if name in pinned}
        if len(set(versions.values())) == 1:
            lines.append(f"{name}=={next(iter(versions.values()))}")
        else:
            lines += [f'{name}=={version}; python_version == "{python}"' for python, version in versions.items()]
    return lines


def missing_wheels(pip: list[str], found: dict[str, dict[str, str]], folder: Path) -> list[str]:
    """One line for each Python and machine that lacks a wheel. A Python that isn't here has the newest one's pins."""
    lines: list[str] = []
    for python in PYTHONS:
        file = folder / "wheels.txt"
        file.write_text(pins(found.get(python, found[max(found)])))
        for machine, tags in PLATFORMS.items():
            print(f"looking for wheels for Python {python} on {machine}")
            platform = [word for tag in tags for word in ("--platform", tag)]
            check = [
                *pip,
                "install",
                "-qq",
                "--dry-run",
                "--ignore-installed",
                "--no-deps",
                "--only-binary",
                ":all:",
            ]
            check += ["--python-version", python, "--implementation", "cp", "--target", str(folder / "nowhere")]
            done = subprocess.run([*check, *platform, "--requirement", str(file)], capture_output=True, text=True)
            if done.returncode != 0:
                lines.append(f"Python {python} on {machine}: {done.stderr.strip()}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
