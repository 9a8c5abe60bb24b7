from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from math import isqrt
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise_checks import exp_decimal

from privacy.noise.exact import BLOCK, WORD, Uniform, exp_neg, zero
from privacy.noise.gaussian import accept, exp_neg_float
from privacy.noise.inversion import Inversion, thresholds
from privacy.noise.laplace import BASE, digit, negative
from privacy.noise.prf import Draws

RATES = [Fraction(5), Fraction(1), Fraction(1, 2), Fraction(1, 33), Fraction(7, 10**4), Fraction(1, 10**6)]


@given(st.fractions(min_value=0, max_value=200), st.sampled_from([32, 96, 160]))
def test_bounds_of_the_exponential_hold_and_are_close(x: Fraction, bits: int) -> None:
    low, high = exp_neg(x)(bits)
    with localcontext() as context:
        context.prec = 100
        value = exp_decimal(x) * 2**bits
        allowance = Decimal(10) ** -40  # of the decimal value itself
        assert low <= value + allowance
        assert value - allowance <= high
    assert high - low <= 2


@given(st.lists(st.floats(0, 25), min_size=1, max_size=50))
def test_the_exponential_in_floating_point_keeps_its_promise(xs: list[float]) -> None:
    for x, near in zip(xs, exp_neg_float(np.array(xs)), strict=True):
        exact = exp_decimal(Fraction(x))
        assert abs(Decimal(float(near)) / exact - 1) < Decimal(2) ** -48


def test_a_variate_takes_bits_until_it_is_decided() -> None:
    asked: list[int] = []
    third = Fraction(1, 3)

    def bounds(bits: int) -> tuple[int, int]:
        scaled = third * 2**bits
        return int(scaled), int(scaled) + 1

    def block(index: int) -> int:
        asked.append(index)
        digits = int(third * 2**BLOCK)  # 0101...: the bits of 1/3 go on and on
        return digits if index < 2 else digits - 1

    assert Uniform(int(third * 2**WORD), block).below(bounds)
    assert asked == [0, 1, 2]
    assert not Uniform(0, lambda _: 0).below(zero)


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_tables_hold_the_floor_of_the_probability(rate: Fraction) -> None:
    with localcontext() as context:
        context.prec = 100
        p, full = exp_decimal(rate), exp_decimal(rate * BASE)
        expected = {
            "negative": [p / (1 + p)],
            "low": [(exp_decimal(rate * m) - full) / (1 - full) for m in range(1, BASE, 97)],
            "high": [exp_decimal(rate * BASE * m) for m in range(1, 20000, 97)],
        }
        tables = {"negative": negative(rate), "low": digit(rate, BASE), "high": digit(rate * BASE)}
        for name, chances in expected.items():
            # A word that equals a threshold is the one that does not decide.
            for m, chance in zip(range(1, BASE * 8, 97), chances, strict=False):
                word = int(chance * 2**WORD)
                values, undecided = tables[name].draw(np.array([word, word + 1], np.uint32))
                assert list(undecided)[:1] == [0], (name, m)
                assert values[0] < m
                if word == 0:
                    break


@pytest.mark.parametrize("rate", RATES[:4], ids=str)
def test_further_bits_decide_at_a_threshold(rate: Fraction) -> None:
    part = digit(rate)
    table = [int(exp_decimal(m * rate) * 2**WORD) for m in range(1, 40)]
    for m, word in enumerate(table, start=1):
        if table.count(word) > 1 or word == 0:
            continue
        least = int(part.draw(np.array([word], np.uint32))[0][0])
        assert least == m - 1
        assert part.settle(Uniform(word, lambda _: 0), least) == m
        assert part.settle(Uniform(word, lambda _: 2**BLOCK - 1), least) == m - 1


def test_the_tail_beyond_the_table_has_no_end() -> None:
    part = digit(Fraction(1))
    values, undecided = part.draw(np.array([0], np.uint32))
    assert list(undecided) == [0]
    # U = 2**-100 lies between exp(-70) and exp(-69).
    assert part.settle(Uniform(0, lambda i: 2 ** (BLOCK + WORD - 100) if i == 0 else 0), int(values[0])) == 69


def test_a_table_is_computed_again_where_its_bounds_do_not_decide() -> None:
    asked: list[int] = []

    def tails(bits: int) -> list[tuple[int, int]]:
        asked.append(bits)
        unit = 1 << (bits - WORD)
        return [(5 * unit - 1, 5 * unit + 1)] if bits < 128 else [(5 * unit + 1, 5 * unit + 3)]

    assert thresholds(lambda bits: iter(tails(bits)), 40) == [5]
    assert asked == [40, 80, 160]


def test_words_that_begin_alike_are_told_apart() -> None:
    part = Inversion(lambda _: zero, [0xFFFF0000, 0x8000FFFF, 0x70000005, 0x70000001, 3])
    answers = {  # value, whether decided
        0xFFFF0001: (0, True),
        0xFFFF0000: (0, False),
        0xFFFEFFFF: (1, True),
        0x80010000: (1, True),
        0x8000FFFF: (1, False),
        0x8000FFFE: (2, True),
        0x70000005: (2, False),
        0x70000004: (3, True),
        0x70000001: (3, False),
        0x70000000: (4, True),
        4: (4, True),
        3: (4, False),
        0: (5, True),
    }
    values, undecided = part.draw(np.array(list(answers), np.uint32))
    assert list(values) == [value for value, _ in answers.values()]
    assert list(undecided) == [i for i, (_, decided) in enumerate(answers.values()) if not decided]


@dataclass
class Words:
    """Draws whose words, and all bits after them, are given."""

    words: npt.NDArray[np.uint32]
    rest: int

    def uniform(self, row: int, slot: int) -> Uniform:
        return Uniform(int(self.words[row, slot]), lambda _: self.rest)


@pytest.mark.parametrize("variance", [Fraction(1, 3), Fraction(100), Fraction(10**12, 7)], ids=str)
def test_acceptance_is_decided_by_further_bits_where_the_word_contains_the_limit(variance: Fraction) -> None:
    scale = isqrt(int(variance)) + 1
    proposed = np.unique(np.round(np.linspace(-12, 12, 99) * scale)).astype(np.int64)
    with localcontext() as context:
        context.prec = 100
        chances = [exp_decimal((abs(int(y)) - variance / scale) ** 2 / (2 * variance)) for y in proposed]
        limits = np.array([int(chance * 2**WORD) for chance in chances])
    for shift, rest, kept in [(-1, 2**BLOCK - 1, True), (0, 0, True), (0, 2**BLOCK - 1, False), (1, 0, False)]:
        rows = (limits + shift >= 0) & (limits + shift < 2**WORD)
        words = np.repeat((limits[rows] + shift).astype(np.uint32)[:, None], 4, axis=1)
        answers = accept(cast("Draws", Words(words, rest)), proposed[rows], variance, scale)
        assert np.all(answers == kept), (shift, rest)
