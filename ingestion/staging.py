"""Between conforming and committing: conformed rows wait on disk by event day, then become Parquet data files.

Memory is bounded by the buffer, by a data file at a time, and by 16 bytes per row of a scope (a day, or a month where
the key is a pseudonym) while duplicate keys are looked for; there are two at a time of each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from ingestion.register import Dataset
from ingestion.scopes import Scope, scope

BUFFER_BYTES = 64 * 2**20
FILE_ROWS = 1_000_000
ROW_GROUP_ROWS = 250_000
ZSTD_LEVEL = 1  # two thirds of the time of the default level, and 3 % more bytes

_AT_ONCE = 2

_HASH = "key_hash"


@dataclass(frozen=True)
class DataFile:
    """A Parquet file on local disk with rows of one event day, ready to be committed."""

    path: Path
    day: date
    rows: int


class Duplicates(NamedTuple):
    """What :meth:`Stage.drop_duplicates` dropped: all of ``rows``, and some lines of ``partly``."""

    rows: pl.Series
    partly: pl.Series


@dataclass(frozen=True)
class _Part:
    """Consecutive rows of one day, in order of delivery: in memory, or in an Arrow file."""

    content: pl.DataFrame | Path

    def read(self, columns: list[str] | None = None) -> pl.DataFrame:
        if isinstance(self.content, Path):
            return pl.read_ipc(self.content, columns=columns)
        return self.content if columns is None else self.content.select(columns)


class Stage:
    """Conformed rows of one delivery, by event day, in order of delivery."""

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        """``folder`` is an empty folder for the stage's files; removing it is the caller's business."""
        self._dataset = dataset
        self._folder = folder
        self._buffer: dict[date, list[pl.DataFrame]] = defaultdict(list)
        self._buffered = 0.0  # bytes
        self._parts: dict[date, list[_Part]] = defaultdict(list)
        self._dropped: dict[tuple[date, int], pl.Series] = {}

    def add(self, lines: pl.DataFrame) -> None:
        """Take the next conformed lines: ``row`` and the columns of the conformed model."""
        if lines.is_empty():
            return
        # Days and hashes are worked out here, beside the conforming of the next lines, and not once all are there.
        lines = lines.with_columns(lines.select(self._dataset.key).hash_rows().alias(_HASH))
        for (day,), part in lines.partition_by("event_date", as_dict=True).items():
            self._buffer[day].append(part)
        self._buffered += lines.estimated_size()
        if self._buffered >= BUFFER_BYTES:
            for day, part in self._take_buffer():
                target = self._folder / f"{day}-{len(self._parts[day])}.arrow"
                part.write_ipc(target)
                self._parts[day].append(_Part(target))

    def drop_duplicates(self) -> Duplicates:
        """Of the lines with the same key, keep the first delivered. To be called once, after the last :meth:`add`."""
        for day, part in self._take_buffer():
            self._parts[day].append(_Part(part))
        scopes: dict[Scope, list[date]] = defaultdict(list)
        for day in sorted(self._parts):
            scopes[scope(self._dataset, day)].append(day)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            dropped = [rows for rows in pool.map(self._drop_duplicates_of, scopes.values()) if rows is not None]
        if not dropped:
            nothing = pl.Series("row", [], pl.Int64)
            return Duplicates(nothing, nothing)
        lost = pl.concat(dropped).value_counts(name="lost")
        lines = [
            rows.filter(rows.is_in(lost["row"].implode())) for part in self._all_parts() for rows in part.read(["row"])
        ]
        fate = lost.join(pl.concat(lines).value_counts(name="lines"), on="row").sort("row")
        gone = pl.col("lost") == pl.col("lines")
        return Duplicates(fate.filter(gone)["row"], fate.filter(~gone)["row"])

    def write(self, folder: Path, schema: pa.Schema, **constants: str) -> list[DataFile]:
        """Write the data files, ordered by day: ``<day>-<n>.parquet`` in ``folder``.

        Args:
            folder: where to.
            schema: columns in order, with their Iceberg field ids.
            constants: columns that have the same value everywhere.
        """
        added = [pl.lit(value).alias(name) for name, value in constants.items()]

        def write_day(day: date) -> list[DataFile]:
            files = []
            for number, lines in enumerate(_in_files(self._kept(day))):
                target = folder / f"{day}-{number}.parquet"
                write_data_file(lines.with_columns(added), schema, target)
                files.append(DataFile(target, day, lines.height))
            return files

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [file for files in pool.map(write_day, sorted(self._parts)) for file in files]

    def _take_buffer(self) -> Iterator[tuple[date, pl.DataFrame]]:
        for day, parts in self._buffer.items():
            yield day, pl.concat(parts)
        self._buffer.clear()
        self._buffered = 0.0

    def _all_parts(self) -> Iterator[_Part]:
        for parts in self._parts.values():
            yield from parts

    def _drop_duplicates_of(self, days: list[date]) -> pl.Series | None:
        """The ``row`` of each line dropped from ``days``, which make a scope; None when no key is there twice."""
        hashes = pl.concat(part.read([_HASH])[_HASH] for day in days for part in self._parts[day])
        ordered = np.sort(hashes.to_numpy())  # a fifth of the time of counting distinct ones
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(twice):
            return None
        suspects = pl.Series(twice).unique().implode()
        lines = pl.concat(
            part.read(["row", _HASH, *self._dataset.key])
            .with_row_index("position")
            .filter(pl.col(_HASH).is_in(suspects))
            .with_columns(day=pl.lit(day), number=pl.lit(number))
            for day in days
            for number, part in enumerate(self._parts[day])
        ).sort("row", maintain_order=True)
        lost = lines.filter(~pl.struct(self._dataset.key).is_first_distinct())
        if lost.is_empty():  # different keys with the same hash
            return None
        for (day, number), of_part in lost.partition_by("day", "number", as_dict=True).items():
            self._dropped[day, number] = of_part["position"]
        return lost["row"]

    def _kept(self, day: date) -> Iterator[pl.DataFrame]:
        for number, part in enumerate(self._parts[day]):
            lines = part.read()
            dropped = self._dropped.get((day, number))
            if dropped is not None:
                lines = lines.filter(~pl.int_range(pl.len(), dtype=dropped.dtype).is_in(dropped.implode()))
            yield lines


def _in_files(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The rows of ``frames`` in pieces of at most :data:`FILE_ROWS`, as few as possible."""
    waiting: list[pl.DataFrame] = []
    for frame in frames:
        waiting.append(frame)
        while sum(piece.height for piece in waiting) >= FILE_ROWS:
            everything = pl.concat(waiting)
            yield everything.head(FILE_ROWS)
            waiting = [everything.tail(-FILE_ROWS)]
    rest = pl.concat(waiting)
    if rest.height:
        yield rest


def write_data_file(lines: pl.DataFrame, schema: pa.Schema, target: Path) -> None:
    """Write ``lines`` as a Parquet file with the columns, types and field ids of ``schema``; others are left out."""
    lines.select(schema.names).write_parquet(
        target, compression="zstd", compression_level=ZSTD_LEVEL, row_group_size=ROW_GROUP_ROWS, arrow_schema=schema
    )
