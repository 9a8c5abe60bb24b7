"""The counts behind the marts of a small lake, worked out again in Polars from what their documentation says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl
from small_lake import CITY, COVERED, Lake

from infra.build_spec import UNKNOWN

CATEGORIES = ["resident", "worker", "visitor"]
DIRECTIONS = ["in", "out", "both"]
BANDS = {
    "night": range(7),
    "morning": range(7, 10),
    "midday": range(10, 16),
    "evening_peak": range(16, 20),
    "evening": range(20, 24),
}
NATURE_GROUPS = ["stationnement_genant", "stationnement_tres_genant", "autre_stationnement", "vitesse_priorite"]
NATURE_GROUPS += ["conduite", "autre"]
GROUP_OF_NATURE = {"vitesse": "vitesse_priorite"}
REASON_GROUPS = ["stationnement_genant", "stationnement_tres_genant", "abusif_epave", "manifestation_travaux", "autre"]
GROUP_OF_REASON = {"vehicule_epave": "abusif_epave", "non_precise": "autre"}
DELAY_GROUPS = ["under_1_day", "1_to_3_days", "over_3_days", "not_impounded", "unknown"]
PERIODS = {"day": "1d", "month": "1mo", "quarter": "1q"}
HIDDEN = 19
"""What a cell of footfall counts that the operator, who hides counts under 20, did not deliver."""


@dataclass(frozen=True)
class Counted:
    """The cells of one mart that have any data: ``period_start``, the rest of the grid, and ``exact``."""

    unit: str
    axes: tuple[pl.DataFrame, ...]
    values: pl.DataFrame

    def frame(self) -> pl.DataFrame:
        """Every cell of the grid with its count."""
        grid = _periods(self.unit)
        for axis in self.axes:
            grid = grid.join(axis, how="cross")
        keys = [name for name in self.values.columns if name in grid.columns]
        return grid.join(self.values, on=keys, how="left").with_columns(pl.col("exact").fill_null(0).cast(pl.Int64))

    @property
    def every(self) -> str:
        return PERIODS[self.unit]

    @property
    def grain(self) -> list[str]:
        return ["period_start", *(axis.columns[0] for axis in self.axes)]


def all_counts(lake: Lake) -> dict[str, Counted]:
    """What each mart counts, by name of the mart."""
    fines = _placed(_first_of_month(lake.tables["verbalisations"], "occurred_at"))
    fines = fines.with_columns(
        nature_group=pl.col("nature").replace(GROUP_OF_NATURE),
        day_type=pl.when(pl.col("event_date").dt.weekday() < 6).then(pl.lit("weekday")).otherwise(pl.lit("weekend")),
    )
    tows = _placed(_first_of_month(lake.tables["tows"], "removed_at"))
    tows = tows.with_columns(reason_group=pl.col("reason").replace(GROUP_OF_REASON), delay_group=_delay_group())
    count = pl.len()
    bands = _axis("time_band", [*BANDS, UNKNOWN])
    return {
        "fines_by_day": Counted("day", (_AREAS,), _by(fines, "day", ["area_id"], count)),
        "fines_by_month": Counted("month", (_ZONES,), _by(fines, "month", ["zone_id"], count)),
        "fines_by_nature": Counted(
            "month",
            (_AREAS, _axis("nature_group", NATURE_GROUPS)),
            _by(fines, "month", ["area_id", "nature_group"], count),
        ),
        "fines_profile": Counted(
            "quarter",
            (_AREAS, _axis("day_type", ["weekday", "weekend"]), bands),
            _by(_banded(fines), "quarter", ["area_id", "day_type", "time_band"], count),
        ),
        "tows_by_month": Counted("month", (), _by(tows, "month", [], count)),
        "tows_by_month_and_reason": Counted(
            "month", (_axis("reason_group", REASON_GROUPS),), _by(tows, "month", ["reason_group"], count)
        ),
        "tows_by_area": Counted("quarter", (_AREAS,), _by(tows, "quarter", ["area_id"], count)),
        "tows_by_reason": Counted(
            "quarter", (_axis("reason_group", REASON_GROUPS),), _by(tows, "quarter", ["reason_group"], count)
        ),
        "tows_delay": Counted(
            "quarter", (_axis("delay_group", DELAY_GROUPS),), _by(tows, "quarter", ["delay_group"], count)
        ),
        "tows_profile": Counted("quarter", (bands,), _by(_banded(tows), "quarter", ["time_band"], count)),
        **_crowd(lake),
        **_footfall(lake),
    }


def _first_of_month(rows: pl.DataFrame, instant: str) -> pl.DataFrame:
    """Of each vehicle and month the first row of a covered day; rows without a vehicle all stay."""
    rows = _covered(rows)
    known = pl.col("vehicle").is_not_null()
    first = (
        rows.filter(known)
        .with_columns(month=pl.col("event_date").dt.truncate("1mo"))
        .sort("event_date", instant, "record_key", nulls_last=True)
        .unique(["vehicle", "month"], keep="first", maintain_order=True)
        .drop("month")
    )
    return pl.concat([first, rows.filter(~known)])


def hours_of(first_day: date, last_day: date) -> pl.DataFrame:
    """Every hour of these days on the city's clock: ``event_date``, ``hour`` (``local_hour``), ``starts_at``."""
    days = (first_day, last_day)
    first, last = (pl.lit(day).cast(pl.Datetime("us")).dt.replace_time_zone(CITY.time_zone) for day in days)
    at = pl.datetime_range(first, last.dt.offset_by("1d"), interval="1h", closed="left")
    return pl.select(starts_at=at).select(
        pl.col("starts_at").dt.convert_time_zone("UTC"),
        event_date=pl.col("starts_at").dt.date(),
        local_hour=pl.col("starts_at").dt.hour().cast(pl.Int32),
        hour=pl.col("starts_at").dt.hour().cast(pl.Int32),
        iso_weekday=pl.col("starts_at").dt.weekday().cast(pl.Int32),
        time_band=pl.col("starts_at")
        .dt.hour()
        .replace_strict({hour: band for band, hours in BANDS.items() for hour in hours}, return_dtype=pl.String),
    )


