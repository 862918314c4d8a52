"""References, flows and claims bound: every name in them becomes the declaration that it means."""

from __future__ import annotations

from typing import Any, Protocol

from dsl.bind import as_applied, as_call, wrong_type
from dsl.bind_scalar import Names, Where, parsed
from dsl.declarations.data import Source, SourceFlow, SourceView
from dsl.declarations.evals import Eval
from dsl.declarations.models import ModelFlow
from dsl.declarations.shapes import Claimed, FlowOf, Reference
from dsl.describe import alternatives, known_help
from dsl.diagnostics.suggest import nearest
from dsl.hole import HOLE
from dsl.scope import Definition, Scope
from dsl.source import Span
from dsl.terms import Applied, Atom, Table
from dsl.values import Arithmetic, Compare, Constant, EvalReference, Expression, Flow, Name
from dsl.values import Field as RecordField


class Declarations(Names, Protocol):
    """What flows ask of the resolver beside what the binder asks."""

    bases: list[Any]

    def named(
        self, text: str, scope: Scope, span: Span, kinds: tuple[str, ...]
    ) -> tuple[Any, str, Definition | None]: ...
    def call(self, call: Applied, definition: Definition) -> Any: ...


def bind_reference(term: Atom | Table | Applied, shape: Reference, where: Where, names: Declarations) -> Any:
    """The declaration that a name means, or a call of it with fields replaced."""
    items = _items(term, where, names)
    if items is None:
        return HOLE
    if len(items) > 1:
        return wrong_type(shape, term, where, names)
    return _declaration(items[0], shape.kinds, names)


def bind_flow(term: Atom | Table | Applied, shape: FlowOf, where: Where, names: Declarations) -> Any:
    """A source through augments, a model through stages, or (for a level of a matrix) stages alone."""
    if shape.or_location and isinstance(term, Atom) and _is_location(term.scalar.text):
        return names.location(term)
    if shape.kind == "train" and isinstance(term, Atom) and term.scalar.text == "none":
        return ()
    items = _items(term, where, names)
    if items is None:
        return HOLE
    match shape.kind:
        case "train":
            return tuple(_declaration(item, ("train",), names) for item in items)
        case "source":
            start = _declaration(items[0], ("source",), names)
            augments = tuple(_declaration(item, ("augment",), names) for item in items[1:])
            return SourceFlow.model_construct(start=start, augments=augments)
        case _:
            stages = tuple(_declaration(item, ("train",), names) for item in items[1:])
            if shape.or_base and items[0].name.text == "base" and not items[0].cells:
                return _from_base(items[0], stages, where, names)
            start = _declaration(items[0], ("model",), names)
            return ModelFlow.model_construct(start=start, stages=stages)


def bind_claim(atom: Atom, shape: Claimed, where: Where, names: Declarations) -> Any:
    """A comparison over results, with the evals that it names."""
    comparison = parsed("claim", atom, where, names)
    if comparison is HOLE:
        return HOLE
    evals: dict[str, Any] = {}
    for reference in eval_references(comparison):
        if reference.name.text not in evals:
            evals[reference.name.text] = _eval(reference.name, atom, names)
    return shape.model.model_construct(comparison=comparison, text=atom.scalar.text, evals=evals)


def eval_references(expression: Compare | Expression) -> list[EvalReference]:
    """The evals that a claim refers to, from left to right; one without parentheses is the running arm's."""
    match expression:
        case Compare(left=left, right=right) | Arithmetic(left=left, right=right):
            return eval_references(left) + eval_references(right)
        case EvalReference():
            return [expression]
        case RecordField(name, span):
            return [EvalReference(Name(name, span), (), span)]
        case Constant():
            return []


def _items(term: Atom | Table | Applied, where: Where, names: Declarations) -> list[Applied] | None:
    """What stands between the arrows of a flow; None where it is none, which is reported."""
    if not isinstance(term, Atom):
        call = as_call(term, where, names)
        return None if call is None else [call]
    flow: Flow = parsed("flow", term, where, names)
    if flow is HOLE:
        return None
    return [as_applied(item, term) for item in flow.items]


def _declaration(item: Applied, kinds: tuple[str, ...], names: Declarations) -> Any:
    """One item of a flow bound; a source is seen as a view of its rows."""
    declared, rest, definition = names.named(item.name.text, item.scope, item.name.span, kinds)
    if declared is HOLE or definition is None:
        return HOLE
    if rest and not isinstance(declared, Source):
        members = known_help(rest, ["NAME"]) if not isinstance(declared, Eval) else "name the member itself"
        message = f"'{item.name.text}' is a member of a suite"
        names.reports.error("MIX0211", message, item.scope.source, item.name.span, members)
        return HOLE
    if item.cells or item.positional:
        declared = names.call(item, definition)
    if not isinstance(declared, Source):
        return declared
    if rest and not has_holdout(declared):
        message = f"source {definition.name} sets no rows aside"
        help = f"write 'holdout: 1%' in source {definition.name}"
        names.reports.error("MIX0223", message, item.scope.source, item.name.span, help)
    return SourceView.model_construct(source=declared, holdout=bool(rest))


def has_holdout(source: Source) -> bool:
    """Whether a source, or one that it is derived from, sets rows aside."""
    if source.holdout is not None:
        return True
    if source.from_ is None or source.from_ is HOLE or source.from_.start is HOLE:
        return source.from_ is not None
    return has_holdout(source.from_.start.source)


def _from_base(item: Applied, stages: tuple[Any, ...], where: Where, names: Declarations) -> Any:
    """The study's base with more stages after its own."""
    base = names.bases[-1] if names.bases else None
    if base is None:
        help = "write 'base: MODEL' in the study"
        message = f"{where} starts from 'base', and {where.owner} has none"
        names.reports.error("MIX0224", message, item.scope.source, item.name.span, help)
        return HOLE
    return HOLE if base is HOLE else ModelFlow.model_construct(start=base.start, stages=(*base.stages, *stages))


def _is_location(text: str) -> bool:
    before_call = text.split("(", 1)[0]
    return "|>" not in text and ("://" in text or "/" in before_call)


def _eval(name: Name, atom: Atom, names: Declarations) -> Any:
    """An eval, or a member of a suite: `assessment.adherence`."""
    declared, rest, _ = names.named(name.text, atom.scope, name.span, ("eval",))
    while rest and declared is not HOLE:
        if declared.suite is HOLE:
            return HOLE
        members = {member.name: member for member in declared.suite if member is not HOLE}
        members |= {key.rpartition(".")[2]: member for key, member in reversed(members.items())} | members
        found = next((one for one in _starts(rest) if one in members), None)
        if found is None and any(member is HOLE for member in declared.suite):
            return HOLE
        if found is None:
            message = f"'{name.text}' is no member of a suite"
            suite, own = name.text.removesuffix(rest), [one for one in members if "." not in one] or list(members)
            near = nearest(rest, own)
            help = f"did you mean '{suite}{near}'?" if near else f"write {alternatives(suite + one for one in own)}"
            help = help if members else f"'{declared.name}' is no suite"
            names.reports.error("MIX0210", message, atom.scope.source, name.span, help)
            return HOLE
        declared, rest = members[found], rest[len(found) + 1 :]
    return declared


def _starts(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
