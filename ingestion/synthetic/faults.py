"""The faults that real senders make, as changes to a delivery.

Row faults write wrong cells into a few rows of a good delivery. File faults make a bad file out of a good delivery; the
good one is delivered as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from infra.calendar.clock import clock_changes, to_utc
from infra.city.profile import City
from ingestion.formats.reading import MALFORMED
from ingestion.synthetic.table import Table

ROWS_PER_FAULT = 3
STRAY_DELIMITER = "{delimiter}"


@dataclass(frozen=True)
class Scene:
    """Where and when a fault happens.

    The ``day`` of the delivery, a point ``outside`` the city, a local time that the city's clocks ``skipped`` (None
    where they never do).
    """

    day: date
    outside: tuple[str, str]
    skipped: str | None


def scene(city: City, day: date) -> Scene:
    """The scene of a delivery of ``day``."""
    return Scene(day, _outside(city), _skipped(city.time_zone, day))


def _outside(city: City) -> tuple[str, str]:
    capitals = pl.DataFrame({"lon": ["2.34880", "13.37770", "-0.12760"], "lat": ["48.85341", "52.51630", "51.50720"]})
    found = city.locate(capitals["lon"].cast(pl.Float64), capitals["lat"].cast(pl.Float64))
    lon, lat = capitals.filter(found.is_null()).row(0)
    return lon, lat


def _skipped(time_zone: str, until: date) -> str | None:
    """The latest time, to the half hour, that no clock of ``time_zone`` showed; None if there was none for a year."""
    for day in sorted(clock_changes(time_zone, until - timedelta(days=400), until), reverse=True):
        times = pl.datetime_range(day, day + timedelta(days=1), interval="30m", closed="left", eager=True).alias("time")
        never = times.to_frame().filter(to_utc(pl.col("time"), time_zone).is_null())
        if never.height:
            return str(never["time"].dt.strftime("%Y-%m-%d %H:%M:%S")[-1])
    return None


@dataclass(frozen=True)
class Example:
    """A good made-up record of one layout of a format, and the profile of a city that takes it.

    ``other`` is another value of the column that tells records apart: with it, it is another good record.
    """

    record: Mapping[str, str]
    city: str
    other: Mapping[str, str]


Cells = Callable[[Scene], Mapping[str, str] | None]


@dataclass(frozen=True)
class Break:
    """A way to break a rule: other ``cells`` (column: value) in a good record; None where the scene offers none.

    ``kind`` is what the demo city's senders call it, for those that they commit.
    """

    rule: str
    layout: str
    cells: Cells
    warns: bool = False
    kind: str | None = None


@dataclass(frozen=True)
class Breaks:
    """Writes ways to break the rules about one layout."""

    layout: str

    def __call__(
        self, rule: str, cells: Cells | Mapping[str, str], kind: str | None = None, *, warns: bool = False
    ) -> Break:
        return Break(rule, self.layout, cells if callable(cells) else lambda _: cells, warns, kind)

    def of_events(self, moment: str, lon: str, lat: str, last: str, record: str) -> tuple[Break, ...]:
        """Of events with a record number, a local time and a place, given the columns; ``last`` ends the line."""

        def outside(scene: Scene) -> Mapping[str, str]:
            return {lon: scene.outside[0], lat: scene.outside[1]}

        def skipped(scene: Scene) -> Mapping[str, str] | None:
            return {moment: scene.skipped} if scene.skipped else None

        return (
            self("coordinates_unknown", {lon: "99999", lat: "99999"}, "sentinel_coordinates", warns=True),
            self("coordinates_unknown", {lon: "", lat: ""}, "blank_coordinates", warns=True),
            self("coordinates_unreadable", {lat: "43°17'N"}, "bad_coordinates"),
            self("outside_city", outside, "outside_city"),
            self("time_does_not_exist", skipped, "clock_change"),
            self("date_unreadable", lambda scene: {moment: f"{scene.day.year}-02-31 10:00:00"}, "bad_date"),
            self("date_out_of_range", {moment: "2199-01-01 08:00:00"}, "future_date"),
            self("time_unreadable", lambda scene: {moment: f"{scene.day} 27:80:00"}, "bad_time"),
            self("record_missing", {record: ""}, "missing_record_number"),
            self(MALFORMED, {last: STRAY_DELIMITER}, "stray_delimiter"),
        )

    def of_counts(self, moment: str, off_grid: str, last: str) -> tuple[Break, ...]:
        """Of counts at a time with its UTC offset, given the columns; ``off_grid`` is a time within an interval."""
        return (
            self("count_absurd", {"count": "88000000"}, "absurd_count"),
            self("count_unreadable", {"count": "douze"}, "bad_count"),
            self("date_unreadable", lambda scene: {moment: f"{scene.day.year}-02-31T10:00:00+01:00"}, "bad_date"),
            self("date_out_of_range", {moment: "2199-01-01T08:00:00+01:00"}, "future_date"),
            self("starts_off_grid", lambda scene: {moment: f"{scene.day}T{off_grid}+02:00"}, "off_grid"),
            self(MALFORMED, {last: STRAY_DELIMITER}, "stray_delimiter"),
        )


@dataclass(frozen=True)
class FileFault:
    """A bad file, refused as a whole by ``rule``. ``make`` makes it of a delivery and one of another silo."""

    kind: str
    rule: str
    make: Callable[[Table, Table, np.random.Generator], bytes]


def file_faults(required: str, renamed: tuple[str, str]) -> tuple[FileFault, ...]:
    """Faults of whole files, given a ``required`` column, and one with its new name."""

    def junk(_: Table, __: Table, random: np.random.Generator) -> bytes:
        return b"\x89PNG\r\n\x1a\n" + random.bytes(2_000)

    def without_column(table: Table, _: Table, __: np.random.Generator) -> bytes:
        position = table.columns.index(required)
        lines = (line.split(table.delimiter) for line in (table.header, *table.rows["line"]))
        return "\n".join(table.delimiter.join(cells[:position] + cells[position + 1 :]) for cells in lines).encode()

    def with_new_name(table: Table, _: Table, __: np.random.Generator) -> bytes:
        return table.text().replace(*renamed, 1).encode()

    return (
        FileFault("empty_file", "empty_file", lambda *_: b""),
        FileFault("binary_junk", "binary_content", junk),
        FileFault("missing_column", "columns_missing", without_column),
        FileFault("renamed_column", "columns_missing", with_new_name),
        FileFault("wrong_silo", "wrong_silo", lambda _, other, __: other.text().encode()),
    )


def truncated(table: Table) -> tuple[bytes, int]:
    """The first part of a delivery, cut in the middle of a row, and how many rows it has, the cut one included."""
    whole = int(table.rows.height * 0.6)
    first_cell = table.rows["line"][whole].split(table.delimiter)[0]
    return "\n".join([table.header, *table.rows["line"].head(whole), first_cell + table.delimiter]).encode(), whole + 1