def _crowd(lake: Lake) -> dict[str, Counted]:
    places = pl.DataFrame([place.model_dump() for place in CITY.places], schema_overrides={"area_m2": pl.Float64})
    delivered = lake.tables["crowd_places"].filter(~pl.col("place_id").is_in(places["place_id"].implode()))
    known = pl.concat([places.select("place_id", "place_name"), delivered.select("place_id", "place_name")])
    axis = pl.concat([known, pl.DataFrame({"place_id": [UNKNOWN], "place_name": ["Unknown place"]})])
    told = _covered(lake.tables["crowd_flows"])
    flows = told.filter(pl.col("place_id").is_in(known["place_id"].implode())).with_columns(
        hour="local_hour",
        iso_weekday=pl.col("event_date").dt.weekday().cast(pl.Int32),
    )
    people = pl.col("people").sum()
    return {
        "crowd_by_day": Counted("day", (axis, _HOURS), _by(flows, "day", ["place_id", "hour"], people)),
        "crowd_by_month": Counted(
            "month", (axis, _axis("direction", DIRECTIONS)), _by(flows, "month", ["place_id", "direction"], people)
        ),
        "crowd_profile": Counted(
            "quarter",
            (axis, _WEEKDAYS, _HOURS),
            _by(flows, "quarter", ["place_id", "iso_weekday", "hour"], people),
        ),
    }


def _footfall(lake: Lake) -> dict[str, Counted]:
    delivered = _covered(lake.tables["telecom_footfall"]).filter(measure=CITY.footfall_measure)
    zones = pl.DataFrame({"zone_id": [zone.zone_id for zone in CITY.zones if zone.zone_id != UNKNOWN]})
    categories = _axis("category", CATEGORIES)
    cell = ["zone_id", "category", "event_date", "local_hour", "starts_at"]
    hours = (
        hours_of(COVERED[0], COVERED[-1])
        .filter(pl.col("event_date").is_in(COVERED))
        .select("event_date", "local_hour", "starts_at")
    )
    grid = hours.join(zones, how="cross").join(categories, how="cross")
    counted = grid.join(delivered.select(*cell, "people"), on=cell, how="left").with_columns(
        people=pl.col("people").fill_null(0).round(0, mode="half_away_from_zero").clip(lower_bound=HIDDEN)
    )
    elsewhere = delivered.filter(~pl.col("zone_id").is_in(zones["zone_id"].implode())).select(
        *cell, people=(pl.col("people").round(0, mode="half_away_from_zero") - HIDDEN).clip(lower_bound=0)
    )
    rows = _banded(_placed(pl.concat([counted.select(*cell, "people"), elsewhere]))).with_columns(
        hour="local_hour",
        iso_weekday=pl.col("event_date").dt.weekday().cast(pl.Int32),
    )
    people = pl.col("people").sum()
    return {
        "footfall_by_day": Counted("day", (_AREAS, categories), _by(rows, "day", ["area_id", "category"], people)),
        "footfall_by_month": Counted(
            "month",
            (_ZONES, _axis("time_band", [*BANDS]), categories),
            _by(rows, "month", ["zone_id", "time_band", "category"], people),
        ),
        "footfall_profile": Counted(
            "quarter",
            (_ZONES, _WEEKDAYS, _HOURS, categories),
            _by(rows, "quarter", ["zone_id", "iso_weekday", "hour", "category"], people),
        ),
    }


