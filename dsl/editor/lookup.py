"""What a name means, without a word about names that mean nothing."""

from __future__ import annotations

from dataclasses import dataclass

from dsl.record_fields import DERIVED, RecordField
from dsl.scope import Definition, Import, Scope
from dsl.terms import Atom


@dataclass(frozen=True, slots=True)
class Meaning:
    """The parts of a dotted name: the import that it goes through, the declaration, and what is said after it."""

    through: Import | None
    definition: Definition | None
    rest: str


def meaning(name: str, scope: Scope) -> Meaning:
    """What `common.finetune`, `web.holdout` or `assessment.adherence` is made of."""
    alias, dot, after = name.partition(".")
    imported = scope.imports.get(alias)
    if imported is None:
        return Meaning(None, scope.definitions.get(alias), after)
    if imported.scope is None or not dot:
        return Meaning(imported, None, "")
    own, _, rest = after.partition(".")
    return Meaning(imported, imported.scope.definitions.get(own), rest)


def kind_of(name: str, scope: Scope) -> str | None:
    """The kind of the declaration that a name means, None where it means none."""
    definition = meaning(name, scope).definition
    return definition.kind if definition else None


def record_fields(definition: Definition | None) -> dict[str, RecordField]:
    """The derived fields that conditions of a source can test; of all formats where it doesn't say its own."""
    cell = (definition.cells or {}).get("format") if definition else None
    said = cell.value.scalar.text if cell and isinstance(cell.value, Atom) else ""
    formats = [DERIVED[said]] if said in DERIVED else list(DERIVED.values())
    return {name: field for fields in formats for name, field in fields.items()}
