"""Measures a judge against hand labels: agreement and kappa of labels, rank correlation of scores, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from scipy.stats import rankdata

from compiler.evals import Calibration, Judging
from compiler.identity import sha256
from runtime.errors import UserError
from runtime.evals.hand_labels import HandLabels
from runtime.evals.statistics import LEVEL, wilson

UNREADABLE = "unreadable"
"""What stands for a judgement that can't be read."""
MOST_UNREADABLE = Fraction(1, 5)
"""The share of unreadable judgements up to which scores are compared at all."""
FEWEST_SCORES = 3
"""Two scores are always in rank order or against it."""
FEWEST_RESAMPLED = 10
"""Scores from which on the bootstrap says something: below, resamples are too much alike."""
RESAMPLES = 2_000
_WORST = 3


@dataclass(frozen=True)
class Compared:
    """What people and the judge say of one answer."""

    hand: str | float
    judge: str | float | None
    """None where it can't be read."""
    place: str
    answer: str
    detail: str
    """The judge's words."""


@dataclass(frozen=True)
class Measured:
    """A judge against hand labels. Figures of labels are None for scores, and the other way round."""

    n: int
    """Answers that the measure rests on."""
    agreement: float | None = None
    """The share of equal labels. A judgement that can't be read agrees with none."""
    kappa: float | None = None
    """Cohen's; None where hand and judge give one and the same label throughout."""
    correlation: float | None = None
    """Spearman's; None where the hand or the judge gives one score throughout."""
    difference: float | None = None
    """Of scores: how far apart they are on average."""
    bias: float | None = None
    """Of scores: how much higher the judge's are on average."""
    low: float | None = None
    """The 95% interval of the agreement (Wilson's) or of the correlation (bootstrap)."""
    high: float | None = None
    unreadable: int = 0
    confusion: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """Of labels: by the hand's, how often the judge gave which."""

    @property
    def asked_of(self) -> float | None:
        """The figure that `agreement:` of a spec is about: the agreement of labels, the correlation of scores."""
        return self.agreement if self.confusion else self.correlation


def measure(compared: Sequence[Compared], judging: Judging) -> Measured:
    """The figures of a judge, from at least one comparison."""
    return _labels(compared, judging.answers) if judging.answers else _scores(compared)


def kappa(confusion: Mapping[str, Mapping[str, int]]) -> float | None:
    """Cohen's kappa (1960, "A coefficient of agreement for nominal scales", equation 1), `(p_o - p_e) / (1 - p_e)`.

    It is `sklearn.metrics.cohen_kappa_score`. None where chance alone would agree throughout.
    """
    names = sorted({*confusion, *(name for row in confusion.values() for name in row)})
    counts = np.array([[confusion.get(hand, {}).get(judge, 0) for judge in names] for hand in names], dtype=np.float64)
    shares = counts / counts.sum()
    chance = float(shares.sum(0) @ shares.sum(1))
    return None if chance > 1 - 1e-12 else (float(np.trace(shares)) - chance) / (1 - chance)


