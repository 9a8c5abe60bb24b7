"""Noise inside a DuckDB query.

DuckDB calls Python once for each 2048 rows or fewer. With a cell a row, a million cells took 0.6 to 1.2 s in a query,
of which the noise itself 0.2 s at most; with an array of cells a row, 0.2 s in all. So no function takes one cell.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from duckdb.func import ARROW, SPECIAL

from infra.noise.gaussian import GaussianNoise
from infra.noise.laplace import LaplaceNoise

Draw = Callable[[str], LaplaceNoise | GaussianNoise]
"""The noise that a name stands for."""


def register(connection: duckdb.DuckDBPyConnection, draw: Draw) -> None:
    """Make ``noise(name, begin, ends) -> bigint[]`` a function of ``connection`` and of its cursors.

    It gives the noise, as ``draw(name)`` draws it, of as many cells as there are ``ends`` (varchar[]), in their order:
    the identity of each is ``begin`` followed by its end.

    The function is pure, so DuckDB may evaluate it in any order and on any thread. A null is an error, as everywhere:
    by default DuckDB would answer null without asking.
    """

    def noise(names: pa.ChunkedArray, begins: pa.ChunkedArray, ends: pa.ChunkedArray) -> pa.Array:
        lots = ends.combine_chunks()
        if lots.null_count:
            raise ValueError(f"{lots.null_count} of {len(lots)} arrays of cells are null")
        lot_of = lots.value_parent_indices()
        cells = pc.binary_join_element_wise(begins.take(lot_of), lots.flatten(), "")
        bounds = np.concatenate([[0], np.cumsum(lots.value_lengths())])
        return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), pa.array(_drawn(names, lot_of, cells)))

    def _drawn(names: pa.ChunkedArray, lot_of: pa.Array, cells: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        known = names.unique().to_pylist()
        if len(known) == 1:
            return draw(known[0])(cells)
        drawn = np.empty(len(cells), dtype=np.int64)
        name_of = names.take(lot_of)
        for name in known:
            here = pc.equal(name_of, name)
            drawn[np.asarray(here)] = draw(name)(cells.filter(here))
        return drawn

    connection.create_function(
        "noise",
        noise,
        ["VARCHAR", "VARCHAR", "VARCHAR[]"],
        "BIGINT[]",
        type=ARROW,
        null_handling=SPECIAL,
        side_effects=False,
    )
