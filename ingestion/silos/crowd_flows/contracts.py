"""What counts of people, and the places where they are counted, are held to, and how they are conformed.

Counters count passages and follow no one: nothing here is personal data.
"""

from __future__ import annotations

from typing import Annotated

import polars as pl

from infra.calendar.clock import to_utc
from infra.city.profile import City
from infra.lineage.classification import Classification
from ingestion.contracts.columns import column
from ingestion.contracts.contract import Contract
from ingestion.contracts.rules import LOCAL_TIME_RULES, PLACE_RULES, coordinates_unreadable, present, promise, rule
from ingestion.contracts.traits import Interval, Row, Strict, told
from ingestion.contracts.vocabulary import vocabulary
from ingestion.formats import parsing
from ingestion.formats.format import Format
from ingestion.register import REFERENCE_DAY
from ingestion.rows.pseudonyms import Pseudonymiser

DIRECTIONS = vocabulary("directions")
COHORTS = ("all", "adult", "child")
ABSURD_PEOPLE_PER_MINUTE = 2_000
"""No counting line of a street passes that many: a hundred metres wide and packed, it would pass about as many."""

PLACE_MISSING = "The counter or place is missing or not readable. Deliver the row again with its identifier."


class Delivered(Interval):
    """People counted at a place, in a direction, during an interval. One record may be several of these."""

    place_id: str = column(Classification.PUBLIC, nullable=True)
    direction: str = column(
        Classification.PUBLIC, nullable=True, description="One of DIRECTIONS; null when it is none."
    )
    cohort: str = column(Classification.PUBLIC, description="One of COHORTS.")
    repeated_hour: bool = column(
        Classification.PUBLIC,
        nullable=True,
        description="The later of the two hours that a clock put back shows alike; null when not told.",
    )
    duration_minutes: pl.Int32 = column(Classification.PUBLIC)
    people: pl.Int64 = column(Classification.STATISTIC, nullable=True)
    area_m2: float = column(
        Classification.PUBLIC, nullable=True, description="Null when not told, NaN when it is no number."
    )

    place_missing = rule("place_missing", "place_id", present, PLACE_MISSING)
    direction_unknown = rule(
        "direction_unknown",
        "direction",
        present,
        "The direction is none of in, out, both. Correct it and deliver the row again.",
    )
    starts_off_grid = rule(
        "starts_off_grid",
        "starts_at",
        lambda start: told(start).dt.epoch("s") % (60 * pl.col("duration_minutes")) == 0,
        (
            "The interval does not start on the hour, or on the quarter of an hour for the city's counters. Set the "
            "counter's clock and deliver the row again."
        ),
    )
    count_unreadable = rule(
        "count_unreadable",
        "people",
        present,
        "The count is missing or no whole number. Deliver the row again when the count is known.",
    )
    count_negative = rule(
        "count_negative",
        "people",
        lambda people: people >= 0,
        "The count is negative. Check the counter and deliver the row again.",
    )
    count_absurd = rule(
        "count_absurd",
        "people",
        lambda people: people <= ABSURD_PEOPLE_PER_MINUTE * pl.col("duration_minutes"),
        (
            f"The count is more than {ABSURD_PEOPLE_PER_MINUTE} people a minute: no street passes that many. Check the "
            "counter and deliver the row again."
        ),
    )
    area_unreadable = rule(
        "area_unreadable",
        "area_m2",
        lambda area: (area > 0) & area.is_finite(),
        "The area is no number above 0. Correct it, or leave it blank for the area of the profile.",
    )


class Conformed(Strict):
    """People counted, in the lake."""

    place_id: str = column(Classification.PUBLIC, derives_from=("place_id",), description="Place of the counter.")
    direction: str = column(Classification.PUBLIC, derives_from=("direction",), description="in, out or both.")
    cohort: str = column(Classification.PUBLIC, derives_from=("cohort",), description="all, adult or child.")
    starts_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.PUBLIC,
        derives_from=("starts_at", "starts_local", "repeated_hour"),
        description="Instant at which the interval begins.",
    )
    duration_minutes: pl.Int32 = column(
        Classification.PUBLIC, derives_from=("duration_minutes",), description="Length of the interval, in minutes."
    )
    local_hour: pl.Int32 = column(
        Classification.PUBLIC,
        derives_from=("starts_at", "starts_local"),
        description="Hour of the start, 0 to 23, on the city's clock.",
    )
    people: pl.Int64 = column(Classification.STATISTIC, derives_from=("people",), description="People counted.")
    area_m2: float = column(
        Classification.PUBLIC,
        derives_from=("area_m2", "place_id"),
        nullable=True,
        description="Open ground that the counter covers, when known.",
    )
    event_date: pl.Date = column(
        Classification.PUBLIC, derives_from=("starts_at", "starts_local"), description="Local day of the start."
    )

    hours = promise("local_hour", lambda hour: hour.is_between(0, 23))
    listed_directions = promise("direction", lambda direction: direction.is_in(DIRECTIONS))
    listed_cohorts = promise("cohort", lambda cohort: cohort.is_in(COHORTS))
    counts = promise("people", lambda people: people >= 0)


