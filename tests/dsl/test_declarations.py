"""Declarations: what a field must say of itself, and that what the binder makes is what the classes allow."""

from __future__ import annotations

import pytest

from dsl.declarations import KINDS, complete
from dsl.declarations.base import UNWRITTEN, Declaration, Written, declared
from dsl.declarations.shapes import AnyOf, BuiltIn, ListOf, MappingOf, OneKey, Record, Shape, Typed
from dsl.resolve import load
from tests.dsl.loading import EXAMPLES


def all_classes() -> set[type[Written]]:
    found: set[type[Written]] = set()
    waiting: list[type[Written]] = [Written]
    while waiting:
        one = waiting.pop()
        found.add(one)
        waiting += one.__subclasses__()
    return found


@pytest.mark.parametrize("kind", sorted(all_classes(), key=lambda one: one.__name__), ids=lambda one: one.__name__)
def test_every_field_says_its_role_and_has_a_sentence(kind: type[Written]):
    for name, info in kind.model_fields.items():
        if name not in UNWRITTEN:
            assert kind.facts()[name].role in ("computation", "execution", "retention", "remark")
            assert info.description
            assert info.description.endswith(".")


def test_a_field_without_a_role_fails_at_class_creation():
    with pytest.raises(TypeError, match=r"Forgetful\.rate isn't declared as computation"):

        class Forgetful(Written):
            rate: float = 0.1


def test_a_declaration_may_not_forget_either():
    with pytest.raises(TypeError, match="isn't declared"):

        class Forgetful(Declaration):
            doc: str | None = declared("remark", Typed("text"), "Fine.", default=None)
            seed: int = 0


def shapes_in(shape: Shape) -> list[Shape]:
    match shape:
        case ListOf(item):
            return [shape, *shapes_in(item)]
        case MappingOf(value) | OneKey(value):
            return [shape, *shapes_in(value)]
        case AnyOf(shapes):
            return [shape, *(inner for one in shapes for inner in shapes_in(one))]
        case _:
            return [shape]


@pytest.mark.parametrize("kind", sorted(all_classes(), key=lambda one: one.__name__), ids=lambda one: one.__name__)
def test_tables_of_built_ins_are_written_in_lower_case(kind: type[Written]):
    for facts in kind.facts().values():
        for shape in shapes_in(facts.shape):
            if isinstance(shape, BuiltIn):
                assert shape.table
                assert all(word == word.lower() for word in shape.table)
            if isinstance(shape, Record):
                assert shape.model.by_written_name()


def test_kinds_are_the_words_of_the_language():
    assert list(KINDS) == ["source", "augment", "mix", "model", "train", "reward", "eval", "study", "target"]
    assert all(kind.__name__.lower() == word for word, kind in KINDS.items())


def test_what_the_binder_makes_is_what_the_classes_allow():
    """The binder constructs without validating; here every value of the examples is validated after all."""
    complete()
    seen: set[int] = set()

    def validate(value: object) -> None:
        if isinstance(value, Written) and id(value) not in seen:
            seen.add(id(value))
            type(value).__pydantic_validator__.validate_python(dict(value.__dict__), by_name=True)
            for name in type(value).facts():
                validate(getattr(value, name))
        elif isinstance(value, tuple):
            for one in value:
                validate(one)
        elif isinstance(value, dict):
            for one in value.values():
                validate(one)

    for path in sorted(EXAMPLES.glob("*.mix")):
        module = load(path).module
        assert module is not None
        for declaration in module.declarations.values():
            validate(declaration)
    assert len(seen) > 200
