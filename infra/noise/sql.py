"""Noise inside a DuckDB query.

DuckDB calls Python once for each 2048 rows or fewer. A million cells took 0.49 s in a query, of which the noise itself
0.12 s; fetched as one Arrow table, given their noise at once and registered again, 0.22 s. A function is for small
tables and for queries written by hand; a great grid goes by way of Arrow:
``table.append_column("noise", pa.array(noise(table["cell"])))``.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL
from duckdb.sqltypes import BIGINT, VARCHAR

from infra.noise.gaussian import GaussianNoise
from infra.noise.laplace import LaplaceNoise


def sql_function(noise: LaplaceNoise | GaussianNoise) -> Callable[[pa.Array | pa.ChunkedArray], pa.Array]:
    """``noise`` as DuckDB calls an Arrow function of one VARCHAR or BLOB that returns a BIGINT."""

    def function(cells: pa.Array | pa.ChunkedArray) -> pa.Array:
        return pa.array(noise(cells))

    return function


def register(connection: duckdb.DuckDBPyConnection, name: str, noise: LaplaceNoise | GaussianNoise) -> None:
    """Make ``name(cell)`` a function of ``connection`` and of its cursors.

    The function is pure, so DuckDB may evaluate it once for equal constants, in any order and on any thread. A null
    cell is an error, as everywhere: by default DuckDB would answer null without asking.
    """
    connection.create_function(
        name, sql_function(noise), [VARCHAR], BIGINT, type=ARROW, null_handling=SPECIAL, side_effects=False
    )
