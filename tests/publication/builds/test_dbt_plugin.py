from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from infra import catalog
from infra.build_spec import BuildSpec, CityReference, Place, Unit, Zone
from infra.calendar.days import DayRange
from infra.keys.store import KeyStore
from infra.settings import Settings
from publication.builds import sources
from publication.builds.dbt_plugin import (
    SpecMissingError,
    attach,
    calendar,
    hours,
    read_spec,
    register_noise,
)

ZONES = tuple(
    Zone(
        zone_id=name,
        zone_name=name,
        area_id=name,
        area_name=name,
        published_zone_id=name,
        published_zone_name=name,
    )
    for name in ("port", "unknown")
)
CITY = CityReference(
    name="small",
    time_zone="Europe/Paris",
    footfall_measure="presence",
    zones=ZONES,
    places=(Place(place_id="quay", place_name="Quay", zone_id="port", area_m2=10.0, density_threshold=2.0),),
)


def spec(*, tables: dict[str, str | None] | None = None, city: CityReference = CITY) -> BuildSpec:
    return BuildSpec(
        build_id="b",
        tables=tables or {},
        units=(
            Unit(mart="a", first_day=date(2025, 10, 1), last_day=date(2025, 12, 31)),
            Unit(mart="a", first_day=date(2026, 4, 1), last_day=date(2026, 6, 30), edition=2),
        ),
        coverage={
            "tows": (
                DayRange(first_day=date(2025, 10, 24), last_day=date(2025, 12, 31)),
                DayRange(first_day=date(2026, 4, 1), last_day=date(2026, 4, 2)),
            ),
            "crowd_flows": (
                DayRange(first_day=date(2025, 10, 1), last_day=date(2025, 10, 1)),
                DayRange(first_day=date(2025, 10, 3), last_day=date(2025, 10, 31)),
                DayRange(first_day=date(2026, 6, 1), last_day=date(2026, 6, 1)),
            ),
        },
        city=city,
    )


def test_the_calendar_holds_the_covered_days_of_the_units() -> None:
    everything = calendar(spec())
    crowd, days = everything.filter(silo="crowd_flows"), everything.filter(silo="tows")
    assert len(crowd) == 1 + 29 + 1
    assert date(2025, 10, 2) not in crowd["day"]
    assert days["day"].min() == date(2025, 10, 24)
    assert days.filter(pl.col("day").is_between(date(2026, 1, 1), date(2026, 3, 31))).is_empty()
    assert days["day"].max() == date(2026, 4, 2)
    assert len(days) == 8 + 30 + 31 + 2
    assert days.filter(day=date(2026, 4, 2)).row(0, named=True) == {
        "silo": "tows",
        "day": date(2026, 4, 2),
        "month_start": date(2026, 4, 1),
        "month_end": date(2026, 4, 30),
        "quarter_start": date(2026, 4, 1),
        "quarter_end": date(2026, 6, 30),
        "iso_weekday": 4,
        "is_clock_change": False,
    }


@pytest.mark.parametrize(
    ("time_zone", "changes"),
    [("Europe/Paris", [date(2025, 10, 26)]), ("America/Chicago", [date(2025, 11, 2)]), ("Asia/Tokyo", [])],
)
def test_clocks_change_on_the_days_of_the_city(time_zone: str, changes: list[date]) -> None:
    days = calendar(spec(city=CITY.model_copy(update={"time_zone": time_zone})))
    assert days.filter("is_clock_change", silo="tows")["day"].to_list() == changes


def test_the_hours_of_a_day_are_those_of_the_citys_clock() -> None:
    found = hours(spec())
    assert found["silo"].unique().sort().to_list() == ["crowd_flows", "tows"]
    of_tows = found.filter(silo="tows")
    autumn = of_tows.filter(day=date(2025, 10, 26))  # covered, and clocks go back at three
    assert autumn.filter(hour=2).row(0, named=True) == {
        "silo": "tows",
        "day": date(2025, 10, 26),
        "month_start": date(2025, 10, 1),
        "quarter_start": date(2025, 10, 1),
        "iso_weekday": 7,
        "hour": 2,
        "hours": 2,
        "hours_covered": 2,
    }
    by_day = of_tows.group_by("day").agg(pl.col("hours").sum(), pl.col("hours_covered").sum())
    assert by_day.filter(day=date(2025, 10, 1)).row(0) == (date(2025, 10, 1), 24, 0)
    assert by_day.filter(day=date(2025, 10, 26)).row(0) == (date(2025, 10, 26), 25, 25)
    assert (
        by_day.filter(pl.col("hours_covered") > 0)["day"]
        .sort()
        .equals(calendar(spec()).filter(silo="tows")["day"].sort())
    )
    spring = spec().model_copy(
        update={"units": (Unit(mart="a", first_day=date(2026, 3, 29), last_day=date(2026, 3, 29)),)}
    )
    assert hours(spring).filter(silo="tows")["hour"].to_list() == [0, 1, *range(3, 24)]


