"""The discrete Laplace distribution, exact: P(X = x) proportional to exp(-|x| * rate), rate = epsilon / sensitivity.

With p = exp(-rate): X < 0 with probability p / (1 + p); then X = -1 - G, else X = G, where P(G >= m) = p**m. Hence
P(X = x) = p**|x| * (1 - p) / (1 + p) on both sides. The two digits of G in base 4096 are independent: the higher one is
geometric with p**4096, the lower one geometric with p below 4096. So three small tables serve every scale, each read by
a word of its own; :mod:`infra.noise.inversion` tells why each draw is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from infra.noise.exact import Bounds, Real, exp_neg, zero
from infra.noise.inversion import Inversion, thresholds
from infra.noise.prf import Draws, Prf, derive

BASE = 1 << 12
LEAST_RATE = Fraction(1, 1 << 21)
"""A scale of two million: beyond it the table of the higher digit would no longer be small."""


class Laplace:
    """Draws with the given rate; uses words 0 to 2 of a cell.

    Raises:
        ValueError: the rate is below ``LEAST_RATE``.
    """

    def __init__(self, rate: Fraction) -> None:
        if rate < LEAST_RATE:
            raise ValueError(
                f"a noise scale of {float(1 / rate):.3g} is above {1 / LEAST_RATE}, the greatest supported"
            )
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


class LaplaceNoise:
    """Discrete Laplace noise under one key, ready to be drawn again and again: ``noise(cells)``.

    The distribution takes part in the key: other scales under the same key give unrelated noise, so that two releases
    of one cell at two scales cannot be subtracted from each other.
    """

    def __init__(self, key: bytes, epsilon: Fraction | int, sensitivity: int = 1) -> None:
        if not isinstance(epsilon, Fraction | int):
            raise TypeError(f"epsilon must be a Fraction, exact as written, not {type(epsilon).__name__}")
        if epsilon <= 0:
            raise ValueError(f"epsilon must be greater than 0, not {epsilon}")
        if not isinstance(sensitivity, int):
            raise TypeError(f"sensitivity must be an integer, not {type(sensitivity).__name__}")
        if sensitivity < 1:
            raise ValueError(f"sensitivity must be 1 or more, not {sensitivity}")
        rate = Fraction(epsilon, sensitivity)
        self._prf = Prf(derive(key, "discrete laplace", f"{rate.numerator}/{rate.denominator}"))
        self._laplace = laplace(rate)

    def __call__(self, cells: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """The noise of each cell; see :func:`discrete_laplace`."""
        chunks = [self._laplace.draw(self._prf.draws(states)) for states in self._prf.states(cells)]
        return np.concatenate(chunks) if chunks else np.empty(0, np.int64)


def discrete_laplace(
    key: bytes, cells: pa.Array | pa.ChunkedArray, epsilon: Fraction | int, sensitivity: int = 1
) -> npt.NDArray[np.int64]:
    """Integer noise, one value a cell, P(X = x) proportional to exp(-|x| * epsilon / sensitivity).

    Args:
        key: 32 secret bytes, from :func:`infra.noise.derive`.
        cells: identities, strings or bytes of any length. Equal identities have equal noise.
        epsilon: the privacy parameter, exact.
        sensitivity: by how much one privacy unit can change the counts.

    Raises:
        TypeError: cells are not an Arrow array of strings or bytes; epsilon is a float; sensitivity is no integer.
        ValueError: a null cell, a key of another length, epsilon <= 0, sensitivity < 1, a scale above two million.
    """
    return LaplaceNoise(key, epsilon, sensitivity)(cells)
