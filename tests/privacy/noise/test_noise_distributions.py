"""The distributions, by chi-square against closed forms and against opendp.

The keys are fixed, so a test that passes once passes always, except where opendp draws: there the limit is so wide
that a fair sample crosses it less than once in ten million runs.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import opendp.prelude as dp
import pytest
from noise_checks import (
    KEY,
    SAMPLES,
    Cdf,
    cells,
    correlation,
    discrete_gaussian,
    fit,
    gaussian_cdf,
    gaussian_variance,
    same_distribution,
)

from privacy.noise import derive

FAIR = 3.5
FOUND_OUT = 10
OPENDP = 5.5

VARIANCES = [
    Fraction(1, 5),
    Fraction(1),
    Fraction(5, 2),
    Fraction(100),
    Fraction(12345, 7),
    *(Fraction(10**k) for k in (6, 9, 12)),
]


def moments_agree(values: npt.NDArray[np.int64], variance: float) -> None:
    x = values.astype(float)
    assert abs(x.mean()) < 4 * math.sqrt(variance / len(x))
    assert abs((x**2).mean() - variance) < 4 * math.sqrt((x**4).mean() - variance**2) / math.sqrt(len(x))


@pytest.mark.parametrize("variance", VARIANCES, ids=str)
def test_gaussian_has_its_closed_form(variance: Fraction) -> None:
    values = discrete_gaussian(KEY, cells(), variance)
    assert fit(values, gaussian_cdf(float(variance)), math.sqrt(variance)) < FAIR
    moments_agree(values, gaussian_variance(float(variance)))


@pytest.mark.parametrize("deviation", [0.75, 4.0, 1000.0])
def test_gaussian_agrees_with_opendp(deviation: float) -> None:
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    theirs = np.array(dp.m.make_gaussian(*space, scale=deviation)([0] * 100_000))
    ours = discrete_gaussian(KEY, cells(), Fraction(deviation) ** 2)
    assert same_distribution(ours, theirs, deviation) < OPENDP


def doubled_zero(variance: float) -> npt.NDArray[np.int64]:
    """A sign and a magnitude, without refusing minus zero: the classic mistake."""
    ends = gaussian_cdf(variance)(np.arange(-1, math.ceil(12 * math.sqrt(variance))))
    magnitude = np.searchsorted((ends[1:] - ends[0]) / (1 - ends[0]), np.random.default_rng(20260322).random(SAMPLES))
    return np.where(np.random.default_rng(1).random(SAMPLES) < 0.5, magnitude, -magnitude)


def rounded_gaussian(variance: float) -> npt.NDArray[np.int64]:
    return np.round(np.random.default_rng(1).normal(0, math.sqrt(variance), SAMPLES)).astype(np.int64)


@pytest.mark.parametrize(
    ("wrong", "cdf", "deviation"),
    [
        (doubled_zero(1.0), gaussian_cdf(1.0), 1.0),
        (doubled_zero(100.0), gaussian_cdf(100.0), 10.0),
        (rounded_gaussian(0.5), gaussian_cdf(0.5), 0.7),
        (discrete_gaussian(KEY, cells(), Fraction(100)), gaussian_cdf(106.0), 10.0),
        (np.abs(discrete_gaussian(KEY, cells(), Fraction(100))), gaussian_cdf(100.0), 10.0),
        (discrete_gaussian(KEY, cells(), Fraction(100)) // 2 * 2, gaussian_cdf(100.0), 10.0),
    ],
    ids=["doubled zero", "doubled zero, wide", "rounded", "6 %", "one side", "even only"],
)
def test_a_wrong_sampler_is_found_out(wrong: npt.NDArray[np.int64], cdf: Cdf, deviation: float) -> None:
    assert fit(wrong, cdf, deviation) > FOUND_OUT


def test_opendp_comparison_finds_a_wrong_sampler_out() -> None:
    ours = discrete_gaussian(KEY, cells(), Fraction(9))
    assert same_distribution(ours, doubled_zero(9.0), 3.0) > FOUND_OUT


def test_neighbours_are_independent() -> None:
    values = discrete_gaussian(KEY, cells(), Fraction(50))
    for lag in (1, 2, 3, 7, 111):
        assert abs(correlation(values[:-lag], values[lag:])) < 4
        assert abs(correlation(np.abs(values[:-lag]), np.abs(values[lag:]))) < 4


def test_the_sum_of_many_cells_varies_as_it_should() -> None:
    sums = discrete_gaussian(KEY, cells(), Fraction(1)).reshape(-1, 100).sum(axis=1)
    moments_agree(sums, 100 * gaussian_variance(1.0))


def test_keys_labels_cells_and_variances_are_unrelated() -> None:
    one = Fraction(1)
    samples = {
        "mart a, edition 1": discrete_gaussian(derive(KEY, "a", "1"), cells(), one),
        "mart a, edition 2": discrete_gaussian(derive(KEY, "a", "2"), cells(), one),
        "mart b, edition 1": discrete_gaussian(derive(KEY, "b", "1"), cells(), one),
        "other cells": discrete_gaussian(derive(KEY, "a", "1"), cells(prefix="tows|1"), one),
        "other variance": discrete_gaussian(derive(KEY, "a", "1"), cells(), 4 * one),
        "nearly the same variance": discrete_gaussian(derive(KEY, "a", "1"), cells(), Fraction(1001, 1000)),
    }
    names = list(samples)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            assert abs(correlation(samples[first], samples[second])) < 4, (first, second)
            assert abs(correlation(np.abs(samples[first]), np.abs(samples[second]))) < 4, (first, second)
