"""Noise inside a DuckDB query.

DuckDB calls Python once for each 2048 rows or fewer. With a cell a row, a million cells took 0.6 to 1.2 s in a query,
of which the noise itself 0.3 s at most; with an array of cells a row, 0.2 s in all. So no function takes one cell.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from duckdb.func import ARROW, SPECIAL

from privacy.noise.gaussian import GaussianNoise

Draw = Callable[[str], GaussianNoise]
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
        cells = pc.binary_join_element_wise(begins.take(lots.value_parent_indices()), lots.flatten(), "")
        bounds = np.concatenate([[0], np.cumsum(lots.value_lengths())])
        drawn = _drawn(draw, names.combine_chunks().dictionary_encode(), bounds, cells)
        return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), pa.array(drawn))

    connection.create_function(
        "noise",
        noise,
        ["VARCHAR", "VARCHAR", "VARCHAR[]"],
        "BIGINT[]",
        type=ARROW,
        null_handling=SPECIAL,
        side_effects=False,
    )


def _drawn(
    draw: Draw, names: pa.DictionaryArray, bounds: npt.NDArray[np.int64], cells: pa.ChunkedArray
) -> npt.NDArray[np.int64]:
    """The noise of all cells: those of a lot lie between two bounds, and a lot has one name."""
    if len(names.dictionary) == 1:
        return draw(names.dictionary[0].as_py())(cells)
    drawn = np.empty(len(cells), dtype=np.int64)
    codes = np.asarray(names.indices)
    for code, name in enumerate(names.dictionary.to_pylist()):
        here = np.concatenate([np.arange(bounds[lot], bounds[lot + 1]) for lot in np.flatnonzero(codes == code)])
        drawn[here] = draw(name)(cells.take(pa.array(here)))
    return drawn
