"""Between conforming and committing: conformed lines wait by event day, on disk when there are many, and become Parquet
data files, one or more a day.

What has to go to disk goes as the data file that it probably is: in a delivery in order of time a day comes in one
piece, and rarely has a key twice. Only days that came in several pieces, or have such keys, are read and written again.

Memory is bounded by the buffer, by a data file at a time, and by 16 bytes per line of a scope (a day, or a month where
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

from ingestion.conformed.scopes import Scope, scope
from ingestion.register import Dataset

BUFFER_BYTES = 64 * 2**20
FILE_ROWS = 1_000_000
LEAST_FILE_ROWS = 10_000  # fewer are rather a piece of a day whose rest is to come
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
    """Consecutive lines of one day, in order of delivery: in memory, or in a file (Arrow, or Parquet as a data file).

    ``marks`` has of each line its ``row`` and the hash of its key.
    """

    content: pl.DataFrame | Path
    marks: pl.DataFrame | Path
    lines: int

    def read(self, columns: list[str] | None = None) -> pl.DataFrame:
        return _read(self.content, columns)

    def read_marks(self, *columns: str) -> pl.DataFrame:
        return _read(self.marks, list(columns))

    @property
    def data_file(self) -> Path | None:
        """The data file that this is already."""
        return self.content if isinstance(self.content, Path) and self.content.suffix == ".parquet" else None


def _read(content: pl.DataFrame | Path, columns: list[str] | None) -> pl.DataFrame:
    if isinstance(content, pl.DataFrame):
        return content if columns is None else content.select(columns)
    return (pl.read_parquet if content.suffix == ".parquet" else pl.read_ipc)(content, columns=columns)


class Stage:
    """Conformed lines of one delivery, by event day, in order of delivery."""

    def __init__(self, dataset: Dataset, folder: Path, schema: pa.Schema, **constants: str) -> None:
        """Begin with nothing.

        Args:
            dataset: of the delivery.
            folder: an empty folder for the stage's files; removing it is the caller's business.
            schema: of the data files: columns in order, with their Iceberg field ids.
            constants: columns of theirs that have the same value everywhere.
        """
        self._dataset = dataset
        self._folder = folder
        self._schema = schema
        self._constants = [pl.lit(value).alias(name) for name, value in constants.items()]
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
        for day, part in _by_day(lines):
            self._buffer[day].append(part)
        self._buffered += lines.estimated_size()
        if self._buffered >= BUFFER_BYTES:
            newest = lines["event_date"][-1]  # more of it is probably to come
            for day in [day for day in self._buffer if day != newest] or [newest]:
                self._parts[day].append(self._on_disk(day, pl.concat(self._buffer.pop(day))))
            self._buffered = sum(part.estimated_size() for parts in self._buffer.values() for part in parts)

    def drop_duplicates(self) -> Duplicates:
        """Of the lines with the same key, keep the first delivered. To be called once, after the last :meth:`add`."""
        for day, parts in self._buffer.items():
            part = pl.concat(parts)
            self._parts[day].append(_Part(part, part, part.height))
        self._buffer.clear()
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
            rows.filter(rows.is_in(lost["row"].implode()))
            for parts in self._parts.values()
            for part in parts
            for rows in part.read_marks("row")
        ]
        fate = lost.join(pl.concat(lines).value_counts(name="lines"), on="row").sort("row")
        gone = pl.col("lost") == pl.col("lines")
        return Duplicates(fate.filter(gone)["row"], fate.filter(~gone)["row"])

    def data_files(self) -> list[DataFile]:
        """The data files, ordered by day: as few of a day as possible, of at most :data:`FILE_ROWS` rows."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [file for files in pool.map(self._files_of, sorted(self._parts)) for file in files]

    def _on_disk(self, day: date, part: pl.DataFrame) -> _Part:
        path = self._folder / f"{day}-part-{len(self._parts[day])}"
        if not LEAST_FILE_ROWS <= part.height <= FILE_ROWS:
            lines = path.with_suffix(".arrow")
            part.write_ipc(lines)
            return _Part(lines, lines, part.height)
        marks, lines = path.with_suffix(".marks.arrow"), path.with_suffix(".parquet")
        part.select("row", _HASH).write_ipc(marks)
        write_data_file(part.with_columns(self._constants), self._schema, lines)
        return _Part(lines, marks, part.height)

    def _files_of(self, day: date) -> list[DataFile]:
        parts = self._parts[day]
        if len(parts) == 1 and (day, 0) not in self._dropped and (written := parts[0].data_file):
            return [DataFile(written, day, parts[0].lines)]
        files = []
        for number, lines in enumerate(_in_files(self._kept(day))):
            target = self._folder / f"{day}-{number}.parquet"
            write_data_file(lines, self._schema, target)
            files.append(DataFile(target, day, lines.height))
        return files

    def _drop_duplicates_of(self, days: list[date]) -> pl.Series | None:
        """The ``row`` of each line dropped from ``days``, which make a scope; None when no key is there twice."""
        hashes = pl.concat(part.read_marks(_HASH)[_HASH] for day in days for part in self._parts[day])
        ordered = np.sort(hashes.to_numpy())  # a fifth of the time of counting distinct ones
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(twice):
            return None
        suspects = pl.Series(twice).unique().implode()
        lines = pl.concat(
            pl.concat([part.read_marks("row", _HASH), part.read(list(self._dataset.key))], how="horizontal")
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
            lines = part.read().with_columns(self._constants).select(self._schema.names)
            dropped = self._dropped.get((day, number))
            if dropped is not None:
                lines = lines.filter(~pl.int_range(pl.len(), dtype=pl.UInt32).is_in(dropped.implode()))
            yield lines


def _by_day(lines: pl.DataFrame) -> Iterator[tuple[date, pl.DataFrame]]:
    """The lines of each day; as they lie, without a copy, where the lines are in order of time."""
    runs = lines["event_date"].rle().struct.unnest()
    if runs.height > runs["value"].n_unique():
        for (day,), part in lines.partition_by("event_date", as_dict=True).items():
            yield day, part
        return
    start = 0
    for length, day in runs.iter_rows():
        yield day, lines.slice(start, length)
        start += length


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
