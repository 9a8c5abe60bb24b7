"""Draws of integers by inversion, exact, from 32-bit words.

Let U be uniform in [0, 1) and D the largest m with U < P(D >= m): then D has exactly the distribution wanted. Of U only
the first word W is read, so U is known to lie in [W, W + 1) / 2**32. A table holds floor(2**32 * P(D >= m)) for each m,
computed in integers with bounds that decide the floor. Where W is greater or less than a table entry, so are all U
that begin with W: U < P(D >= m) is decided. Where they are equal, further bits of U decide, by exact arithmetic
(:mod:`privacy.noise.exact`): about one draw in 2**32 for each entry of the table. No floating-point number takes part.

The comparisons end because P(D >= m) is transcendental (Lindemann and Weierstrass: it is a rational function of the
exponential of a rational number), hence never equal to a fraction of a power of two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from privacy.noise.exact import WORD, Bounds, Real, Uniform

_GUIDE_SHIFT = 16

Tails = Callable[[int], Iterator[Bounds]]
"""Given a precision in bits: bounds of P(D >= 1), P(D >= 2), ... at that precision, as far as D goes."""


class Inversion:
    """A distribution on 0, 1, 2...

    Args:
        tail: ``tail(m)`` is P(D >= m) as a number that can be computed to any precision.
        thresholds: floor(2**32 * P(D >= m)) for m = 1, 2..., decreasing, up to the greatest value of D or the first 0.
    """

    def __init__(self, tail: Callable[[int], Real], thresholds: list[int]) -> None:
        self._tail = tail
        self._ascending = np.array(thresholds[::-1], np.uint32)
        # Words that begin with the same 16 bits mostly mean the same value: where a threshold lies among them, -1.
        firsts = np.arange(1 << (WORD - _GUIDE_SHIFT), dtype=np.uint32) << np.uint32(_GUIDE_SHIFT)
        lasts = firsts + np.uint32((1 << _GUIDE_SHIFT) - 1)
        clear = np.searchsorted(self._ascending, firsts, "left") == np.searchsorted(self._ascending, lasts, "right")
        self._guide = np.where(clear, self._count_above(firsts), -1)

    def _count_above(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
        return len(self._ascending) - np.searchsorted(self._ascending, words, "right")

    def draw(self, words: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
        """One value a word, and the rows where the word does not decide: there the value is the least one possible."""
        values = self._guide[words >> np.uint32(_GUIDE_SHIFT)]
        mixed = np.flatnonzero(values < 0)
        close = words[mixed]
        above = self._count_above(close)
        values[mixed] = above
        nearest = self._ascending[len(self._ascending) - 1 - np.minimum(above, len(self._ascending) - 1)]
        return values, mixed[nearest == close]

    def settle(self, variate: Uniform, least: int) -> int:
        """The value that ``variate`` means, known to be ``least`` or more."""
        value = least
        while variate.below(self._tail(value + 1)):
            value += 1
        return value


def thresholds(tails: Tails, bits: int = 3 * WORD) -> list[int]:
    """The table of an :class:`Inversion`; ``bits`` is the precision to begin with."""
    while True:
        table: list[int] = []
        for low, high in tails(bits):
            entry = low >> (bits - WORD)
            if high >> (bits - WORD) != entry:
                break  # the bounds do not decide the floor
            table.append(entry)
            if entry == 0:
                return table
        else:
            return table
        bits *= 2
