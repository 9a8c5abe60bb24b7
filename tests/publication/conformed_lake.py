"""Conformed tables made up and committed as the way in would, so that builds can be tried without deliveries."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl
import psycopg
import pyarrow as pa

from infra import catalog, database, registry
from infra.calendar import clock
from infra.city.profile import load_city
from infra.settings import Settings

SILOS = {
    "verbalisations": "verbalisations",
    "tows": "tows",
    "crowd_flows": "crowd_flows",
    "telecom_footfall": "telecom_footfall",
}
_SILO_OF = {**SILOS, "crowd_places": "crowd_flows"}


def commit(
    settings: Settings, dataset: str, rows: pa.Table, delivery_id: str, covers: Collection[date] | None = None
) -> None:
    """Append ``rows`` to a conformed table and record the commit, in the order of the way in.

    The delivery covers the days of its rows, or those given.
    """
    tables = catalog.open_catalog(settings, "pipeline")
    table = catalog.ensure_table(tables, f"conformed.{dataset}", rows.schema, partition_by="event_date")
    table.append(rows)
    table = table.refresh()
    snapshot = table.current_snapshot()
    days = sorted(set(rows["event_date"].to_pylist()))
    with database.connect(settings, "pipeline", "lake") as connection:
        registry.add_commit(
            connection,
            silo=_SILO_OF[dataset],
            dataset=dataset,
            delivery_id=delivery_id,
            days=days,
            snapshot_id=snapshot.snapshot_id if snapshot else None,
        )
        declare(connection, _SILO_OF[dataset], days if covers is None else covers, delivery_id)


def declare(connection: psycopg.Connection, silo: str, days: Collection[date], delivery_id: str | None = None) -> None:
    """Declare a silo complete for days, as the note of a delivery does."""
    registry.declare(
        connection,
        silo,
        days,
        source="note" if delivery_id else "steward",
        said_by="tests",
        said_at=datetime.now(UTC),
        delivery_id=delivery_id,
    )


def populate(settings: Settings, days: Collection[date], datasets: Collection[str], seed: int = 0) -> None:
    """Commit made-up rows of every dataset for ``days``, one delivery each, which covers the days from the beginning of
    the quarter on: nothing happened on those without rows.
    """
    covers = list(clock.days(clock.quarter_start(min(days)), max(days)))
    makers = {
        "verbalisations": verbalisations,
        "tows": tows,
        "crowd_flows": crowd_flows,
        "telecom_footfall": telecom_footfall,
    }
    for dataset in datasets:
        delivery_id = hashlib.sha256(f"{dataset} {sorted(days)} {seed}".encode()).hexdigest()
        commit(settings, dataset, makers[dataset](settings, sorted(days), delivery_id, seed), delivery_id, covers)


def _events(
    settings: Settings, days: Collection[date], a_day: int, seed: int
) -> tuple[pl.DataFrame, np.random.Generator]:
    random = np.random.default_rng(seed)
    zones = load_city(settings).zones["zone_id"]
    count = a_day * len(days)
    hours = random.integers(0, 24, count)
    event_days = [day for day in sorted(days) for _ in range(a_day)]
    frame = pl.DataFrame(
        {
            "record_key": [random.bytes(16) for _ in range(count)],
            "vehicle": [random.bytes(16) for _ in range(count)],
            "at": [datetime.combine(day, time(int(hour)), UTC) for day, hour in zip(event_days, hours, strict=True)],
            "local_hour": pl.Series(hours, dtype=pl.Int32),
            "zone_id": zones.gather(random.zipf(1.3, count) % len(zones)),
            "event_date": pl.Series(event_days, dtype=pl.Date),
        }
    )
    return frame, random


def verbalisations(settings: Settings, days: Collection[date], delivery_id: str, seed: int) -> pa.Table:
    frame, random = _events(settings, days, 400, seed)
    natures = ["stationnement_genant", "vitesse", "autre"]
    return _arrow(
        frame.select(
            "record_key",
            "vehicle",
            pl.col("at").alias("occurred_at"),
            "local_hour",
            "zone_id",
            pl.Series("nature", random.choice(natures, frame.height)),
            pl.lit("natinf").alias("offence_system"),
            pl.lit("6207").alias("offence_code"),
            pl.lit("PM").alias("corps"),
            "event_date",
            pl.lit("pve").alias("format"),
            pl.lit(delivery_id).alias("delivery_id"),
        )
    )


def tows(settings: Settings, days: Collection[date], delivery_id: str, seed: int) -> pa.Table:
    frame, _ = _events(settings, days, 200, seed)
    return _arrow(
        frame.select(
            "record_key",
            "vehicle",
            pl.col("at").alias("removed_at"),
            "local_hour",
            "zone_id",
            pl.lit("stationnement_genant").alias("reason"),
            pl.lit("depot").alias("depot"),
            (pl.col("at") + timedelta(hours=30)).alias("released_at"),
            pl.lit("released").alias("outcome"),
            "event_date",
            pl.lit("fourriere").alias("format"),
            pl.lit(delivery_id).alias("delivery_id"),
        )
    )


def crowd_flows(settings: Settings, days: Collection[date], delivery_id: str, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    places = load_city(settings).places["place_id"].head(3)
    starts = pl.DataFrame(
        {"starts_at": [datetime.combine(day, time(hour), UTC) for day in sorted(days) for hour in range(6, 22)]}
    )
    frame = starts.join(pl.DataFrame({"place_id": places}), how="cross").join(
        pl.DataFrame({"direction": ["in", "out"]}), how="cross"
    )
    return _arrow(
        frame.select(
            "place_id",
            "direction",
            pl.lit("all").alias("cohort"),
            "starts_at",
            pl.lit(15, dtype=pl.Int32).alias("duration_minutes"),
            pl.col("starts_at").dt.hour().cast(pl.Int32).alias("local_hour"),
            pl.Series("people", random.integers(0, 300, frame.height)),
            pl.lit(None, dtype=pl.Float64).alias("area_m2"),
            pl.col("starts_at").dt.date().alias("event_date"),
            pl.lit("counter").alias("format"),
            pl.lit(delivery_id).alias("delivery_id"),
        )
    )


def telecom_footfall(settings: Settings, days: Collection[date], delivery_id: str, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    zones = load_city(settings).zones["zone_id"]
    starts = pl.DataFrame(
        {"starts_at": [datetime.combine(day, time(hour), UTC) for day in sorted(days) for hour in range(22)]}
    )
    frame = starts.join(pl.DataFrame({"zone_id": zones}), how="cross").join(
        pl.DataFrame({"category": ["resident", "worker", "visitor"]}), how="cross"
    )
    return _arrow(
        frame.select(
            "zone_id",
            "category",
            pl.lit("presence").alias("measure"),
            pl.lit("all").alias("stratum"),
            "starts_at",
            pl.col("starts_at").dt.hour().cast(pl.Int32).alias("local_hour"),
            pl.Series("people", random.integers(0, 300, frame.height)).cast(pl.Float64),
            pl.col("starts_at").dt.date().alias("event_date"),
            pl.lit("presence").alias("format"),
            pl.lit(delivery_id).alias("delivery_id"),
        )
    )


def crowd_places(*places: str) -> pa.Table:
    """A register of sensors; none of the places is in the city profile."""
    return _arrow(
        pl.DataFrame({"place_id": places}).select(
            "place_id",
            pl.col("place_id").alias("place_name"),
            pl.lit(5.38).alias("lon"),
            pl.lit(43.3).alias("lat"),
            pl.lit("unknown").alias("zone_id"),
            pl.lit(None, dtype=pl.Float64).alias("area_m2"),
            pl.lit(date(1970, 1, 1)).alias("event_date"),
            pl.lit("melbourne_sensors").alias("format"),
            pl.lit("c" * 64).alias("delivery_id"),
        )
    )


def _arrow(frame: pl.DataFrame) -> pa.Table:
    table = frame.to_arrow()
    plain = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
    types = [plain.get(kind, kind) for kind in table.schema.types]
    return table.cast(pa.schema(list(zip(table.schema.names, types, strict=True))))