def test_tables_without_a_snapshot_are_empty_and_typed() -> None:
    with duckdb.connect() as connection:
        attach(connection, spec())
        for table in sources.conformed().values():
            relation = connection.sql(f"from conformed.{table.name}")
            assert relation.columns == list(table.columns)
            assert relation.aggregate("count(*)").fetchall() == [(0,)]
        places = connection.execute("select place_id, density_threshold from reference.places order by 1").fetchall()
        assert places == [("quay", 2.0), ("unknown", None)]
        assert connection.execute("select * from reference.settings").fetchall() == [
            ("small", "Europe/Paris", "presence", 19)
        ]


def test_the_plugin_forbids_downloads() -> None:
    with duckdb.connect() as connection:
        attach(connection, spec())
        installs = (
            "select current_setting('autoinstall_known_extensions'), current_setting('autoload_known_extensions')"
        )
        assert connection.execute(installs).fetchall() == [(False, False)]


def test_a_missing_spec_is_a_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(SpecMissingError, match="CALANQUE_BUILD_SPEC is not set"):
        read_spec({})
    with pytest.raises(SpecMissingError, match="is not a file"):
        read_spec({"CALANQUE_BUILD_SPEC": str(tmp_path / "none.json")})


@pytest.mark.live
def test_tables_in_the_object_store_are_read_as_publisher(lake: Settings) -> None:
    """Only the days to build that its silo was declared complete for, whatever else the table holds."""
    held = [date(2025, 9, 30), date(2025, 10, 1), date(2025, 10, 2), date(2025, 10, 3), date(2026, 2, 1)]
    held += [date(2026, 5, 31), date(2026, 6, 1)]
    rows = pa.table(
        {
            "place_id": ["quay"] * len(held),
            "direction": ["in"] * len(held),
            "people": pa.array([2**number for number in range(len(held))], pa.int64()),
            "event_date": pa.array(held),
        }
    )
    missing = {
        name: kind for name, kind in sources.conformed()["crowd_flows"].columns.items() if name not in rows.column_names
    }
    types = {
        "varchar": pa.string(),
        "integer": pa.int32(),
        "double": pa.float64(),
        "timestamptz": pa.timestamp("us", "UTC"),
    }
    for name, kind in missing.items():
        rows = rows.append_column(name, pa.nulls(len(held), types[kind]))
    tables = catalog.open_catalog(lake, "pipeline")
    table = catalog.ensure_table(tables, "conformed.plugin_test", rows.schema, partition_by="event_date")
    table.append(rows)
    location = catalog.metadata_location(table.refresh())
    assert location.startswith("s3://")
    with duckdb.connect() as connection, pytest.MonkeyPatch.context() as environment:
        for name, value in lake.environment().items():
            environment.setenv(name, value)
        attach(connection, spec(tables={"crowd_flows": location}))
        read = connection.execute("select people from conformed.crowd_flows order by 1").fetchall()
    tables.drop_table("conformed.plugin_test")
    assert read == [(2,), (8,), (64,)]


def drawn(keys: KeyStore, mart: str = "m", edition: int = 1, unit: str = "2026-03-01") -> list[int]:
    """Noise of many cells, to tell two streams apart."""
    with duckdb.connect() as connection:
        register_noise(connection, keys)
        return [
            value
            for (value,) in connection.execute(
                "select unnest(noise(?, 'cell ', list(i::varchar order by i))) from range(5000) as cells (i)",
                [f"0.5 1 {mart} {edition} {unit}"],
            ).fetchall()
        ]


def test_noise_is_the_same_for_the_same_mart_edition_unit_and_cell_only(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys")
    first = drawn(keys)
    assert drawn(keys) == first
    others = [
        drawn(keys, mart="n"),
        drawn(keys, edition=2),
        drawn(keys, unit="2026-03-02"),
        drawn(keys, unit="2026-04-01"),
        drawn(KeyStore(tmp_path / "others")),
    ]
    for other in others:
        assert abs(float(np.corrcoef(first, other)[0, 1])) < 0.05


def test_noise_of_several_units_and_lots_in_one_query_is_that_of_each(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys")
    lots = """
        select day, lot, cell, noise
        from (
            select
                day,
                lot,
                unnest(ends) as cell,
                unnest(noise('0.5 9 m 1 2026-03-0' || day, lot || '|', ends)) as noise
            from (
                select 1 + i % 3 as day, chr(97 + i::int % 7) as lot, range(i % 5)::varchar[] as ends
                from range(3000) as lots (i)
            )
        )
    """
    with duckdb.connect() as connection:
        register_noise(connection, keys)
        mixed = connection.execute(f"select distinct day, lot, cell, noise from ({lots}) order by all").fetchall()
        alone = [
            (day, lot, str(cell), noise)
            for day in (1, 2, 3)
            for lot in "abcdefg"
            for cell in range(4)
            for (noise,) in connection.execute(
                f"select unnest(noise('0.5 9 m 1 2026-03-0{day}', '', ['{lot}|{cell}']))"
            ).fetchall()
        ]
    assert mixed == alone


def test_a_destroyed_noise_key_stops_the_query(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys")
    keys.destroy("noise", "2026-03")
    with pytest.raises(duckdb.Error, match="destroyed"):
        drawn(keys)
