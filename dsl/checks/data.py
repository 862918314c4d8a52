"""Rules for sources and mixes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Context, Decimal
from fractions import Fraction

from dsl.checks.finding import Finding, at, given, is_given, title
from dsl.checks.formats import PLURAL, format_of
from dsl.declarations.base import Place
from dsl.declarations.data import Mix, Part, Source, SourceView
from dsl.hole import known
from dsl.values import Amount, Quantity


def one_origin(source: Source) -> Iterator[Finding]:
    """A source has `files` or `from`, not both."""
    match given(source, ("files", "from")):
        case []:
            yield Finding(f"{title(source)} has no rows", source.place, "write 'files:' or 'from:'")
        case [_, _]:
            message = f"{title(source)} has both 'files' and 'from'"
            yield Finding(message, at(source, "from"), "make two sources of it, and a mix of both")
        case _:
            pass


def format_said(source: Source) -> Iterator[Finding]:
    """A source from files says its format; one from another source has that one's."""
    if source.files and source.from_ is None and source.format is None:
        help = "write 'format: documents', 'chat', 'preference' or 'prompts'"
        yield Finding(f"{title(source)} doesn't say what a record is", source.place, help)
    if source.from_ is not None and source.format is not None:
        origin = format_of(source.from_.start.source)
        for augment in source.from_.augments:
            for transform in augment.apply:
                origin = transform.gives or origin
        if origin is not None and origin != source.format:
            message = f"{title(source)} says {source.format}, and {source.from_.start.name} has {PLURAL[origin]}"
            yield Finding(message, at(source, "format"), "leave 'format' out: it is that of the origin")


def parts_or_phases(mix: Mix) -> Iterator[Finding]:
    """A mix has `parts` or `phases`; a plain list of parts needs `shares`, and amounts exclude it."""
    match given(mix, ("parts", "phases")):
        case []:
            yield Finding(
                f"{title(mix)} has no parts", mix.place, "write 'parts:' with names and amounts, or 'phases:'"
            )
        case [_, _]:
            yield Finding(
                f"{title(mix)} has both 'parts' and 'phases'", at(mix, "phases"), "put the parts into a phase"
            )
        case _:
            for path, parts in _lists(mix):
                if not parts:
                    yield Finding(f"'{path}' in {title(mix)} is empty", at(mix, path), "write names with amounts")
            if is_given(mix, "phases") and not mix.phases:
                help = "write '- for: 80%' and its 'parts:', or 'parts:' alone"
                yield Finding(f"'phases' in {title(mix)} is empty", at(mix, "phases"), help)
    without = [part for _, parts in _lists(mix) for part in parts if part.amount is None]
    if without and mix.shares is None:
        help = "write 'NAME: AMOUNT', or 'shares: proportional(temperature=1)'"
        yield Finding(f"the parts of {title(mix)} have no amounts", at(mix, "parts"), help)
    if known(mix.shares) is not None and any(part.amount is not None for _, parts in _lists(mix) for part in parts):
        message = f"{title(mix)} has amounts, and 'shares' too"
        yield Finding(message, at(mix, "shares"), "write the parts as a plain list, or leave 'shares' out")


def shares_reach_the_whole(mix: Mix) -> Iterator[Finding]:
    """What the parts of a mix say adds up to its whole, and no percents pass it."""
    if is_given(mix, "parts"):
        yield from _shortfall(mix, "parts", _amounts(mix.parts), mix.budget)
    for index, phase in enumerate(mix.phases):
        whole = _length(phase.for_, mix.budget)
        yield from _shortfall(mix, f"phases[{index}].parts", _amounts(phase.parts), whole)
    if mix.phases:
        yield from _shortfall(mix, "phases", [phase.for_ for phase in mix.phases], mix.budget)


def one_rest(mix: Mix) -> Iterator[Finding]:
    """`rest` stands once in a list of parts."""
    for path, parts in _lists(mix):
        rests = [part for part in parts if part.amount is not None and part.amount.kind == "rest"]
        if len(rests) > 1:
            names = " and ".join(part.name for part in rests)
            message = f"{title(mix)} gives the rest to {names}"
            place = at(mix, f"{path}.{rests[1].name}", path)
            yield Finding(message, place, "keep one 'rest', or share what is left by ratio: '1' and '1'")


def parts_differ(mix: Mix) -> Iterator[Finding]:
    """A source stands once in a list of parts, also where two aliases name it."""
    for path, parts in _lists(mix):
        seen: dict[tuple[int, bool], str] = {}
        for index, part in enumerate(parts):
            name = part.name
            if _identity(part) in seen:
                message = f"{name} stands twice in {title(mix)}"
                help = "leave one out, and give the other both amounts"
                if part.amount is not None:  # keys differ, or it would be a mistake of form
                    help += ": two aliases lead to the same file"
                yield Finding(message, _place(mix, path, index), help)
            seen[_identity(part)] = name


