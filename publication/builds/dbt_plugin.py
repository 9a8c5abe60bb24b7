"""The dbt-duckdb plugin: gives dbt's private DuckDB database the tables of one build, as its spec describes them.

Schema ``conformed`` holds one view per conformed table over ``iceberg_scan``, restricted by literal dates to the days
to build that its silo was declared complete for, so that Iceberg prunes the files of other days before reading any.
Rows of a day that nobody declared are in no view. A table of events bears the name of its silo. Schema ``reference``
holds the public facts that grids are made of: zones, places, units, calendar, hours, settings. Function ``noise`` draws
noise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

from infra import compute
from infra.build_spec import UNKNOWN, BuildSpec, Place
from infra.calendar.days import DayRange
from infra.keys.store import Keys, open_keys
from infra.settings import Settings
from privacy import noise
from privacy import plan as privacy_plan
from privacy.noise import GaussianNoise, derive
from publication.builds import sources
from publication.builds.sources import Source

SPEC_VARIABLE = "CALANQUE_BUILD_SPEC"
ROLE = "publisher"
NOISE_KEYS = "noise"
"""The name, among those of silos, under which the key store keeps noise keys."""

_GAP = timedelta(days=31)
UNKNOWN_PLACE = Place(place_id=UNKNOWN, place_name="Unknown place", zone_id=UNKNOWN)


class SpecMissingError(RuntimeError):
    """dbt was started without a build spec."""


class Plugin(BasePlugin):
    """Attaches the build named by ``CALANQUE_BUILD_SPEC``; loaded by the project's profile."""

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        attach(conn, read_spec())


def read_spec(environment: Mapping[str, str] = os.environ) -> BuildSpec:
    """The spec this process was told to build.

    Raises:
        SpecMissingError: the variable is not set, or names no file; the message says what to do.
    """
    name = environment.get(SPEC_VARIABLE)
    if not name:
        raise SpecMissingError(f"{SPEC_VARIABLE} is not set: it names the build spec (JSON) that `calanque run` writes")
    path = Path(name)
    if not path.is_file():
        raise SpecMissingError(
            f"{SPEC_VARIABLE} names {path}, which is not a file: run `calanque run` to write a new spec"
        )
    return BuildSpec.load(path)


def attach(connection: DuckDBPyConnection, spec: BuildSpec) -> None:
    """Create the schemas ``conformed`` and ``reference`` of ``spec`` in the connection's own database."""
    if any(location and location.startswith("s3://") for location in spec.tables.values()):
        compute.prepare(connection, Settings(), ROLE)
    else:
        compute.load_extensions(connection)
    connection.execute("create schema if not exists conformed; create schema if not exists reference")
    for table in sources.conformed().values():
        connection.execute(f"create or replace view conformed.{table.name} as {_scan(table, spec)}")
    _create(connection, "zones", pl.DataFrame([zone.model_dump() for zone in spec.city.zones]))
    _create(connection, "units", units(spec))
    _create(connection, "calendar", calendar(spec))
    _create(connection, "hours", hours(spec))
    _create(connection, "month_totals", _month_totals(spec))
    _create(connection, "settings", _settings(spec))
    _create_places(connection, spec)
    register_noise(connection, open_keys(Settings()))


def units(spec: BuildSpec) -> pl.DataFrame:
    """One row per release unit to build: ``mart``, ``unit_start``, ``unit_end``, ``edition``."""
    return pl.DataFrame(
        [(unit.mart, unit.first_day, unit.last_day, unit.edition) for unit in spec.units],
        schema={"mart": pl.String, "unit_start": pl.Date, "unit_end": pl.Date, "edition": pl.Int32},
        orient="row",
    )


def register_noise(connection: DuckDBPyConnection, keys: Keys) -> None:
    """Give the connection function ``noise`` (:mod:`privacy.noise.sql`), drawn with the keys of the lake.

    Its name for noise is ``<spends> <bound> <mart> <edition> <first day of the unit>``, the first two as the privacy
    plan tells them (:mod:`privacy.plan`). The key is derived from the noise key of the unit's month, mart,
    edition and unit, so that no two of them share any noise.
    """

    @lru_cache(maxsize=4096)
    def draw(name: str) -> GaussianNoise:
        spends, bound, mart, edition, unit = name.split()
        key = derive(keys.get_or_create(NOISE_KEYS, unit[:7]), "cell", mart, edition, unit)
        return GaussianNoise(key, privacy_plan.variance(int(bound), Fraction(spends)))

    noise.register(connection, draw)


def calendar(spec: BuildSpec) -> pl.DataFrame:
    """One row per silo and day to build that it was declared complete for: ``silo``, ``day``, first and last day of its
    month and quarter, ``iso_weekday``, ``is_clock_change`` (the city's local day is not 24 hours long).
    """
    days = pl.DataFrame(
        [(silo, day) for silo, covered in sorted(spec.coverage.items()) for each in covered for day in each.days],
        schema={"silo": pl.String, "day": pl.Date},
        orient="row",
    )
    return days.select(
        "silo",
        "day",
        pl.col("day").dt.month_start().alias("month_start"),
        pl.col("day").dt.month_end().alias("month_end"),
        pl.col("day").dt.truncate("1q").alias("quarter_start"),
        pl.col("day").dt.truncate("1q").dt.offset_by("2mo").dt.month_end().alias("quarter_end"),
        pl.col("day").dt.weekday().cast(pl.Int32).alias("iso_weekday"),
        pl.col("day").is_in(_clock_changes(spec)).alias("is_clock_change"),
    )


