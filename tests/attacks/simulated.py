"""Conformed fines and tows of a made-up month, without any service: enough for the quick form of the suite."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from tests.attacks.truth import seed

VEHICLES = 9_000


def month(
    zones: Sequence[str], first: date, days: int, *, fines: int = 24_000, tows: int = 3_000
) -> dict[str, pl.DataFrame]:
    """Fines and tows with the rhythms that matter: busy and quiet zones, vehicles fined again and again."""
    random = np.random.default_rng(4)
    return {
        "verbalisations": _events(random, zones, first, days, count=fines, kind=1).select(
            *("record_key", "vehicle"),
            *(pl.col("at").alias("occurred_at"), "local_hour", "zone_id"),
            nature=_some(random, "natures", "nature", fines),
            offence_system=pl.lit("natinf"),
            offence_code=pl.lit("1"),
            corps=pl.lit(None, pl.String),
            event_date="event_date",
            format=pl.lit("pve"),
            delivery_id=pl.lit("0"),
        ),
        "tows": _events(random, zones, first, days, count=tows, kind=2).select(
            *("record_key", "vehicle"),
            *(pl.col("at").alias("removed_at"), "local_hour", "zone_id"),
            reason=_some(random, "tow_reasons", "reason", tows),
            depot=pl.lit("nord"),
            released_at=pl.col("at") + pl.duration(hours=pl.Series(random.integers(1, 200, tows))),
            outcome=pl.lit("restitution"),
            event_date="event_date",
            format=pl.lit("fourriere"),
            delivery_id=pl.lit("0"),
        ),
    }


def _events(
    random: np.random.Generator, zones: Sequence[str], first: date, days: int, *, count: int, kind: int
) -> pl.DataFrame:
    """Who, where and when. Times are those of a city on UTC's clock."""
    weights = 1 / np.arange(2, len(zones) + 2) ** 0.8
    minutes = (random.random(count) * days * 1440).astype(np.int64)
    at = pl.lit(first).cast(pl.Datetime("us", "UTC")) + pl.duration(minutes=pl.col("minutes"))
    vehicle = (random.random(count) ** 1.75 * VEHICLES).astype(np.uint64)
    return pl.DataFrame(
        {
            "record_key": _keys(np.arange(count, dtype=np.uint64), 10 + kind),
            "vehicle": _keys(vehicle, kind),
            "zone_id": pl.Series(zones).gather(random.choice(len(zones), count, p=weights / weights.sum())),
            "minutes": minutes,
        }
    ).with_columns(at=at, event_date=at.dt.date(), local_hour=at.dt.hour().cast(pl.Int32))


def _keys(numbers: np.ndarray, kind: int) -> pl.Series:  # type: ignore[type-arg]
    return pl.Series([int(number).to_bytes(8, "big") + kind.to_bytes(8, "big") for number in numbers], dtype=pl.Binary)


def _some(random: np.random.Generator, vocabulary: str, column: str, count: int) -> pl.Series:
    values = seed(vocabulary)[column]
    weights = 1 / np.arange(1, len(values) + 1)
    return values.gather(random.choice(len(values), count, p=weights / weights.sum()))
