"""What the tests of the noise share: a key, cells, closed forms, chi-square."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.noise import GaussianNoise

Cdf = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]

KEY = bytes(range(32))
SAMPLES = 200_000


def cells(count: int = SAMPLES, prefix: str = "verbalisations|3") -> pa.Array:
    return pc.binary_join_element_wise(prefix, pa.array(np.arange(count)).cast(pa.string()), "|")


def discrete_gaussian(key: bytes, cells: pa.Array, variance: Fraction) -> npt.NDArray[np.int64]:
    return GaussianNoise(key, variance)(cells)


def gaussian_cdf(variance: float) -> Cdf:
    """P(X <= x) of the discrete Gaussian distribution: summed, or for great variances the normal one at x + 1/2."""

    def cdf(x: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        if variance > 1e6:
            return np.array([0.5 * (1 + math.erf((v + 0.5) / math.sqrt(2 * variance))) for v in x])
        reach = math.ceil(12 * math.sqrt(variance)) + 12
        masses = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
        return (np.cumsum(masses) / masses.sum())[np.clip(x + reach, 0, 2 * reach)]

    return cdf


def gaussian_variance(variance: float) -> float:
    """The variance of the distribution whose parameter is ``variance``."""
    reach = min(math.ceil(12 * math.sqrt(variance)) + 12, 1_000_000)
    if reach == 1_000_000:
        return variance
    x = np.arange(-reach, reach + 1).astype(float)
    masses = np.exp(-(x**2) / (2 * variance))
    return float((masses * x**2).sum() / masses.sum())


def _normal(statistic: float, freedom: int) -> float:
    """A chi-square statistic as a standard normal one (Wilson and Hilferty)."""
    return ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))


def edges(deviation: float) -> npt.NDArray[np.int64]:
    """Where bins end: every integer of a narrow distribution, some eighty of a wide one."""
    return np.unique(np.round(np.linspace(-5, 5, 81) * deviation).astype(np.int64))


def fit(values: npt.NDArray[np.int64], cdf: Cdf, deviation: float) -> float:
    """How badly values fit a distribution: about standard normal when they are drawn from it."""
    ends = edges(deviation)
    chances = np.diff(np.concatenate([[0.0], cdf(ends), [1.0]]))
    seen = np.bincount(np.searchsorted(ends, values, "left"), minlength=len(ends) + 1)
    expected = chances * len(values)
    enough = expected >= 10
    statistic = float(((seen - expected)[enough] ** 2 / expected[enough]).sum())
    rest = float(expected[~enough].sum())
    if rest >= 10:
        statistic += float((seen[~enough].sum() - rest) ** 2 / rest)
    return _normal(statistic, int(enough.sum()) - (rest < 10))


def same_distribution(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64], deviation: float) -> float:
    """How badly two samples agree: about standard normal when they are drawn from the same distribution."""
    ends = edges(deviation)
    counts = np.array([np.bincount(np.searchsorted(ends, v, "left"), minlength=len(ends) + 1) for v in (a, b)], float)
    enough = counts.sum(axis=0) >= 20
    counts = np.column_stack([counts[:, enough], counts[:, ~enough].sum(axis=1)])
    counts = counts[:, counts.sum(axis=0) > 0]
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    return _normal(float(((counts - expected) ** 2 / expected).sum()), counts.shape[1] - 1)


def correlation(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> float:
    """Correlation in standard deviations: about standard normal for independent samples."""
    return float(np.corrcoef(a, b)[0, 1]) * math.sqrt(len(a))


def exp_decimal(x: Fraction) -> Decimal:
    """exp(-x) to 100 digits, by another implementation than the one under test."""
    with localcontext() as context:
        context.prec = 100
        return (-(Decimal(x.numerator) / Decimal(x.denominator))).exp()
