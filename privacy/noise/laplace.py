"""The discrete Laplace distribution, exact: P(X = x) proportional to exp(-|x| * rate). Gaussian noise is drawn from it.

With p = exp(-rate): X < 0 with probability p / (1 + p); then X = -1 - G, else X = G, where P(G >= m) = p**m. Hence
P(X = x) = p**|x| * (1 - p) / (1 + p) on both sides. The two digits of G in base 4096 are independent: the higher one is
geometric with p**4096, the lower one geometric with p below 4096. So three small tables serve every scale, each read by
a word of its own; :mod:`privacy.noise.inversion` tells why each draw is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from privacy.noise.exact import Bounds, Real, exp_neg, zero
from privacy.noise.inversion import Inversion, thresholds
from privacy.noise.prf import Draws

BASE = 1 << 12


class Laplace:
    """Draws with the given rate; uses words 0 to 2 of a cell. The greater the scale (1 / rate), the greater its tables:
    a few thousand entries for a million.
    """

    def __init__(self, rate: Fraction) -> None:
        self.parts = (negative(rate), digit(rate, BASE), digit(rate * BASE))

    def draw(self, draws: Draws) -> npt.NDArray[np.int64]:
        """One value a cell."""
        below, low, high = (_column(part, draws, slot) for slot, part in enumerate(self.parts))
        return (low + BASE * high) ^ -below  # x ^ -1 is -1 - x


def _column(part: Inversion, draws: Draws, slot: int) -> npt.NDArray[np.int64]:
    values, undecided = part.draw(draws.words[:, slot])
    for row in undecided:  # a few in a million
        values[row] = part.settle(draws.uniform(int(row), slot), int(values[row]))
    return values


def negative(rate: Fraction) -> Inversion:
    """1 with probability p / (1 + p), else 0."""

    def tail(m: int) -> Real:
        return below if m == 1 else zero

    def below(bits: int) -> Bounds:
        low, high = exp_neg(rate)(bits)
        one = 1 << bits
        return (low << bits) // (one + low), -(-(high << bits) // (one + high))

    return Inversion(tail, thresholds(lambda bits: iter([below(bits)])))


def digit(rate: Fraction, base: int | None = None) -> Inversion:
    """Geometric, P(D >= m) = exp(-m * rate); given that D < ``base`` if there is one."""

    def given(power: Bounds, full: Bounds, bits: int) -> Bounds:
        """The number (p**m - p**base) / (1 - p**base)."""
        one = 1 << bits
        low = (max(power[0] - full[1], 0) << bits) // (one - full[0])
        high = -(-((power[1] - full[0]) << bits) // (one - full[1]))
        return low, min(high, one)

    def tail(m: int) -> Real:
        if base is None:
            return exp_neg(m * rate)
        if m >= base:
            return zero
        return lambda bits: given(exp_neg(m * rate)(bits), exp_neg(base * rate)(bits), bits)

    def tails(bits: int) -> Iterator[Bounds]:
        first = exp_neg(rate)(bits)
        full = exp_neg(base * rate)(bits) if base else (0, 0)
        low, high = 1 << bits, 1 << bits
        m = 1
        while base is None or m < base:
            low, high = low * first[0] >> bits, -(-high * first[1] >> bits)
            yield given((low, high), full, bits)
            m += 1

    return Inversion(tail, thresholds(tails))


@lru_cache(maxsize=16)
def laplace(rate: Fraction) -> Laplace:
    """The tables of a rate, built once: some milliseconds for a great scale."""
    return Laplace(rate)