def spearman(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation (1904), Pearson's of mid-ranks, over the last axis: `scipy.stats.spearmanr`.

    Args:
        left: float64 `[..., n]`.
        right: float64 `[..., n]`.

    Returns:
        float64 `[...]`, NaN where one side has a single value.
    """
    ranks = [rankdata(side, axis=-1) for side in (left, right)]
    one, other = (rank - rank.mean(axis=-1, keepdims=True) for rank in ranks)
    spread = np.sqrt((one**2).sum(-1) * (other**2).sum(-1))
    return np.divide((one * other).sum(-1), spread, out=np.full(spread.shape, np.nan), where=spread > 0)


def check_believed(
    measured: Measured,
    compared: Sequence[Compared],
    labels: HandLabels,
    judge: str,
    calibration: Calibration,
    place: str,
) -> None:
    """UserError, at `place`, where a judge agrees less than is asked for, or nothing can be told of it."""
    figure, asked = measured.asked_of, float(Fraction(calibration.agreement))
    help = (
        "mend the judge's prompt, ask a better model, or look at the labels again; judgements so far are kept. "
        "`agreement:` says how much is enough"
    )
    rows = f"{measured.n:,} hand-labelled {'answer' if measured.n == 1 else 'answers'} of {calibration.labels}"
    if measured.unreadable > MOST_UNREADABLE * len(compared):
        worst = _shown([each for each in compared if each.judge is None])
        raise UserError(
            f"the judge {judge} can't be believed: {measured.unreadable:,} of its {len(compared):,} judgements can't "
            f"be read{worst}",
            "say in the prompt how to answer, raise `max_tokens:` of the judge, or ask a better one",
            place,
        )
    if figure is None:
        why = (
            f"of {rows} there are too few to tell a rank correlation"
            if measured.n < FEWEST_SCORES
            else f"over {rows}, the {_flat(compared)} one score throughout, so that there is no rank correlation"
        )
        raise UserError(f"the judge {judge} can't be measured: {why}", "label more answers, good and bad ones", place)
    if figure >= asked:
        return
    if measured.confusion:
        found = f"agrees with {round(figure * measured.n):,} of {rows}, {figure:.0%}{_interval(measured)}"
        found += "" if measured.kappa is None else f", kappa {measured.kappa:.2f}"
        found += f"; at least {asked:.0%} is asked for\n{_table(measured.confusion)}"
    else:
        found = f"ranks {rows} with a correlation of {figure:.2f}{_interval(measured)} to the hand's"
        found += f", and is {measured.difference:.2f} off on average; at least {asked:.2f} is asked for"
    found += _shown(_worst(compared)) + _people(labels, share=bool(measured.confusion))
    raise UserError(f"the judge {judge} can't be believed: it {found}", help, place)


def _labels(compared: Sequence[Compared], answers: Sequence[str]) -> Measured:
    counts = Counter((each.hand, UNREADABLE if each.judge is None else each.judge) for each in compared)
    unreadable = sum(each.judge is None for each in compared)
    columns = (*answers, UNREADABLE) if unreadable else answers
    confusion = {hand: {judge: counts[hand, judge] for judge in columns} for hand in answers}
    agreement = sum(each.hand == each.judge for each in compared) / len(compared)
    low, high = wilson(agreement, len(compared))
    return Measured(
        n=len(compared),
        agreement=agreement,
        kappa=kappa(confusion),
        low=low,
        high=high,
        unreadable=unreadable,
        confusion=confusion,
    )


def _scores(compared: Sequence[Compared]) -> Measured:
    readable = [each for each in compared if each.judge is not None]
    unreadable = len(compared) - len(readable)
    if len(readable) < FEWEST_SCORES:
        return Measured(n=len(readable), unreadable=unreadable)
    hand = np.array([each.hand for each in readable], dtype=np.float64)
    judge = np.array([each.judge for each in readable], dtype=np.float64)
    correlation = float(spearman(hand, judge))
    low, high = (None, None) if np.isnan(correlation) else _bootstrapped(hand, judge)
    return Measured(
        n=len(readable),
        correlation=None if np.isnan(correlation) else correlation,
        difference=float(np.abs(judge - hand).mean()),
        bias=float((judge - hand).mean()),
        low=low,
        high=high,
        unreadable=unreadable,
    )


def _bootstrapped(hand: np.ndarray, judge: np.ndarray) -> tuple[float | None, float | None]:
    """The percentile bootstrap's interval over answers; resamples follow from the scores alone."""
    if len(hand) < FEWEST_RESAMPLED:
        return None, None
    generator = np.random.default_rng(int(sha256(["calibration", hand.tolist(), judge.tolist()]), 16))
    drawn = generator.integers(len(hand), size=(RESAMPLES, len(hand)))
    found = spearman(hand[drawn], judge[drawn])
    low, high = np.quantile(found[np.isfinite(found)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _worst(compared: Sequence[Compared]) -> list[Compared]:
    """The answers that hand and judge differ on most: of scores by how much, of labels the most frequent mistakes."""
    wrong = [each for each in compared if each.judge != each.hand]
    mistakes = Counter((each.hand, each.judge) for each in wrong)

    def badness(each: Compared) -> float:
        if each.judge is None:
            return float("inf")
        apart = isinstance(each.hand, float) and not isinstance(each.judge, str)
        return abs(float(each.judge) - float(each.hand)) if apart else mistakes[each.hand, each.judge]

    return sorted(wrong, key=badness, reverse=True)[:_WORST]


def _shown(examples: Sequence[Compared]) -> str:
    lines = [
        f'\n  {each.place}: by hand {_plain(each.hand)}, by the judge {_plain(each.judge)}: "{_start(each.answer)}"'
        + (f"\n    {each.detail}" if each.detail else "")
        for each in examples[:_WORST]
    ]
    return "".join(lines)


def _table(confusion: Mapping[str, Mapping[str, int]]) -> str:
    """Counts by the hand's label (rows) and the judge's (columns)."""
    columns = list(next(iter(confusion.values())))
    corner = "hand / judge"
    width = max(len(corner), *map(len, confusion))
    widths = [max(len(column), 6) for column in columns]
    head = "  ".join([corner.ljust(width), *(name.rjust(size) for name, size in zip(columns, widths, strict=True))])
    rows = [
        "  ".join([hand.ljust(width), *(f"{row[name]:>{size},}" for name, size in zip(columns, widths, strict=True))])
        for hand, row in confusion.items()
    ]
    return "\n".join(f"  {line}" for line in [head, *rows])


def _flat(compared: Sequence[Compared]) -> str:
    return "hand labels give" if len({each.hand for each in compared}) == 1 else "judge gives"


def _interval(measured: Measured) -> str:
    if measured.low is None or measured.high is None:
        return ""
    ends = (measured.low, measured.high)
    low, high = (f"{end:.0%}" if measured.confusion else f"{end:.2f}" for end in ends)
    return f" (95% interval {low} to {high})"


def _people(labels: HandLabels, *, share: bool) -> str:
    """How well people agree, where several labelled: a judge can hardly do better."""
    if labels.between_readers is None:
        return ""
    if share:
        return f"\n  readers agree with each other in {labels.between_readers:.0%} of their pairs of labels"
    return f"\n  readers are {labels.between_readers:.2f} apart on average"


def _start(text: str, most: int = 100) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}…"


def _plain(value: str | float | None) -> str:
    return UNREADABLE if value is None else value if isinstance(value, str) else f"{value:g}"
