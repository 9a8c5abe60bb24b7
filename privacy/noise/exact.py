"""Real numbers computed to any precision, and a uniform variate whose bits are asked for one block after another.

Everything here is integer arithmetic, slow and certain: the vectorised code turns to it for the few cells that it
cannot decide.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

WORD = 32
"""Bits of a uniform variate that the vectorised code looks at."""
BLOCK = 128
"""Bits by which a uniform variate is extended."""

Bounds = tuple[int, int]
"""``(low, high)`` with ``low <= x * 2**bits <= high``."""
Real = Callable[[int], Bounds]
"""A number in [0, 1]: given a precision in bits, bounds that close in on it as the precision grows."""


def exp_neg(x: Fraction) -> Real:
    """The number ``exp(-x)``, for ``x >= 0``."""

    def bounds(bits: int) -> Bounds:
        # exp(-x) = exp(-x / 2**halvings) ** (2**halvings), with x / 2**halvings < 1/16.
        halvings = (x.numerator // x.denominator).bit_length() + 4
        work = bits + halvings + 16
        one = 1 << work
        y = (x.numerator << work) // (x.denominator << halvings)
        # Taylor: each term is one unit too small at most, given the last; the rest is less than the term left out, 0.
        total = term = one
        terms = 0
        while term:
            terms += 1
            term = (term * y >> work) // terms
            total += -term if terms % 2 else term
        slack = 2 * terms + 2  # y is one unit too small at most
        low, high = max(total - slack, 0), min(total + slack, one)
        for _ in range(halvings):
            low, high = low * low >> work, -(-high * high >> work)
        return low >> (work - bits), -(-high >> (work - bits))

    return bounds


def zero(_bits: int) -> Bounds:
    """The number 0."""
    return 0, 0


class Uniform:
    """A uniform variate in [0, 1): its first word is known, and ``block(i)`` gives the i-th block that follows it."""

    def __init__(self, word: int, block: Callable[[int], int]) -> None:
        self._value, self._bits, self._block = word, WORD, block

    def below(self, limit: Real) -> bool:
        """Whether the variate is less than ``limit``: takes as many bits as that needs.

        It ends with probability 1, after few blocks: the chance of asking for one more is about 2**-128.
        """
        while True:
            low, high = limit(self._bits)
            if self._value + 1 <= low:
                return True
            if self._value >= high:
                return False
            more = self._block((self._bits - WORD) // BLOCK)
            self._value, self._bits = self._value << BLOCK | more, self._bits + BLOCK
