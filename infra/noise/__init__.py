"""Exact integer noise that depends on a key and the identity of a cell, and on nothing else.

The value of a cell is a function of (key, cell, variance) in the mathematical sense: neither the order or number of the
cells, nor batches, threads, machine or library versions can change it. Why the distribution is exact:
:mod:`infra.noise.gaussian` and :mod:`infra.noise.inversion`; why the random bits are: :mod:`infra.noise.prf`.
"""

from infra.noise.gaussian import GaussianNoise
from infra.noise.prf import derive
from infra.noise.sql import register

__all__ = ["GaussianNoise", "derive", "register"]
