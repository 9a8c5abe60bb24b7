"""Exact integer noise that depends on a key and the identity of a cell, and on nothing else.

The value of a cell is a function of (key, cell, distribution) in the mathematical sense: neither the order or number of
the cells, nor batches, threads, machine or library versions can change it. Why the distributions are exact:
:mod:`infra.noise.inversion` and :mod:`infra.noise.gaussian`; why the random bits are: :mod:`infra.noise.prf`.
"""

from infra.noise.gaussian import GaussianNoise, discrete_gaussian
from infra.noise.laplace import LaplaceNoise, discrete_laplace
from infra.noise.prf import derive
from infra.noise.sql import register

__all__ = [
    "GaussianNoise",
    "LaplaceNoise",
    "derive",
    "discrete_gaussian",
    "discrete_laplace",
    "register",
]