class DeliveredPlaces(Row):
    """A place where people are counted, as delivered."""

    place_id: str = column(Classification.PUBLIC, nullable=True)
    place_name: str = column(Classification.PUBLIC, nullable=True)
    lon: float = column(Classification.PUBLIC, nullable=True, description="WGS84 degrees.")
    lat: float = column(Classification.PUBLIC, nullable=True)

    place_missing = rule("place_missing", "place_id", present, PLACE_MISSING)
    place_unnamed = rule(
        "place_unnamed", "place_name", present, "The place has no name. Name it and deliver the row again."
    )
    coordinates_missing = rule(
        "coordinates_missing", "lon", present, "The place has no coordinates. Add them and deliver the row again."
    )
    longitude_readable = coordinates_unreadable("lon", 180)
    latitude_readable = coordinates_unreadable("lat", 90)


class ConformedPlaces(Strict):
    """A place where people are counted, in the lake."""

    place_id: str = column(Classification.PUBLIC, derives_from=("place_id",), description="Place of the counter.")
    place_name: str = column(Classification.PUBLIC, derives_from=("place_name",), description="Name of the place.")
    lon: float = column(Classification.PUBLIC, derives_from=("lon",), description="WGS84 degrees.")
    lat: float = column(Classification.PUBLIC, derives_from=("lat",), description="Latitude, WGS 84.")
    zone_id: str = column(Classification.PUBLIC, derives_from=("lon", "lat"), description="Zone of the city.")
    area_m2: float = column(
        Classification.PUBLIC, nullable=True, description="Area of the place in square metres; null when not known."
    )
    event_date: pl.Date = column(Classification.PUBLIC, description="The same for all: a place belongs to no day.")


def conform(counts: pl.DataFrame, accepted: Format, city: City, _: Pseudonymiser) -> pl.DataFrame:
    """Counts in UTC and on the city's clock. See ``Dataset.conform``."""
    time_zone = accepted.clock(city)
    places = city.places.select("place_id", city_area="area_m2")
    known = pl.col("place_id").is_in(places["place_id"].implode())
    starts_at = pl.coalesce("starts_at", to_utc(pl.col("starts_local"), time_zone))
    if counts["repeated_hour"].any():
        later = to_utc(pl.col("starts_local"), time_zone, ambiguous="latest")
        starts_at = pl.when("repeated_hour").then(later).otherwise(starts_at)
    dated = counts.with_columns(
        starts_at=starts_at,
        local=parsing.calendar(starts_at, time_zone),
    ).join(places, on="place_id", how="left", maintain_order="left")
    return dated.select(
        "row",
        "place_id",
        "direction",
        "cohort",
        "starts_at",
        "duration_minutes",
        pl.col("local").struct["hour"].alias("local_hour"),
        "people",
        pl.coalesce("area_m2", "city_area").alias("area_m2"),
        pl.col("local").struct["day"].alias("event_date"),
        reject=parsing.first_rule(
            {
                "place_unknown": ~known if accepted.name == "counter" else pl.lit(False),
                "time_does_not_exist": pl.col("starts_at").is_null(),
            }
        ),
        warn=parsing.first_rule({"place_unlisted": ~known}),
    )


def conform_places(places: pl.DataFrame, _format: Format, city: City, _: Pseudonymiser) -> pl.DataFrame:
    """Places in a zone of the city. See ``Dataset.conform``."""
    return places.with_columns(zone_id=city.locate(places["lon"], places["lat"])).select(
        "row",
        "place_id",
        "place_name",
        "lon",
        "lat",
        "zone_id",
        area_m2=pl.lit(None, pl.Float64),
        event_date=pl.lit(REFERENCE_DAY),
        reject=parsing.first_rule({"outside_city": pl.col("zone_id").is_null()}),
        warn=pl.lit(None, pl.String),
    )


COUNTS = Contract(
    Delivered,
    Conformed,
    conform,
    rules={
        **LOCAL_TIME_RULES,
        "place_unknown": (
            "The place is not one of the city's. Correct it, or add the place to the city profile and deliver again."
        ),
        "place_unlisted": (
            "Warning. Neither the city profile nor a delivered register of sensors knows the counter: its rows are "
            "kept and counted in no mart. Deliver the register, or add the place to the city profile: what is "
            "published from then on counts them."
        ),
    },
)
PLACES = Contract(
    DeliveredPlaces,
    ConformedPlaces,
    conform_places,
    rules={"outside_city": PLACE_RULES["outside_city"]},
)