def _banded(rows: pl.DataFrame) -> pl.DataFrame:
    bands = pl.DataFrame([{"local_hour": hour, "time_band": band} for band, hours in BANDS.items() for hour in hours])
    banded = rows.join(bands.with_columns(pl.col("local_hour").cast(pl.Int32)), on="local_hour", how="left")
    return banded.with_columns(pl.col("time_band").fill_null(UNKNOWN))


def _axis(name: str, values: list[str]) -> pl.DataFrame:
    return pl.DataFrame({name: values})


_PUBLISHED = pl.DataFrame(
    [
        {
            "delivered": zone.zone_id,
            "zone_id": zone.published_zone_id,
            "zone_name": zone.published_zone_name,
            "area_id": next(each.area_id for each in CITY.zones if each.zone_id == zone.published_zone_id),
            "area_name": next(each.area_name for each in CITY.zones if each.zone_id == zone.published_zone_id),
        }
        for zone in CITY.zones
    ]
)
_ZONES = _PUBLISHED.select("zone_id", "zone_name", "area_id").unique()
_AREAS = _PUBLISHED.select("area_id", "area_name").unique()
_WEEKDAYS = pl.DataFrame({"iso_weekday": pl.Series(range(1, 8), dtype=pl.Int32)})
_HOURS = pl.DataFrame({"hour": pl.Series(range(24), dtype=pl.Int32)})


def _periods(unit: str) -> pl.DataFrame:
    days = pl.DataFrame({"day": COVERED})
    start = pl.col("day").dt.truncate(PERIODS[unit]).alias("period_start")
    grouped = days.group_by(pl.col("day").dt.truncate("1q").alias("quarter_start"), start)
    periods = grouped.agg(days_covered=pl.len().cast(pl.Int32)).with_columns(
        period_end=pl.col("period_start").dt.offset_by(PERIODS[unit]).dt.offset_by("-1d")
    )
    length = (pl.col("period_end") - pl.col("period_start")).dt.total_days() + 1
    return periods.select(
        *("quarter_start", "period_start", "period_end", "days_covered"), days_in_period=length.cast(pl.Int32)
    )


def _covered(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("event_date").is_in(COVERED))


def _known_or(default: str, column: str, known: pl.Series) -> pl.Expr:
    return pl.when(pl.col(column).is_in(known.implode())).then(column).otherwise(pl.lit(default))


def _placed(rows: pl.DataFrame) -> pl.DataFrame:
    delivered = rows.with_columns(delivered=_known_or(UNKNOWN, "zone_id", _PUBLISHED["delivered"]))
    return delivered.drop("zone_id").join(_PUBLISHED, on="delivered")


def _delay_group() -> pl.Expr:
    hours = (pl.col("released_at") - pl.col("removed_at")).dt.total_seconds() / 3600
    return (
        pl.when(pl.col("outcome") == "deplacement_technique")
        .then(pl.lit("not_impounded"))
        .when(hours < 24)
        .then(pl.lit("under_1_day"))
        .when(hours < 72)
        .then(pl.lit("1_to_3_days"))
        .when(hours.is_not_null() | (pl.col("outcome") == "en_cours"))
        .then(pl.lit("over_3_days"))
        .otherwise(pl.lit("unknown"))
    )


def _by(rows: pl.DataFrame, unit: str, keys: list[str], exact: pl.Expr) -> pl.DataFrame:
    start = pl.col("event_date").dt.truncate(PERIODS[unit]).alias("period_start")
    return rows.group_by(start, *keys).agg(exact=exact.cast(pl.Int64))
