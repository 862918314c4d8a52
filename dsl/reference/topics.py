"""What can be asked about by name: kinds, their fields, built-ins, scalar types, units and words of the language."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from dsl.declarations.data import FORMATS
from dsl.declarations.installed import PlugInError, mistake, offers
from dsl.declarations.transforms import TRANSFORMS
from dsl.describe import alternatives
from dsl.reference.entries import Entry, FieldEntry, built_ins, kinds, plug_in_entry
from dsl.reference.notes import ROLES, SCALARS, UNITS, WORDS
from dsl.scalars import FORMS


@dataclass(frozen=True, slots=True)
class Topic:
    """What is told of one meaning of a name. Texts are Markdown without links; `facts` are labels with values."""

    title: str
    text: str
    facts: tuple[tuple[str, str], ...] = ()
    fields: tuple[FieldEntry, ...] = ()


def find(name: str) -> tuple[Topic, ...]:
    """All meanings of a name, however its letters are written: `source`, `judge`, `train.optimizer`, `adamw.lr`."""
    word = name.lower()
    found = _index().get(word, [])
    return (*found, *_plug_in(word)) if not found or word in TRANSFORMS else tuple(found)


def names() -> list[str]:
    """Every name that `find` knows."""
    return [*_index(), *offers()]


def outline() -> dict[str, list[str]]:
    """The names to start from, by heading."""
    groups: dict[str, list[str]] = {"Kinds of declaration": list(kinds())}
    for entry in built_ins():
        if entry.group is not None:
            groups.setdefault(entry.group.heading, []).append(entry.name)
    for word in offers():
        heading = "Transforms of installed packages" if mistake(word) is None else "Plug-ins that can't be used"
        groups.setdefault(heading, []).append(word)
    types = [str(kind) for kind in FORMS]
    return groups | {"Types of values": types, "Units": [str(unit) for unit in UNITS], "Other words": list(WORDS)}


@cache
def _index() -> dict[str, list[Topic]]:
    found: dict[str, list[Topic]] = {}
    for entry in kinds().values():
        found.setdefault(entry.name, []).append(
            Topic(f"{entry.name}: a kind of declaration", entry.text, (), entry.fields)
        )
    for unit, meaning in UNITS.items():
        found.setdefault(unit, []).append(Topic(f"{unit}: a unit of quantities", meaning))
    for entry in built_ins():
        found.setdefault(entry.name, []).append(_built_in(entry))
    for kind, (_, form) in FORMS.items():
        topic = Topic(f"{kind}: a type of value", SCALARS[kind], (("written", form),))
        found.setdefault(kind, []).append(topic)
    for word, (form, meaning) in WORDS.items():
        found.setdefault(word, []).append(Topic(f"{word}: a word of the language", meaning, (("written", form),)))
    for paths, field in _fields():
        topic = _field(paths, field)
        inner = (path.partition(".")[2] for path in paths if path.count(".") > 1)
        for name in dict.fromkeys((*paths, *inner, field.name)):
            found.setdefault(name, []).append(topic)
    for entry in built_ins():
        for field in entry.fields:
            topic = _field((f"{entry.name}.{field.name}",), field)
            for name in _names_by_place(entry, field):
                found.setdefault(name, []).append(topic)
    return found


def _plug_in(name: str) -> Iterator[Topic]:
    """A plug-in, one of its fields, or why it can't be used."""
    word, _, inner = name.partition(".")
    if word not in offers():
        return
    try:
        entry = plug_in_entry(word)
    except PlugInError as error:
        yield Topic(f"{word}: a plug-in that can't be used", f"{error.message}: {error.help}.")
        return
    if not inner:
        (offer,) = offers()[word]
        topic = _built_in(entry)
        yield replace(topic, facts=(*topic.facts, ("package", f"{offer.package} {offer.version}")))
    for field in entry.fields:
        if field.name == inner:
            yield _field((f"{word}.{inner}",), field)


def _names_by_place(entry: Entry, field: FieldEntry) -> dict[str, None]:
    """What an argument is called where its built-in stands: `train.optimizer.lr`, and `optimizer.lr` for short."""
    long = [f"{place}.{field.name}" for place in entry.places]
    return dict.fromkeys([*long, *(name.partition(".")[2] for name in long)])


def _built_in(entry: Entry) -> Topic:
    assert entry.group is not None
    facts = [("written", entry.signature), ("for", alternatives(entry.places))]
    if entry.takes:
        facts.append(("takes", "any format" if entry.takes == FORMATS else alternatives(entry.takes)))
        facts.append(("gives", entry.gives or "the same format"))
    return Topic(f"{entry.name}: {entry.group.word}", entry.text, tuple(facts), entry.fields)


def _fields() -> Iterator[tuple[tuple[str, ...], FieldEntry]]:
    """Every field once with its paths: those that say the same in several places have several."""
    found: dict[tuple[str, ...], tuple[FieldEntry, list[str]]] = {}
    records = [record for kind in kinds().values() for record in kind.records]
    for entry in (*kinds().values(), *records, *built_ins()):
        for field in entry.fields:
            same = (field.name, field.written, field.default or "", field.description)
            _, paths = found.setdefault(same, (field, []))
            paths.append(f"{entry.name}.{field.name}")
    return ((tuple(paths), field) for field, paths in found.values())


def _field(paths: tuple[str, ...], field: FieldEntry) -> Topic:
    owners = alternatives(path.rpartition(".")[0] for path in paths)
    facts = (
        ("written", field.written),
        ("default", "required" if field.default is None else field.default or "left out"),
        ("role", f"{field.role}: {ROLES[field.role]}"),
    )
    return Topic(f"{field.name}: a field of {owners}", field.description, facts)
