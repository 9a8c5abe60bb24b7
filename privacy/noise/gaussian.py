"""The discrete Gaussian distribution, exact: P(X = x) proportional to exp(-x**2 / (2 * variance)).

Algorithm 3 of Canonne, Kamath and Steinke, "The discrete Gaussian for differential privacy" (2020, arXiv 2004.00010):
with t = floor(sqrt(variance)) + 1, draw Y from the discrete Laplace distribution of scale t, accept it with probability
exp(-(|Y| - variance / t)**2 / (2 * variance)), else start again. Each attempt reads words of its own, so a cell's value
is that of its first accepted attempt whatever happens to the others.

Acceptance compares a uniform variate U with exp(-g), g rational. Floating point is used as a sieve only, and only
additions, subtractions, multiplications and divisions, which IEEE 754 rounds correctly on every machine (relative error
at most u = 2**-53). Where g <= 25:

- ||Y| - variance / t| < 7.1 sqrt(variance) and |Y| < 8.1 sqrt(variance), so the error of the difference costs g 58 u at
  most, and the four operations that follow 100 u: together less than 2**-45;
- the exponential is a table of its values at multiples of 1/64, rounded from integers, times a polynomial: to within a
  relative 2**-48.

So 2**32 * exp(-g) is known to within 2**-12. A word W such that [W, W + 1) contains that number or comes nearer to it
than ``MARGIN`` = 2**-10 decides nothing, and exact arithmetic takes over: about one attempt in 2**32. Where g > 25,
2**32 * exp(-g) < 1/16: every word but 0 refuses, and 0 decides nothing.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import count
from math import factorial, isqrt

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privacy.noise.exact import WORD, exp_neg
from privacy.noise.laplace import laplace
from privacy.noise.prf import Blocks, Draws, Prf, derive

GREATEST_VARIANCE = 1 << 40
LEAST_VARIANCE = Fraction(1, 1 << 40)
MARGIN = 2.0**-10

_SLOT = 3
_FAR = 25
_STEPS = 64
_POWERS = np.array([sum(exp_neg(Fraction(k, _STEPS))(128)) / 2.0**129 for k in range(_FAR * _STEPS + 1)])
_TAYLOR = [(-1) ** k / factorial(k) for k in range(6, -1, -1)]


def exp_neg_float(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """exp(-x) for 0 <= x <= 25, to within a relative 2**-48, the same on every machine."""
    step = (x * _STEPS).astype(np.int64)
    rest = x - step / _STEPS  # exact; below 1/64: the polynomial leaves out less than 2**-54
    total = np.full_like(rest, _TAYLOR[0])
    for coefficient in _TAYLOR[1:]:
        total *= rest
        total += coefficient
    total *= _POWERS[step]
    return total


class GaussianNoise:
    """Discrete Gaussian noise under one key, ready to be drawn again and again: ``noise(cells)`` is one integer a cell,
    P(X = x) proportional to exp(-x**2 / (2 * variance)).

    The variance takes part in the key: other variances under the same key give unrelated noise, so that two releases of
    one cell at two variances cannot be subtracted from each other.

    Args:
        key: 32 secret bytes, from :func:`privacy.noise.derive`.
        variance: the parameter of the distribution, exact; from 1 on, the variance itself to within 1e-7.

    Raises:
        TypeError: the variance is a float.
        ValueError: a key of another length, a variance <= 0 or beyond 2**40 or below 2**-40.
    """

    def __init__(self, key: bytes, variance: Fraction | int) -> None:
        if not isinstance(variance, Fraction | int):
            raise TypeError(f"variance must be a Fraction, exact as written, not {type(variance).__name__}")
        if variance <= 0:
            raise ValueError(f"variance must be greater than 0, not {variance}")
        if not LEAST_VARIANCE <= variance <= GREATEST_VARIANCE:
            raise ValueError(f"a variance of {float(variance):.3g} is not between 2**-40 and 2**40, as supported")
        self._variance = Fraction(variance)
        self._prf = Prf(derive(key, "discrete gaussian", f"{self._variance.numerator}/{self._variance.denominator}"))
        self._scale = isqrt(self._variance.numerator // self._variance.denominator) + 1
        self._laplace = laplace(Fraction(1, self._scale))

    def __call__(self, cells: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """The noise of each cell: identities, strings or bytes of any length. Equal identities have equal noise.

        Raises:
            TypeError: cells are not an Arrow array of strings or bytes.
            ValueError: a cell is null.
        """
        chunks = [self._draw(states) for states in self._prf.states(cells)]
        return np.concatenate(chunks) if chunks else np.empty(0, np.int64)

    def _draw(self, states: Blocks) -> npt.NDArray[np.int64]:
        values = np.empty(len(states), np.int64)
        waiting = np.arange(len(states))
        for attempt in count():
            draws = self._prf.draws(states, attempt)
            proposed = self._laplace.draw(draws)
            accepted = accept(draws, proposed, self._variance, self._scale)
            values[waiting[accepted]] = proposed[accepted]
            refused = ~accepted
            waiting, states = waiting[refused], states[refused]
            if not len(waiting):
                break
        return values


def accept(draws: Draws, proposed: npt.NDArray[np.int64], variance: Fraction, scale: int) -> npt.NDArray[np.bool_]:
    """Which of the values proposed by the Laplace distribution of ``scale`` are kept; uses word 3 of a cell."""
    difference = np.abs(proposed) - float(variance / scale)
    g = np.minimum(difference * difference / (2 * float(variance)), _FAR)
    chance = exp_neg_float(g) * 2.0**WORD
    words = draws.words[:, _SLOT].astype(np.float64)
    accepted = words + (1 + MARGIN) <= chance
    undecided = ~accepted & (words < chance + MARGIN)
    for row in np.flatnonzero(undecided):  # one in thousands of millions
        exact = (abs(int(proposed[row])) - variance / scale) ** 2 / (2 * variance)
        accepted[row] = draws.uniform(int(row), _SLOT).below(exp_neg(exact))
    return accepted