def epochs_are_allowed(mix: Mix) -> Iterator[Finding]:
    """No part takes a source more often than `max_epochs` lets it, all phases together."""
    if mix.max_epochs is None or mix.underfill == "allow":
        return
    epochs: dict[tuple[int, bool], Fraction] = {}
    for path, parts in _lists(mix):
        for index, part in enumerate(parts):
            identity = _identity(part)
            before = epochs.get(identity, Fraction(0))
            epochs[identity] = before + _epochs(part.amount)
            if before <= mix.max_epochs < epochs[identity]:
                message = f"{title(mix)} takes {_number(epochs[identity])} epochs of {part.name}, and has 'max_epochs: "
                message += f"{_number(mix.max_epochs)}'"
                yield Finding(message, _place(mix, path, index), "raise 'max_epochs', or take fewer epochs")


def _identity(part: Part) -> tuple[int, bool]:
    """Equal for the same rows: a declaration is one object, whatever aliases lead to it."""
    return (id(part.of.source), part.of.holdout) if isinstance(part.of, SourceView) else (id(part.of), False)


def _epochs(amount: Amount | None) -> Fraction:
    """How often an amount takes all rows, as far as it says so."""
    if amount is not None and isinstance(amount.value, Quantity) and amount.value.unit == "epochs":
        return amount.value.count
    return Fraction(1 if amount is not None and amount.kind == "all" else 0)


def _place(mix: Mix, path: str, index: int) -> Place:
    """Where a part of a list is written."""
    amounts = [one for one in mix.places if one.startswith(f"{path}.")]
    return at(mix, f"{path}[{index}]", *amounts[index : index + 1], path)


def _amounts(parts: tuple[Part, ...]) -> list[Amount]:
    return [part.amount for part in parts if part.amount is not None]


def _length(amount: Amount, budget: Quantity | None) -> Quantity | None:
    """How long a phase is; None where the text doesn't tell."""
    if amount.kind == "percent" and isinstance(amount.value, Fraction) and budget is not None:
        return Quantity(amount.value * budget.count, budget.unit)
    return amount.value if isinstance(amount.value, Quantity) else None


def _lists(mix: Mix) -> list[tuple[str, tuple[Part, ...]]]:
    """The lists of parts of a mix, with the paths where they are written."""
    phases = [(f"phases[{index}].parts", phase.parts) for index, phase in enumerate(mix.phases)]
    return [("parts", mix.parts), *phases] if is_given(mix, "parts") else phases


def _shortfall(mix: Mix, path: str, amounts: list[Amount], whole: Quantity | None) -> Iterator[Finding]:
    percents = sum(
        (one.value for one in amounts if one.kind == "percent" and isinstance(one.value, Fraction)), Fraction(0)
    )
    fixed = _fixed_share(whole, amounts)
    is_open = any(one.kind in ("ratio", "rest") for one in amounts)
    has_fixed = any(one.kind in ("quantity", "all") for one in amounts)
    total = percents + (fixed or 0)
    what = "phases" if path == "phases" else "parts"
    if total > 1:
        message = f"the {what} of {title(mix)} add up to {_percent(total)}"
        yield Finding(message, at(mix, path), "lower one of them until they give 100%")
    elif is_open and total == 1:
        message = f"nothing is left for the ratios in {title(mix)}: the others take all"
        yield Finding(message, at(mix, path), "lower a share, or leave out the part that gets nothing")
    elif amounts and not is_open and total != 1 and (fixed is not None or not has_fixed):
        message = f"the {what} of {title(mix)} add up to {_percent(total)}, not 100%"
        yield Finding(
            message, at(mix, path), "raise one of them, or give one 'rest'" if what == "parts" else "raise one"
        )


def _fixed_share(whole: Quantity | None, amounts: list[Amount]) -> Fraction | None:
    """The share of the whole that fixed amounts take; None where the text doesn't tell."""
    quantities = [one.value for one in amounts if one.kind == "quantity"]
    if not quantities or whole is None or any(one.kind == "all" for one in amounts):
        return None
    same_unit = [one.count for one in quantities if isinstance(one, Quantity) and one.unit == whole.unit]
    return sum(same_unit, Fraction(0)) / whole.count if len(same_unit) == len(quantities) and whole.count else None


def _percent(share: Fraction) -> str:
    return f"{_number(share * 100)}%"


def _number(value: Fraction) -> str:
    """In six digits, or as many as tell it from a whole number."""
    if value.denominator == 1:
        return str(value.numerator)
    exact = _PRECISE.divide(Decimal(value.numerator), Decimal(value.denominator))
    texts = (f"{exact:.{digits}g}" for digits in range(6, _PRECISE.prec))
    text = next((one for one in texts if Fraction(one).denominator != 1), str(exact))
    return format(_PRECISE.normalize(Decimal(text)), "f")


_PRECISE = Context(prec=100)
