"""Whether one model is better than another, from errors on the same splits."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from scipy import stats

BySeed = Mapping[int, float]
"""Test errors by seed; a seed means the same split for everybody."""


def half_width(values: Sequence[float], overlap: float) -> float:
    r"""Half of the 95 % interval of the mean, $t\, s \sqrt{1 / n + \mathrm{overlap}}$; NaN if it is not known.

    Splits of one table share samples, so that errors vary less from one to the next than they would on new data:
    `overlap`, the samples tested over those learned from, makes up for that. It is 0 where samples are drawn anew.

    Reference:
        C. Nadeau and Y. Bengio, Inference for the Generalization Error, 2003, doi:10.1023/A:1024068626366.
    """
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return math.nan
    quantile = float(stats.t.ppf(0.975, len(values) - 1))
    return quantile * stdev(values) * math.sqrt(1 / len(values) + overlap)


def interval(values: Sequence[float], overlap: float) -> str:
    """The mean and `half_width`."""
    if not values:
        return "-"
    half = half_width(values, overlap)
    return f"{mean(values):.3g}" + ("" if math.isnan(half) else f" ± {half:.2g}")


def verdict(first: BySeed, second: BySeed, overlap: float) -> int:
    """-1 if the first has less error, 1 if it has more, 0 if the 95 % interval of the differences has 0."""
    differences = [first[seed] - second[seed] for seed in first if seed in second]
    if not differences or any(map(math.isnan, differences)):
        return 0
    half = half_width(differences, overlap)
    if math.isnan(half):  # a single seed says nothing, but for a model that cannot be trained
        return 0 if all(map(math.isfinite, differences)) else (1 if max(differences) == math.inf else -1)
    middle = mean(differences)
    return 0 if abs(middle) <= half else round(math.copysign(1, middle))


def ratio(first: BySeed, second: BySeed, least: float) -> float:
    """Mean error of the first over that of the second on the same seeds; what is below `least` counts as that."""
    seeds = [seed for seed in first if seed in second]
    return max(mean(first[seed] for seed in seeds), least) / max(mean(second[seed] for seed in seeds), least)
