"""Exact integer noise that depends on a key and the identity of a cell, and on nothing else.

The value of a cell is a function of (key, cell, variance) in the mathematical sense: neither the order or number of the
cells, nor batches, threads, machine or library versions can change it. Why the distribution is exact:
:mod:`privacy.noise.gaussian` and :mod:`privacy.noise.inversion`; why the random bits are: :mod:`privacy.noise.prf`.
"""

from privacy.noise.gaussian import GaussianNoise
from privacy.noise.prf import derive
from privacy.noise.sql import register

__all__ = ["GaussianNoise", "derive", "register"]
