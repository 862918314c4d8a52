"""What is generated from the declarations: up to date, with links that lead somewhere, and a schema that fits."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from jsonschema import Draft7Validator

from dsl.check import check
from dsl.declarations import KINDS
from dsl.reference.__main__ import ROOT, generated, stale
from dsl.reference.entries import built_ins, kinds
from dsl.reference.notes import GROUPS, SCALARS, UNITS
from dsl.reference.schema import schema
from dsl.scalars import FORMS
from dsl.values import Unit
from tests.dsl.loading import ROOT as PROJECT
from tests.dsl.loading import reader, spec

GOLDEN = ROOT / "tests" / "golden" / "diagnostics"
SPECS = [*sorted((ROOT / "tests" / "examples").glob("*.mix")), ROOT / "specs" / "quickstart.mix"]
VALIDATOR = Draft7Validator(schema())


def test_generated_files_are_up_to_date() -> None:
    assert not stale(ROOT), "run `make reference`"


def test_the_check_says_which_file_is_stale_and_what_to_run(tmp_path: Path) -> None:
    def reference(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dsl.reference", "--root", str(tmp_path), *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert reference().returncode == 0
    assert reference("--check").returncode == 0
    (tmp_path / "editors" / "mix.schema.json").write_text("{}")
    failed = reference("--check")
    assert failed.returncode == 1
    assert failed.stderr == "editors/mix.schema.json is stale: run `make reference`, or `python -m dsl.reference`\n"
    assert reference().stdout == "wrote editors/mix.schema.json\n"
    assert reference().stdout == ""


@pytest.mark.parametrize("name", generated())
def test_generated_text_is_tidy(name: str) -> None:
    text = generated()[name]
    assert text.endswith("\n")
    assert not re.search(r"[ \t]+$", text, re.MULTILINE)
    assert "\n\n\n" not in text


def slugs(page: str) -> list[str]:
    """The anchors of a page's headings as GitHub makes them, and those that it says itself."""
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    made = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return made + re.findall(r'<a id="([^"]+)">', prose)


def test_links_inside_the_reference_lead_somewhere() -> None:
    pages = {Path(name).name: text for name, text in generated().items() if name.endswith(".md")}
    for name, text in pages.items():
        assert len(slugs(text)) == len(set(slugs(text))), f"{name} has two anchors of one name"
        for target, anchor in re.findall(r"\]\(([\w.]*)#([\w-]+)\)", text):
            assert anchor in slugs(pages[target or name]), f"{name} links to {target}#{anchor}"


def test_every_kind_field_and_built_in_stands_in_the_reference() -> None:
    page = generated()["docs/reference/language.md"]
    for entry in (*kinds().values(), *built_ins()):
        assert f"# {entry.name}\n" in page
        assert all(f"| `{field.name}` |" in page for field in entry.fields if field.name != "doc")
    assert all(f"| `{kind}` |" in page for kind in FORMS)


def test_hand_written_notes_are_about_what_there_is() -> None:
    assert SCALARS.keys() == FORMS.keys()
    assert list(UNITS) == list(get_args(Unit))
    assert {entry.group for entry in built_ins()} == set(GROUPS.values())


def read(path: Path | str, loader: Any) -> Any:
    """A file as YAML programs read it; keys as text, as JSON has them."""
    return with_text_keys(yaml.load(path.read_text() if isinstance(path, Path) else path, loader))


def with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): with_text_keys(one) for key, one in value.items()}
    return [with_text_keys(one) for one in value] if isinstance(value, list) else value


LOADERS = [yaml.BaseLoader, yaml.SafeLoader]


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(schema())


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_specs_fit_the_schema(path: Path, loader: Any) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(read(path, loader))] == []


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("name", ["MIX0201-kind", "MIX0203-unknown-field", "MIX0208-word", "MIX0209-optimizer"])
def test_unknown_kinds_fields_and_words_do_not_fit(name: str, loader: Any) -> None:
    assert not VALIDATOR.is_valid(read(GOLDEN / f"{name}.mix", loader))


UNUSUAL = """\
let:
  dose: 3M tokens
  fields: {text: story}
  adam:
    adamw: {lr: 1e-4}
  amount: 2

source fiction:
  format: "documents"
  files: data/fiction/*.jsonl
  fields: $fields
  holdout: 1.5%
  apply:
    - dedup
    - filter: tokens in 200..6k
    - filter:
        predicate: has(label) and label == "yes"
    - take: 1.5e3 examples
    - judge: {as: good, with: judge, prompt: 1.md, answers: [yes, no, null]}
    - " take( 3M  tokens ) "

model judge:
  api: openai-api/local/4b
  temperature: 0
  template_args: {enable_thinking: false, budget: 30}

source more:
  extends: fiction
  fields:
    text: drop
    title: 1

mix both:
  budget: $dose
  parts:
    fiction: $amount
    more: rest

train midtrain:
  objective: supervised
  sequence: 1Ki tokens
  batch: 8 examples
  optimizer: $adam
  schedule: {cosine: {warmup: 3%}}
  checkpoint: [start, 50% of midtrain]
"""


def test_what_mixc_takes_fits_whatever_its_form() -> None:
    text = spec(UNUSUAL)
    found = check([PROJECT / "main.mix"], root=PROJECT, read=reader({"main.mix": text}))
    assert [f"{one.code} {one.message}" for one in found] == []
    for loader in LOADERS:
        assert [error.message for error in VALIDATOR.iter_errors(read(text, loader))] == []


def test_golden_specs_without_errors_of_form_fit_unless_the_schema_can_tell() -> None:
    """What the schema refuses, mixc refuses too, in each fixture that YAML can read."""
    told = {"MIX0108", "MIX0150", "MIX0151", "MIX0152", "MIX0201", "MIX0202", "MIX0203", "MIX0204", "MIX0205"}
    told |= {"MIX0206", "MIX0207", "MIX0208", "MIX0209", "MIX0219", "MIX0221"}
    refused: set[str] = set()
    for path in sorted(GOLDEN.glob("MIX0[1-3]*.mix")):
        try:
            tree = read(path, yaml.BaseLoader)
        except yaml.YAMLError:
            continue
        if not VALIDATOR.is_valid(tree):
            refused.add(path.name[:7])
    assert refused <= told | {code for code in refused if code < "MIX0150"}


def test_every_field_of_every_kind_is_in_the_schema() -> None:
    definitions = schema()["definitions"]
    for word, kind in KINDS.items():
        fields = definitions[word]["anyOf"][0]["properties"]
        assert fields.keys() == {"extends", *kind.by_written_name()}
        assert all(field["description"] for field in fields.values())