def clock_hours(days: DayRange, time_zone: str) -> pl.DataFrame:
    """How often each local hour comes on each of these days: ``day``, ``hour``, ``hours``."""
    first, last = (
        pl.lit(day).cast(pl.Datetime("us")).dt.replace_time_zone(time_zone)
        for day in (days.first_day, days.last_day + timedelta(days=1))
    )
    at = pl.col("at")
    return (
        pl.select(at=pl.datetime_range(first, last, interval="1h", closed="left"))
        .group_by(day=at.dt.date(), hour=at.dt.hour().cast(pl.Int32))
        .agg(hours=pl.len().cast(pl.Int32))
    )


def hours(spec: BuildSpec) -> pl.DataFrame:
    """The local hours of each silo's release units: ``silo``, ``day``, ``month_start``, ``quarter_start``,
    ``iso_weekday``, ``hour``, ``hours`` and ``hours_covered``.

    ``hours`` is how often the hour comes that day: twice on the night when clocks go back, and there is no line for an
    hour that is left out. ``hours_covered`` is the same on days that the silo covers, 0 on the others.
    """
    counted = pl.concat([clock_hours(each, spec.city.time_zone) for each in spec.ranges()])
    covered = calendar(spec).select("silo", "day", covered=pl.lit(value=True))
    return (
        pl.DataFrame({"silo": sorted(spec.coverage)}, schema={"silo": pl.String})
        .join(counted, how="cross")
        .join(covered, on=["silo", "day"], how="left")
        .select(
            "silo",
            "day",
            pl.col("day").dt.month_start().alias("month_start"),
            pl.col("day").dt.truncate("1q").alias("quarter_start"),
            pl.col("day").dt.weekday().cast(pl.Int32).alias("iso_weekday"),
            "hour",
            "hours",
            pl.when("covered").then("hours").otherwise(0).alias("hours_covered"),
        )
        .sort("silo", "day", "hour")
    )


def _clock_changes(spec: BuildSpec) -> list[date]:
    """The days to build on which the city's clocks change."""
    zone = ZoneInfo(spec.city.time_zone)

    def offset(day: date) -> timedelta | None:
        return datetime.combine(day, time(), zone).utcoffset()

    return [
        day
        for days in spec.ranges()
        for day in pl.date_range(days.first_day, days.last_day, eager=True)
        if offset(day) != offset(day + timedelta(days=1))
    ]


def _scan(table: Source, spec: BuildSpec) -> str:
    """The query of a conformed view: the columns dbt may read, of the days to build."""
    location = spec.tables.get(table.name)
    if location is None:
        nothing = ", ".join(f"cast(null as {kind}) as {name}" for name, kind in table.columns.items())
        return f"select {nothing} where false"
    selected = ", ".join(f"cast({name} as {kind}) as {name}" for name, kind in table.columns.items())
    scan = f"select {selected} from iceberg_scan({_literal(location)})"
    if table.reference:
        return scan
    # One scan per run of days: a plain range of dates is what Iceberg prunes best. Small gaps are filtered within.
    return " union all ".join(f"{scan} where {_on(run)}" for run in _runs(spec.coverage.get(table.name, ()))) or (
        f"{scan} where false"
    )


def _runs(covered: Sequence[DayRange]) -> list[list[DayRange]]:
    """Ranges of days, those together between which there are few days."""
    runs: list[list[DayRange]] = []
    for days in covered:
        if runs and days.first_day - runs[-1][-1].last_day <= _GAP:
            runs[-1].append(days)
        else:
            runs.append([days])
    return runs


def _on(run: Sequence[DayRange]) -> str:
    """Whether an event lies on the days of a run."""
    whole = _between(DayRange(first_day=run[0].first_day, last_day=run[-1].last_day))
    return whole if len(run) == 1 else f"{whole} and ({' or '.join(map(_between, run))})"


def _between(days: DayRange) -> str:
    return f"event_date between date '{days.first_day}' and date '{days.last_day}'"


def _create(connection: DuckDBPyConnection, name: str, frame: pl.DataFrame) -> None:
    rows = frame.to_arrow()
    connection.register("calanque_rows", rows)
    connection.execute(f"create or replace table reference.{name} as from calanque_rows")
    connection.unregister("calanque_rows")


def _month_totals(spec: BuildSpec) -> pl.DataFrame:
    return pl.DataFrame(
        [total.model_dump() for total in spec.month_totals],
        schema={"silo": pl.String, "month_start": pl.Date, "parent": pl.String, "total": pl.Int64},
    )


def _settings(spec: BuildSpec) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "city": [spec.city.name],
            "time_zone": [spec.city.time_zone],
            "footfall_measure": [spec.city.footfall_measure],
            "footfall_hidden": [spec.city.footfall_hidden],
        }
    )


def _create_places(connection: DuckDBPyConnection, spec: BuildSpec) -> None:
    """The city's places, those that sensor registers delivered, and ``unknown``; the city's word wins."""
    known = pl.DataFrame(
        [*(place.model_dump() for place in spec.city.places), UNKNOWN_PLACE.model_dump()],
        schema={
            "place_id": pl.String,
            "place_name": pl.String,
            "zone_id": pl.String,
            "area_m2": pl.Float64,
            "density_threshold": pl.Float64,
        },
    )
    _create(connection, "places", known)
    connection.execute(
        """
        insert into reference.places
        select place_id, place_name, zone_id, area_m2, null
        from conformed.crowd_places
        where place_id not in (select place_id from reference.places)
        qualify row_number() over (partition by place_id order by event_date desc, delivery_id) = 1
        """
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
