"""A delivery in the making: a header and lines of text, with what the lake should make of each line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import BinaryIO

import polars as pl

from infra.calendar.clock import midnight


@dataclass(frozen=True)
class Table:
    """The rows of a delivery.

    ``rows`` has one row per line: ``line`` (text, without quotes nor line end), ``key`` (what identifies the record in
    its silo) and ``event_date`` (the local day it belongs to).
    """

    header: str
    delimiter: str
    rows: pl.DataFrame

    @property
    def columns(self) -> list[str]:
        return self.header.split(self.delimiter)

    def text(self) -> str:
        """The delivery as text."""
        return "\n".join([self.header, *self.rows["line"], ""])

    def cells(self, column: str) -> pl.Series:
        """The values of a column, as text."""
        position = self.columns.index(column)
        return self.rows["line"].str.split(self.delimiter).list.get(position).alias(column)

    def with_cells(self, positions: Iterable[int], values: Mapping[str, Iterable[str]]) -> Table:
        """The same table with new ``values`` (column: one per position) at some row ``positions`` (from 0)."""
        where = list(positions)
        lines = [line.split(self.delimiter) for line in self.rows["line"].gather(where)]
        for column, cells in values.items():
            index = self.columns.index(column)
            for line, cell in zip(lines, cells, strict=True):
                line[index] = cell
        changed = pl.Series([self.delimiter.join(line) for line in lines], dtype=pl.String)
        return replace(self, rows=self.rows.with_columns(line=self.rows["line"].scatter(where, changed)))


def write_lines(target: BinaryIO, lines: pl.Series) -> None:
    """Append lines, each with its line end, to a file; as fast as memory is copied."""
    ended = pl.select(pl.format("{}\n", lines)).to_series().to_arrow(compat_level=pl.CompatLevel.oldest())
    target.write(ended.buffers()[2])


def write_table(path: Path, table: Table) -> None:
    path.write_bytes(table.text().encode())


def instants(day: date, minutes: int, time_zone: str) -> pl.DataFrame:
    """Every start of an interval of so many ``minutes`` in a local day, however long the day is.

    Columns: ``hour`` (local, 0 to 23) and ``text`` (ISO 8601 with the UTC offset).
    """
    first, end = (midnight(each, time_zone) for each in (day, day + timedelta(days=1)))
    start = pl.datetime_range(first, end, interval=f"{minutes}m", closed="left").dt.convert_time_zone(time_zone)
    return pl.select(start=start).select(
        hour=pl.col("start").dt.hour().cast(pl.Int64), text=pl.col("start").dt.strftime("%Y-%m-%dT%H:%M:%S%:z")
    )
