"""Intervals and measures of the attacks, each with its definition; no table of a statistics package is needed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    low: float
    high: float


class Area(NamedTuple):
    """An area under a ROC curve, and the interval that holds it at the level asked for."""

    value: float
    interval: Interval


def _beta_continued_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by the modified method of Lentz."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    total = d
    for m in range(1, 400):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + numerator / c
            c = c if abs(c) > tiny else tiny
            total *= d * c
        if abs(d * c - 1.0) < 1e-14:
            break
    return total


def beta_cdf(x: float, a: float, b: float) -> float:
    """P(X <= x) of a beta distribution."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_continued_fraction(x, a, b) / a
    return 1.0 - front * _beta_continued_fraction(1 - x, b, a) / b


def _beta_quantile(p: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if beta_cdf(middle, a, b) < p else (low, middle)
    return (low + high) / 2


def clopper_pearson(hits: int, trials: int, level: float = 0.95) -> Interval:
    """The exact two-sided interval of a proportion: each side is wrong with probability (1 - level) / 2 at most."""
    if trials == 0:
        return Interval(0.0, 1.0)
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else _beta_quantile(tail, hits, trials - hits + 1)
    high = 1.0 if hits == trials else _beta_quantile(1 - tail, hits + 1, trials - hits)
    return Interval(low, high)


def ranks(values: Floats) -> Floats:
    """Ranks from 1 on, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def auc(positives: Floats, negatives: Floats) -> Area:
    """The chance that a positive scores above a negative, ties counting half, with DeLong's 95 % interval."""
    positives, negatives = np.asarray(positives, float), np.asarray(negatives, float)
    m, n = len(positives), len(negatives)
    if not m or not n:
        raise ValueError(f"an area needs scores of both kinds, not {m} positives and {n} negatives")
    everyone = ranks(np.concatenate([positives, negatives]))
    above = (everyone[:m] - ranks(positives)) / n
    below = 1 - (everyone[m:] - ranks(negatives)) / m
    value = float(above.mean())
    variance = (above.var(ddof=1) if m > 1 else 0.25) / m + (below.var(ddof=1) if n > 1 else 0.25) / n
    reach = 1.96 * math.sqrt(variance)
    return Area(value, Interval(max(value - reach, 0.0), min(value + reach, 1.0)))


def stratified_auc(scores: Floats, positive: npt.NDArray[np.bool_], strata: npt.NDArray[np.int64]) -> Area:
    """The chance that a positive scores above a negative of its own stratum, over all such pairs.

    What a stratum already tells, the size of a cell for example, is no merit of the scores.
    """
    total, weighed, variance = 0.0, 0.0, 0.0
    for stratum in np.unique(strata):
        here = strata == stratum
        inside, outside = scores[here & positive], scores[here & ~positive]
        pairs = float(len(inside) * len(outside))
        if pairs:
            value, interval = auc(inside, outside)
            deviation = max(interval.high - value, value - interval.low) / 1.96
            total, weighed, variance = total + pairs, weighed + pairs * value, variance + (pairs * deviation) ** 2
    if not total:
        raise ValueError("no stratum has both positives and negatives")
    value, reach = weighed / total, 1.96 * math.sqrt(variance) / total
    return Area(value, Interval(max(value - reach, 0.0), min(value + reach, 1.0)))


def spread(ratios: Floats) -> tuple[float, Interval]:
    """Root mean square of standardised residuals (1 when they are as large as declared), with its 95 % interval.

    The interval rests on the fourth moment of what was seen: noise that was cut off has other tails than a normal law.
    """
    squares = np.asarray(ratios, float) ** 2
    mean = float(squares.mean())
    reach = 1.96 * float(squares.std(ddof=1)) / math.sqrt(len(squares)) if len(squares) > 1 else mean
    return math.sqrt(mean), Interval(math.sqrt(max(mean - reach, 0.0)), math.sqrt(mean + reach))


DELTA = 1e-6
"""The chance, of an exceptional loss, beside which epsilon is told."""


def epsilon_at(rho: float, delta: float = DELTA) -> float:
    """The epsilon that ``rho`` of zero-concentrated differential privacy amounts to beside ``delta``.

    Canonne, Kamath and Steinke, "The discrete Gaussian for differential privacy" (2020, arXiv 2004.00010), proposition
    12, the best order alpha found on a grid: an upper bound for every mechanism that spends rho, discrete Gaussian
    noise on many cells included. The analytic Gaussian mechanism (Balle and Wang 2018) would say 7 % less, of one
    continuous draw.
    """
    beyond = np.geomspace(1e-3, 1e5, 100_001)
    alpha = 1 + beyond
    epsilon = alpha * rho + (-math.log(delta) - np.log(beyond) + alpha * np.log1p(-1 / alpha)) / beyond
    return float(epsilon.min())


def gaussian_auc(rho: float) -> float:
    """What the best possible attacker reaches against Gaussian noise that spends ``rho``, everybody else known.

    What is published of all cells is a normal vector that a privacy unit shifts by sqrt(2 rho) standard deviations at
    most. The likelihood ratio looks along that shift, where presence and absence are two normal laws so far apart: one
    draw of the one is above a draw of the other with probability Phi(sqrt(2 rho) / sqrt(2)).
    """
    return math.erfc(-math.sqrt(rho / 2)) / 2


def epsilon_bound(
    true_positives: int, positives: int, false_positives: int, negatives: int, delta: float = DELTA
) -> float:
    """The epsilon that a test of membership proves a mechanism to lose beside ``delta``, at least.

    Each of the two rates is within its bound with probability 97.5 %: both are with 95 %.
    """
    hit = clopper_pearson(true_positives, positives).low - delta
    alarm = clopper_pearson(false_positives, negatives).high
    return math.log(hit / alarm) if hit > 0 else -math.inf
