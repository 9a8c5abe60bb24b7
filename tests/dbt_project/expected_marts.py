"""The marts of a small lake, worked out again in Polars from what their documentation says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
from small_lake import CITY, FIRST, LAST, Lake

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
DELAYS = {"under_1_day": 24, "1_to_3_days": 72, "3_to_7_days": 168, "7_to_30_days": 720}
DELAY_BANDS = [*DELAYS, "over_30_days", "in_pound", "not_impounded", "unknown"]

PERIODS = {"day": "1d", "month": "1mo", "quarter": "1q"}


@dataclass(frozen=True)
class Expected:
    """``values`` holds the cells that have any data: ``period_start``, the rest of the grain, measures."""

    unit: str
    axes: tuple[pl.DataFrame, ...]
    values: pl.DataFrame
    measure: str
    threshold: int
    decimals: int | None = None

    def frame(self) -> pl.DataFrame:
        """The whole mart: grid, display rule and all."""
        grid = _periods(self.unit)
        for axis in self.axes:
            grid = grid.join(axis, how="cross")
        keys = [name for name in self.values.columns if name in grid.columns]
        measures = [name for name in self.values.columns if name not in grid.columns]
        shown = pl.col(self.measure) >= self.threshold
        laid = grid.join(self.values, on=keys, how="left").with_columns(
            *(pl.when(shown).then(name).alias(name) for name in measures),
            pl.when(shown).then(None).otherwise(pl.lit(f"<{self.threshold}")).alias(f"{self.measure}_label"),
        )
        if self.decimals is not None:
            laid = laid.with_columns(pl.col(self.measure).round(self.decimals, mode="half_away_from_zero"))
        companions = [name for name in measures if name != self.measure]
        return laid.select([*grid.columns, self.measure, f"{self.measure}_label", *companions])


def all_marts(lake: Lake, natures: list[str], reasons: list[str]) -> dict[str, Expected]:
    """Every mart by name; ``natures`` and ``reasons`` are the vocabularies of the seeds."""
    fines = _placed(_covered(lake.tables["verbalisations"]))
    tows = _placed(_covered(lake.tables["tows"])).with_columns(delay_band=_delay_band())
    count = pl.len().cast(pl.Int64)
    return {
        "fines_by_day": Expected("day", (_AREAS,), _by(fines, "day", ["area_id"], fines=count), "fines", 11),
        "fines_by_month": Expected(
            "month",
            (_ZONES, _axis("nature", natures)),
            _by(fines, "month", ["zone_id", "nature"], fines=count),
            "fines",
            11,
        ),
        "fines_profile": Expected("quarter", (_ZONES, *_WEEK), _profile(fines, ["zone_id"], fines=count), "fines", 11),
        "tows_by_day": Expected("day", (_AREAS,), _by(tows, "day", ["area_id"], tows=count), "tows", 11),
        "tows_by_month": Expected(
            "month",
            (_ZONES, _axis("reason", reasons)),
            _by(tows, "month", ["zone_id", "reason"], tows=count),
            "tows",
            11,
        ),
        "tows_profile": Expected("quarter", (_AREAS, *_WEEK), _profile(tows, ["area_id"], tows=count), "tows", 11),
        "tows_delay": Expected(
            "month",
            (_AREAS, _axis("delay_band", DELAY_BANDS)),
            _by(tows, "month", ["area_id", "delay_band"], tows=count),
            "tows",
            11,
        ),
        **_crowd(lake),
        **_footfall(lake),
    }


def _crowd(lake: Lake) -> dict[str, Expected]:
    places = pl.DataFrame([place.model_dump() for place in CITY.places], schema_overrides={"area_m2": pl.Float64})
    delivered = lake.tables["crowd_places"].filter(~pl.col("place_id").is_in(places["place_id"].implode()))
    known = pl.concat([places, delivered.select("place_id", "place_name", "zone_id", "area_m2")], how="diagonal")
    axis = pl.concat(
        [known.select("place_id", "place_name"), pl.DataFrame({"place_id": [UNKNOWN], "place_name": ["Unknown place"]})]
    )
    flows = _covered(lake.tables["crowd_flows"])
    intervals = (
        flows.group_by("place_id", "starts_at", "event_date", "local_hour", "duration_minutes")
        .agg(pl.col("people").sum(), pl.col("area_m2").max())
        .join(known.select("place_id", "density_threshold", place_area="area_m2"), on="place_id", how="left")
        .with_columns(
            density=pl.col("people") * 15 / pl.col("duration_minutes") / pl.coalesce("area_m2", "place_area"),
            place_id=_known_or(UNKNOWN, "place_id", axis["place_id"]),
        )
        .with_columns(over=pl.col("density") > pl.col("density_threshold"))
    )
    minutes = pl.col("duration_minutes")
    judged = pl.col("over").is_not_null()
    by_day = _by(
        intervals,
        "day",
        ["place_id"],
        people=pl.col("people").sum(),
        peak_density=pl.col("density").max(),
        quarter_hours_over_threshold=pl.when(judged.any()).then(minutes.filter("over").sum() // 15).cast(pl.Int64),
    )
    profile = _profile(
        intervals,
        ["place_id"],
        mean_people=pl.col("people").sum() * 60 / minutes.sum(),
        mean_density=(pl.col("density") * minutes).sum() / minutes.filter(pl.col("density").is_not_null()).sum(),
        share_over_threshold=minutes.filter("over").sum() / minutes.filter(judged).sum(),
    ).with_columns(pl.col("mean_density", "share_over_threshold").fill_nan(None))
    flows = flows.with_columns(place_id=_known_or(UNKNOWN, "place_id", axis["place_id"]))
    by_month = _by(flows, "month", ["place_id", "direction"], people=pl.col("people").sum())
    return {
        "crowd_by_day": Expected("day", (axis,), by_day, "people", 11),
        "crowd_by_month": Expected("month", (axis, _axis("direction", DIRECTIONS)), by_month, "people", 11),
        "crowd_profile": Expected("quarter", (axis, *_WEEK), profile, "mean_people", 11, decimals=1),
    }


def _footfall(lake: Lake) -> dict[str, Expected]:
    rows = _placed(_covered(lake.tables["telecom_footfall"])).filter(measure=CITY.footfall_measure)
    bands = pl.DataFrame([{"local_hour": hour, "time_band": band} for band, hours in BANDS.items() for hour in hours])
    rows = rows.join(bands.with_columns(pl.col("local_hour").cast(pl.Int32)), on="local_hour")
    # In thousandths, as whole numbers: an exact sum.
    rows = rows.with_columns(thousandths=(pl.col("people") * 1000).round().cast(pl.Int64))
    observed = rows.select("event_date", "local_hour", "time_band", "starts_at").unique()

    def mean(group: Callable[..., pl.DataFrame], keys: list[str], hour_keys: list[str]) -> pl.DataFrame:
        sums = group(rows, keys, thousandths=pl.col("thousandths").sum())
        hours = group(observed, hour_keys, hours=pl.len())
        common = [name for name in hours.columns if name != "hours"]
        joined = sums.join(hours, on=common)
        return joined.with_columns(mean_people=pl.col("thousandths") / 1000 / pl.col("hours")).drop(
            "thousandths", "hours"
        )

    def group(unit: str) -> Callable[..., pl.DataFrame]:
        return lambda frame, keys, **what: _by(frame, unit, keys, **what)

    def footfall(unit: str, axes: tuple[pl.DataFrame, ...], values: pl.DataFrame) -> Expected:
        return Expected(unit, (*axes, _axis("category", CATEGORIES)), values, "mean_people", 20, decimals=1)

    by_day = mean(group("day"), ["area_id", "category"], [])
    by_month = mean(group("month"), ["zone_id", "time_band", "category"], ["time_band"])
    profile = mean(_profile, ["zone_id", "category"], [])
    return {
        "footfall_by_day": footfall("day", (_AREAS,), by_day),
        "footfall_by_month": footfall("month", (_ZONES, _axis("time_band", [*BANDS])), by_month),
        "footfall_profile": footfall("quarter", (_ZONES, *_WEEK), profile),
    }


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
_ZONES = _PUBLISHED.select("zone_id", "zone_name").unique()
_AREAS = _PUBLISHED.select("area_id", "area_name").unique()
_WEEK = (
    pl.DataFrame({"iso_weekday": pl.Series(range(1, 8), dtype=pl.Int32)}),
    pl.DataFrame({"hour": pl.Series(range(24), dtype=pl.Int32)}),
)


def _periods(unit: str) -> pl.DataFrame:
    days = pl.DataFrame({"day": pl.date_range(FIRST, LAST, eager=True)})
    start = pl.col("day").dt.truncate(PERIODS[unit]).alias("period_start")
    ends = days.group_by(pl.col("day").dt.truncate("1q").alias("quarter_start"), start)
    return ends.agg(period_end=pl.col("day").max()).select("quarter_start", "period_start", "period_end")


def _covered(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("event_date").is_between(FIRST, LAST))


def _known_or(default: str, column: str, known: pl.Series) -> pl.Expr:
    return pl.when(pl.col(column).is_in(known.implode())).then(column).otherwise(pl.lit(default))


def _placed(rows: pl.DataFrame) -> pl.DataFrame:
    delivered = rows.with_columns(delivered=_known_or(UNKNOWN, "zone_id", _PUBLISHED["delivered"]))
    return delivered.drop("zone_id").join(_PUBLISHED, on="delivered")


def _delay_band() -> pl.Expr:
    hours = (pl.col("released_at") - pl.col("removed_at")).dt.total_seconds() / 3600
    band = pl.when(pl.col("outcome") == "deplacement_technique").then(pl.lit("not_impounded"))
    for name, bound in DELAYS.items():
        band = band.when(hours < bound).then(pl.lit(name))
    return (
        band.when(hours.is_not_null())
        .then(pl.lit("over_30_days"))
        .when(pl.col("outcome") == "en_cours")
        .then(pl.lit("in_pound"))
        .otherwise(pl.lit("unknown"))
    )


def _by(rows: pl.DataFrame, unit: str, keys: list[str], **measures: pl.Expr) -> pl.DataFrame:
    start = pl.col("event_date").dt.truncate(PERIODS[unit]).alias("period_start")
    return rows.group_by(start, *keys).agg(**measures)


def _profile(rows: pl.DataFrame, keys: list[str], **measures: pl.Expr) -> pl.DataFrame:
    hours = rows.drop_nulls("local_hour").with_columns(
        iso_weekday=pl.col("event_date").dt.weekday().cast(pl.Int32), hour="local_hour"
    )
    return _by(hours, "quarter", [*keys, "iso_weekday", "hour"], **measures)


def grain(expected: Expected) -> list[str]:
    return ["period_start", *(axis.columns[0] for axis in expected.axes)]
