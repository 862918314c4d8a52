"""Steps of a source in the words of the language."""

from __future__ import annotations

from fractions import Fraction

from compiler import operations
from compiler.steps import Read, Transform


def told(step: Read | Transform) -> str:
    """What a step does, as short as a spec would say it."""
    if isinstance(step, Read):
        return f"read {', '.join(step.files)}"
    match step.operation:
        case operations.Filter(predicate=predicate):
            return f"filter({predicate})"
        case operations.Take(amount=amount):
            return f"take({Fraction(amount.count)} {amount.unit})"
        case operations.Holdout(side=side, share=share):
            return f"holdout {float(100 * Fraction(share)):g}%, the side {'kept' if side == 'kept' else 'set aside'}"
        case operations.Split(low=low, high=high):
            return f"split({float(Fraction(low)):.3g}..{float(Fraction(high)):.3g})"
        case operations.SetField(field=field, value=value):
            return f'set(field={field}, value="{value}")'
        case operations.Truncate(tokens=tokens):
            return f"truncate({tokens} tokens)"
        case operations.Template(file=file):
            return f"template({file})"
        case operations.Dedup(by=by, threshold=threshold):
            return f"dedup(by={by})" if threshold is None else f"dedup(by={by}, threshold={float(Fraction(threshold))})"
        case operations.Exclude(by=by, ngram=ngram):
            return f"exclude(by={by})" if ngram is None else f"exclude(ngram={ngram})"
        case operations.Tools(low=low, high=high, chance=chance):
            return f"tools(count={low}..{high}, chance={float(Fraction(chance)):.0%})"
        case operations.System(chance=chance):
            return f"system(chance={float(Fraction(chance)):.0%})"
        case operations.Sample(model=model, n=n):
            return f"sample(with={model.name}, n={n})"
        case operations.Judge(model=model, field=field):
            return f"judge(as={field}, with={model.name})"
        case operations.Score(model=model, field=field):
            return f"score(as={field}, with={model.name})"
        case operations.Rewrite(model=model, turns=turns):
            return f"rewrite(turns={turns}, with={model.name})"
        case operations.Generate(model=model, count=count):
            return f"generate(with={model.name}, count={Fraction(count.count)} {count.unit})"
        case operations.PlugIn(name=name):
            return f"{name}(…)"
