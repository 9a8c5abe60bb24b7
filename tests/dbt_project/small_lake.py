"""A small city whose conformed tables are real Iceberg tables in a folder: no services, the same reader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import yaml
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.transforms import IdentityTransform

from infra.build_spec import UNKNOWN, BuildSpec, CityReference, Place, Unit, Zone
from infra.calendar import clock
from infra.calendar.days import ranges
from privacy.plan import plan
from publication.builds import sources

PROJECT = Path(__file__).parents[2] / "dbt_project"
TIME_ZONE = "Europe/Paris"
FIRST, LAST = date(2026, 9, 21), date(2026, 11, 20)
"""Covered days, but for a gap: the end of a quarter, more than half of the next, and the clock change of 25 October."""
COVERED = [day for day in clock.days(FIRST, LAST) if day not in {date(2026, 10, 7), date(2026, 10, 8)}]

CITY = CityReference(
    name="small",
    time_zone=TIME_ZONE,
    footfall_measure="presence",
    zones=(
        *(
            Zone(
                zone_id=zone,
                zone_name=zone.title(),
                area_id=area,
                area_name=f"Area {area}",
                published_zone_id=published,
                published_zone_name=published.title(),
            )
            for zone, area, published in (
                ("port", "north", "port"),
                ("mill", "north", "mill"),
                ("park", "south", "park"),
                ("lake", "south", "lake"),
                ("isle", "sea", "port"),  # merged into a zone of another area
            )
        ),
        Zone(
            zone_id=UNKNOWN,
            zone_name="Unknown",
            area_id=UNKNOWN,
            area_name="Unknown",
            published_zone_id=UNKNOWN,
            published_zone_name="Unknown",
        ),
    ),
    places=(
        Place(place_id="quay", place_name="Quay", zone_id="port", area_m2=100.0, density_threshold=0.5),
        Place(place_id="lane", place_name="Lane", zone_id="mill"),
    ),
)
ZONES = ("port", "port", "port", "mill", "mill", "park", "lake", "isle", UNKNOWN, "atlantis")
"""What deliveries say, with their weights; no profile lists the last."""
NATURES = ("stationnement_genant", "stationnement_genant", "vitesse", "autre")
REASONS = ("stationnement_genant", "stationnement_genant", "vehicule_epave", "non_precise")
OUTCOMES = ("restitution", "restitution", "en_cours", "deplacement_technique", "non_precise")


@dataclass(frozen=True)
class Lake:
    """``keys`` is the key store: lakes that share it draw the same noise."""

    folder: Path
    keys: Path
    tables: dict[str, pl.DataFrame]
    spec: BuildSpec


def tables(seed: int = 1) -> dict[str, pl.DataFrame]:
    """The rows of every conformed table, some of them outside the covered days."""
    random = np.random.default_rng(seed)
    return {
        "verbalisations": _fines(random, 12_000),
        "tows": _tows(random, 8_000),
        "crowd_flows": _crowd(random),
        "crowd_places": pl.DataFrame(
            {
                "place_id": ["lane", "bridge"],
                "place_name": ["Not its name", "Bridge"],
                "lon": [5.3, 5.4],
                "lat": [43.3, 43.4],
                "zone_id": ["mill", "lake"],
                "area_m2": [50.0, 40.0],
                "event_date": [date(1970, 1, 1)] * 2,
            }
        ),
        "telecom_footfall": _footfall(random),
    }


def make(folder: Path, keys: Path, rows: dict[str, pl.DataFrame], parts: int = 1) -> Lake:
    """Write ``rows`` as Iceberg tables, in ``parts`` commits each, and the spec that reads them."""
    folder.mkdir(parents=True)
    catalog = SqlCatalog("small", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace("conformed")
    locations: dict[str, str | None] = dict.fromkeys(sources.conformed())
    for name, frame in rows.items():
        whole = _arrow(frame.with_columns(format=pl.lit("test"), delivery_id=pl.lit("0" * 64)))
        table = catalog.create_table(f"conformed.{name}", schema=whole.schema)
        with table.update_spec() as update:
            update.add_field("event_date", IdentityTransform(), "event_date_day")
        step = -(-whole.num_rows // parts)
        for start in range(0, whole.num_rows, step):
            table.append(whole.slice(start, step))
        locations[name] = table.metadata_location
    spec = BuildSpec(
        build_id="test",
        tables=locations,
        units=units(),
        coverage=dict.fromkeys({mart.silo for mart in plan().marts.values()}, ranges(COVERED)),
        city=CITY,
    )
    spec.save(folder / "spec.json")
    return Lake(folder, keys, rows, spec)


def units() -> tuple[Unit, ...]:
    """Every release unit of every mart that has a covered day."""
    found = []
    for mart, of in plan().marts.items():
        for day in COVERED:
            first = pl.select(
                pl.lit(day).dt.truncate({"day": "1d", "month": "1mo", "quarter": "1q"}[of.release])
            ).item()
            last = pl.select(
                pl.lit(first).dt.offset_by({"day": "1d", "month": "1mo", "quarter": "1q"}[of.release])
            ).item()
            found.append(Unit(mart=mart, first_day=first, last_day=last - timedelta(days=1)))
    return tuple(sorted(set(found), key=lambda unit: (unit.mart, unit.first_day)))


def privacy() -> dict[str, Any]:
    """The privacy plan of the project, with less noise and lower thresholds: a small lake would hide everything."""
    real = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]["privacy"]
    for name, of in real["marts"].items():
        of["spends"] = "1"
        of["bound"] = min(of["bound"], 20)
        of["threshold"] = 200 if name.startswith("footfall") else 11
    return real


def dbt(lake: Lake, *arguments: str, real_plan: bool = False) -> subprocess.CompletedProcess[str]:
    """Run dbt on a lake; its database is ``build.duckdb`` in the lake's folder, its artifacts are in ``target``.

    With ``real_plan`` the project's own privacy plan holds, and artifacts are in ``target-real``.
    """
    target = lake.folder / ("target-real" if real_plan else "target")
    options = ("--project-dir", PROJECT, "--profiles-dir", PROJECT, "--target-path", target, "--log-path", target)
    return subprocess.run(
        [
            *(sys.executable, "-m", "dbt.cli.main", "--no-use-colors", *arguments, *map(str, options)),
            *(() if real_plan else ("--vars", json.dumps({"privacy": privacy()}))),
        ],
        cwd=lake.folder,
        env={
            **os.environ,
            "CALANQUE_BUILD_SPEC": str(lake.folder / "spec.json"),
            "CALANQUE_HOME": str(lake.folder),
            "CALANQUE_KEYS": str(lake.keys),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def mart(lake: Lake, name: str, order: list[str]) -> pl.DataFrame:
    return read(lake, f"from marts.{name}").sort(order)


def read(lake: Lake, query: str) -> pl.DataFrame:
    with duckdb.connect(str(lake.folder / "build.duckdb"), read_only=True) as connection:
        return connection.execute(query).pl()


def _arrow(frame: pl.DataFrame) -> pa.Table:
    """Arrow as PyIceberg takes it: no view types, instants in UTC."""
    table = frame.to_arrow()
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return table.cast(pa.schema([field.with_type(plain.get(field.type, field.type)) for field in table.schema]))


def _instants(random: np.random.Generator, count: int) -> pl.DataFrame:
    """Random instants, from a few days before the covered days to a few after, and their local day and hour."""
    first = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) - timedelta(days=3)
    # Fewer and fewer, so that late days fall under the threshold.
    minutes = (random.random(count) ** 6 * ((LAST - FIRST).days + 6) * 1440).astype(np.int64)
    at = pl.Series("at", [first]).dt.cast_time_unit("us")[0] + pl.Series("at", minutes * 60_000_000).cast(
        pl.Duration("us")
    )
    return _local(pl.DataFrame({"at": at}))


def _local(frame: pl.DataFrame) -> pl.DataFrame:
    local = pl.col("at").dt.convert_time_zone(TIME_ZONE)
    return frame.with_columns(event_date=local.dt.date(), local_hour=local.dt.hour().cast(pl.Int32))


def _some(random: np.random.Generator, values: tuple[str, ...], count: int) -> pl.Series:
    return pl.Series(random.choice(values, count))


def _keys(random: np.random.Generator, count: int) -> pl.Series:
    return pl.Series([random.bytes(16) for _ in range(count)], dtype=pl.Binary)


def _vehicles(random: np.random.Generator, count: int) -> pl.Series:
    """Pseudonyms: a few vehicles come again and again, some rows have none."""
    fleet = [random.bytes(16) for _ in range(count)]
    which = (random.random(count) ** 2 * count).astype(int)
    known = random.random(count) < 0.9
    return pl.Series([fleet[n] if told else None for n, told in zip(which, known, strict=True)], dtype=pl.Binary)


def _fines(random: np.random.Generator, count: int) -> pl.DataFrame:
    return _instants(random, count).select(
        record_key=_keys(random, count),
        vehicle=_vehicles(random, count),
        occurred_at=pl.when(pl.Series(random.random(count) < 0.95)).then("at"),
        local_hour=pl.when(pl.Series(random.random(count) < 0.9)).then("local_hour"),
        zone_id=_some(random, ZONES, count),
        nature=_some(random, NATURES, count),
        offence_system=pl.lit("natinf"),
        offence_code=pl.lit("1"),
        corps=pl.lit(None, pl.String),
        event_date="event_date",
    )


def _tows(random: np.random.Generator, count: int) -> pl.DataFrame:
    outcome = _some(random, OUTCOMES, count)
    delay = pl.Series((random.exponential(150, count) * 3_600_000_000).astype(np.int64)).cast(pl.Duration("us"))
    return (
        _instants(random, count)
        .with_columns(outcome=outcome, released=pl.col("at") + delay)
        .select(
            record_key=_keys(random, count),
            vehicle=_vehicles(random, count),
            removed_at="at",
            local_hour="local_hour",
            zone_id=_some(random, ZONES, count),
            reason=_some(random, REASONS, count),
            depot=pl.lit("north"),
            released_at=pl.when(pl.col("outcome") == "restitution").then("released"),
            outcome="outcome",
            event_date="event_date",
        )
    )


def _every(minutes: int) -> pl.DataFrame:
    first = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) - timedelta(days=1)
    last = datetime(LAST.year, LAST.month, LAST.day, tzinfo=UTC) + timedelta(days=1)
    return _local(pl.DataFrame({"at": pl.datetime_range(first, last, f"{minutes}m", eager=True)}))


def _crowd(random: np.random.Generator) -> pl.DataFrame:
    def counter(place: str, minutes: int, cohorts: tuple[str, ...], mean: float, area: float | None) -> pl.DataFrame:
        cells = _every(minutes).join(pl.DataFrame({"direction": ["in", "out"]}), how="cross")
        cells = cells.join(pl.DataFrame({"cohort": cohorts}), how="cross")
        # Quiet by night, and silent now and then.
        rate = pl.when(pl.col("local_hour") < 6).then(mean / 40).otherwise(mean)
        people = random.poisson(cells.select(rate)["literal"].to_numpy())
        cells = cells.with_columns(people=pl.Series(people, dtype=pl.Int64)).filter(
            pl.Series(random.random(len(cells)) < 0.9)
        )
        return cells.select(
            place_id=pl.lit(place),
            direction="direction",
            cohort="cohort",
            starts_at="at",
            duration_minutes=pl.lit(minutes, pl.Int32),
            local_hour="local_hour",
            people="people",
            area_m2=pl.lit(area, pl.Float64),
            event_date="event_date",
        )

    return pl.concat(
        [
            counter("quay", 15, ("all",), 25, None),
            counter("lane", 60, ("adult", "child"), 9, None),
            counter("bridge", 60, ("all",), 60, 33.0),
            counter("nowhere", 60, ("all",), 0.4, None),
        ]
    )


def _footfall(random: np.random.Generator) -> pl.DataFrame:
    hours = _every(60)
    hours = hours.filter(pl.Series(random.random(len(hours)) < 0.97))  # hours that the operator never delivered
    cells = (
        hours.join(pl.DataFrame({"zone_id": sorted(set(ZONES))}), how="cross")
        .join(pl.DataFrame({"category": ["resident", "worker", "visitor"], "mean": [80.0, 21.0, 8.0]}), how="cross")
        .with_columns(stratum=pl.lit(""), measure=pl.lit("presence"))
    )
    arrivals = cells.filter(pl.Series(random.random(len(cells)) < 0.1)).with_columns(measure=pl.lit("arrivals"))
    cells = pl.concat([cells, arrivals])
    people = np.round(random.gamma(2, cells["mean"].to_numpy() / 2), 3)
    cells = cells.with_columns(people=pl.Series(people)).filter(pl.col("people") > 1)
    return cells.select(
        "zone_id",
        "category",
        "measure",
        "stratum",
        starts_at="at",
        local_hour="local_hour",
        people="people",
        event_date="event_date",
    )
