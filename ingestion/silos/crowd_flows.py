"""People counted in public places: the city's counters, two foreign cities', and a register of places.

Counters count passages and follow no one: nothing here is personal data. What is never read: weather, device state.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import pandera.polars as pa
import polars as pl

from infra.calendar.clock import to_utc
from infra.city.profile import City
from infra.lineage.classification import Classification
from ingestion.contracts.columns import column
from ingestion.contracts.rules import (
    CONFORMED_RULES,
    DATE_RULES,
    LOCAL_TIME_RULES,
    PLACE_RULES,
    in_period,
    present,
    rule,
)
from ingestion.delivery import naming
from ingestion.formats import parsing
from ingestion.formats.parsing import text
from ingestion.formats.recognition import header_has
from ingestion.register import REFERENCE_DAY, Dataset, Dialect, Format, Kind, Retention, Silo
from ingestion.rows.pseudonyms import Pseudonymiser

DIRECTIONS = ("in", "out", "both")
COHORTS = ("all", "adult", "child")
COUNTER_COLUMNS = ("place_id", "direction", "starts_at", "count", "area_m2")
COUNTER_MINUTES = 15
ABSURD_PEOPLE_PER_MINUTE = 2_000
"""No counting line of a street passes that many: a hundred metres wide and packed, it would pass about as many."""

_HOUR = 60
_DIRECTION_SYNONYMS = {
    "in": "in",
    "entree": "in",
    "out": "out",
    "sortie": "out",
    "both": "both",
    "les_deux": "both",
    "tous": "both",
}
_MOERS_COUNTS = {
    "Erwachsene Richtung Neumarkt": ("in", "adult"),
    "Erwachsene Richtung Neuer Wall": ("out", "adult"),
    "Kinder Richtung Neumarkt": ("in", "child"),
    "Kinder Richtung Neuer Wall": ("out", "child"),
}


class Delivered(pa.DataFrameModel):
    """People counted at a place, in a direction, during an interval. One record may be several of these."""

    row: pl.Int64 = column(Classification.PROVENANCE)
    place_id: str = column(Classification.PUBLIC, nullable=True)
    direction: str = column(
        Classification.PUBLIC, nullable=True, description="One of DIRECTIONS; null when it is none."
    )
    cohort: str = column(Classification.PUBLIC, description="One of COHORTS.")
    starts_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.PUBLIC, nullable=True, description="When delivered with an offset."
    )
    starts_local: Annotated[pl.Datetime, "us", None] = column(
        Classification.PUBLIC, nullable=True, description="When delivered without."
    )
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

    place_missing = rule("place_missing", "place_id", present)
    direction_unknown = rule("direction_unknown", "direction", present)
    date_unreadable = rule(
        "date_unreadable", "starts_at", lambda start: start.is_not_null() | pl.col("starts_local").is_not_null()
    )
    date_out_of_range = rule(
        "date_out_of_range",
        "starts_at",
        lambda start: in_period(pl.coalesce("starts_local", start.dt.replace_time_zone(None)).dt.date()),
    )
    starts_off_grid = rule(
        "starts_off_grid",
        "starts_at",
        lambda start: (
            pl.coalesce("starts_local", start.dt.replace_time_zone(None)).dt.epoch("s")
            % (60 * pl.col("duration_minutes"))
            == 0
        ),
    )
    count_unreadable = rule("count_unreadable", "people", present)
    count_negative = rule("count_negative", "people", lambda people: people >= 0)
    count_absurd = rule(
        "count_absurd", "people", lambda people: people <= ABSURD_PEOPLE_PER_MINUTE * pl.col("duration_minutes")
    )
    area_unreadable = rule("area_unreadable", "area_m2", lambda area: (area > 0) & area.is_finite())

    class Config:
        strict = True


class Conformed(pa.DataFrameModel):
    """People counted, in the lake."""

    place_id: str = column(Classification.PUBLIC, derives_from=("place_id",))
    direction: str = column(Classification.PUBLIC, derives_from=("direction",), description="in, out or both.")
    cohort: str = column(Classification.PUBLIC, derives_from=("cohort",), description="all, adult or child.")
    starts_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.PUBLIC, derives_from=("starts_at", "starts_local", "repeated_hour")
    )
    duration_minutes: pl.Int32 = column(Classification.PUBLIC, derives_from=("duration_minutes",))
    local_hour: pl.Int32 = column(
        Classification.PUBLIC,
        derives_from=("starts_at", "starts_local"),
        description="Hour of the start, 0 to 23, on the city's clock.",
    )
    people: pl.Int64 = column(Classification.STATISTIC, derives_from=("people",))
    area_m2: float = column(
        Classification.PUBLIC,
        derives_from=("area_m2", "place_id"),
        nullable=True,
        description="Open ground that the counter covers, when known.",
    )
    event_date: pl.Date = column(
        Classification.PUBLIC, derives_from=("starts_at", "starts_local"), description="Local day of the start."
    )

    hours = rule("conformed_contract", "local_hour", lambda hour: hour.is_between(0, 23))
    listed_directions = rule("conformed_contract", "direction", lambda direction: direction.is_in(DIRECTIONS))
    listed_cohorts = rule("conformed_contract", "cohort", lambda cohort: cohort.is_in(COHORTS))
    counts = rule("conformed_contract", "people", lambda people: people >= 0)

    class Config:
        strict = True


class DeliveredPlaces(pa.DataFrameModel):
    """A place where people are counted, as delivered."""

    row: pl.Int64 = column(Classification.PROVENANCE)
    place_id: str = column(Classification.PUBLIC, nullable=True)
    place_name: str = column(Classification.PUBLIC, nullable=True)
    lon: float = column(Classification.PUBLIC, nullable=True, description="WGS84 degrees.")
    lat: float = column(Classification.PUBLIC, nullable=True)

    place_missing = rule("place_missing", "place_id", present)
    place_unnamed = rule("place_unnamed", "place_name", present)
    coordinates_missing = rule("coordinates_missing", "lon", present)
    longitude_readable = rule("coordinates_unreadable", "lon", lambda lon: lon.is_between(-180, 180))
    latitude_readable = rule("coordinates_unreadable", "lat", lambda lat: lat.is_between(-90, 90))

    class Config:
        strict = True


class ConformedPlaces(pa.DataFrameModel):
    """A place where people are counted, in the lake."""

    place_id: str = column(Classification.PUBLIC, derives_from=("place_id",))
    place_name: str = column(Classification.PUBLIC, derives_from=("place_name",))
    lon: float = column(Classification.PUBLIC, derives_from=("lon",), description="WGS84 degrees.")
    lat: float = column(Classification.PUBLIC, derives_from=("lat",))
    zone_id: str = column(Classification.PUBLIC, derives_from=("lon", "lat"), description="Zone of the city.")
    area_m2: float = column(Classification.PUBLIC, nullable=True)
    event_date: pl.Date = column(Classification.PUBLIC, description="The same for all: a place belongs to no day.")

    class Config:
        strict = True


_NO_INSTANT = pl.lit(None, pl.Datetime("us", "UTC"))
_NO_LOCAL = pl.lit(None, pl.Datetime("us"))
_NOT_TOLD = pl.lit(None, pl.Boolean)


def _from_counter(batch: pl.DataFrame) -> pl.DataFrame:
    """``counter``: the city's own CSV, see docs/formats.md. Quarters of an hour; the place must be one of the "
    "city's.
    """
    return batch.select(
        pl.col("row").cast(pl.Int64),
        place_id=text("place_id"),
        direction=parsing.spelled("direction", _DIRECTION_SYNONYMS),
        cohort=pl.lit("all"),
        starts_at=parsing.instant(pl.col("starts_at")),
        starts_local=_NO_LOCAL,
        repeated_hour=_NOT_TOLD,
        duration_minutes=pl.lit(COUNTER_MINUTES, pl.Int32),
        people=parsing.whole(pl.col("count")),
        area_m2=parsing.number(pl.col("area_m2")),
    )


def _from_moers(batch: pl.DataFrame) -> pl.DataFrame:
    """``moers``: hourly laser counts by direction and age. Towards the Neumarkt, the middle of the town, is ``in``.

    The totals of the file are not read: they are sums of what is, and blank in some months. Its encoding changes from
    month to month, and one month has lost its umlauts; so the columns read are those whose names have none, and the
    street's name is mended.
    """
    street = parsing.label(batch["Lage"]).str.replace("_moers$", "").str.replace(r"stra+(_e|sse)(_|$)", "strasse${2}")
    shared = batch.select(
        pl.col("row").cast(pl.Int64),
        place_id="moers:" + street,
        starts_at=parsing.instant(pl.col("Zeitpunkt der Messung")),
        starts_local=_NO_LOCAL,
        repeated_hour=_NOT_TOLD,
        duration_minutes=pl.lit(_HOUR, pl.Int32),
        area_m2=pl.lit(None, pl.Float64),
    )
    lines = [
        shared.with_columns(
            direction=pl.lit(direction),
            cohort=pl.lit(cohort),
            people=batch.select(parsing.whole(pl.col(column))).to_series(),
        )
        for column, (direction, cohort) in _MOERS_COUNTS.items()
    ]
    return pl.concat(lines)


def _from_melbourne(batch: pl.DataFrame) -> pl.DataFrame:
    """``melbourne``: hourly counts per sensor, both ways together, local time without offset. Of two records of an hour
    that comes twice in autumn the first is the earlier.
    """
    hour = parsing.whole(pl.col("Hour"))
    day = parsing.day(text("Date"), "%d-%b-%Y", "%Y-%m-%d")
    sensor = parsing.whole(pl.col("SensorID"))
    start = pl.when(hour.is_between(0, 23)).then(day.cast(pl.Datetime("us")) + pl.duration(hours=hour, time_unit="us"))
    return batch.select(
        pl.col("row").cast(pl.Int64),
        place_id=pl.concat_str(pl.lit("melbourne:"), sensor.cast(pl.String)),
        direction=pl.lit("both"),
        cohort=pl.lit("all"),
        starts_at=_NO_INSTANT,
        starts_local=start,
        repeated_hour=pl.col("occurrence") > 1,
        duration_minutes=pl.lit(_HOUR, pl.Int32),
        people=parsing.whole(pl.col("PedestrianCount")),
        area_m2=pl.lit(None, pl.Float64),
    )


def _from_melbourne_sensors(batch: pl.DataFrame) -> pl.DataFrame:
    """``melbourne_sensors``: the register of the sensors that ``melbourne`` counts come from."""
    placed = batch.with_columns(lon=parsing.coordinate("Longitude"), lat=parsing.coordinate("Latitude"))
    return placed.select(
        pl.col("row").cast(pl.Int64),
        pl.concat_str(pl.lit("melbourne:"), parsing.whole(pl.col("Sensor ID")).cast(pl.String)).alias("place_id"),
        text("Sensor Description").alias("place_name"),
        *parsing.place(),
    )


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


_COMMA = Dialect(delimiter=",")
_SEMICOLON = Dialect(delimiter=";")
_MOERS_READ = ("Lage", "Zeitpunkt der Messung", *_MOERS_COUNTS)
_MELBOURNE_READ = ("Date", "Hour", "SensorID", "PedestrianCount")
_SENSORS_READ = ("Sensor ID", "Sensor Description", "Latitude", "Longitude")

SILO = Silo(
    name="crowd_flows",
    title="Flux piétons et densité (crowd flows)",
    steward="Direction de la police municipale et de la sécurité, cellule événements",
    purpose="People passing and density in public places, to prepare events and prevent crushes.",
    legal_basis=(
        "Task carried out in the public interest: the mayor's duty to keep good order where many gather, code général "
        "des collectivités territoriales, art. L. 2212-2. Counts are anonymous when delivered. Where a camera counts, "
        "the camera is under code de la sécurité intérieure, art. L. 251-1 s., and its images never reach the lake. To "
        "be confirmed by the DPO."
    ),
    recipients=("Analysts of the security department: marts only", "Stewards and DPO: receipts and quarantine"),
    retention=Retention(
        landing=timedelta(days=7),
        quarantine=timedelta(days=30),
        conformed_months=None,
    ),
    privacy_unit="none: passages are counted, no one is followed",
    freshness=timedelta(days=1),
    cadence="*/30 * * * *",
    datasets=(
        Dataset(
            name="crowd_flows",
            description="People counted at a place, by direction and interval.",
            places="crowd_places",
            version="1.1.0",
            delivered=Delivered,
            conformed=Conformed,
            key=("place_id", "direction", "cohort", "starts_at"),
            conform=conform,
        ),
        Dataset(
            name="crowd_places",
            description="Places where people are counted.",
            delivered=DeliveredPlaces,
            conformed=ConformedPlaces,
            key=("place_id",),
            conform=conform_places,
            reference=True,
        ),
    ),
    formats=(
        Format(
            name="counter",
            title="People counters of the city (semicolons)",
            dataset="crowd_flows",
            dialect=_SEMICOLON,
            required=COUNTER_COLUMNS,
            recognise=header_has(_SEMICOLON, COUNTER_COLUMNS),
            to_delivered=_from_counter,
            may_be_blank=("area_m2",),
            layout=COUNTER_COLUMNS,
            told_in={"people": ("count",)},
            kinds={"count": Kind.COUNT, "area_m2": Kind.COUNT},
            covers=naming.period,
        ),
        Format(
            name="moers",
            title="Stadt Moers, Besucherzahlen (hourly laser counts)",
            time_zone="Europe/Berlin",
            dataset="crowd_flows",
            dialect=_SEMICOLON,
            required=_MOERS_READ,
            recognise=header_has(_SEMICOLON, _MOERS_READ),
            to_delivered=_from_moers,
            told_in={
                "place_id": ("Lage",),
                "starts_at": ("Zeitpunkt der Messung",),
                "people": tuple(_MOERS_COUNTS),
            },
            kinds=dict.fromkeys(_MOERS_COUNTS, Kind.COUNT),
            covers=naming.german_month,
        ),
        Format(
            name="melbourne",
            title="City of Melbourne, pedestrian counting system",
            time_zone="Australia/Melbourne",
            dataset="crowd_flows",
            dialect=_COMMA,
            required=_MELBOURNE_READ,
            recognise=header_has(_COMMA, _MELBOURNE_READ),
            to_delivered=_from_melbourne,
            occurrence_columns=("Date", "Hour", "SensorID"),
            told_in={
                "place_id": ("SensorID",),
                "starts_at": ("Date", "Hour"),
                "people": ("PedestrianCount",),
            },
            kinds={"PedestrianCount": Kind.COUNT},
        ),
        Format(
            name="melbourne_sensors",
            title="City of Melbourne, pedestrian sensor register",
            dataset="crowd_places",
            dialect=_COMMA,
            required=_SENSORS_READ,
            recognise=header_has(_COMMA, _SENSORS_READ),
            to_delivered=_from_melbourne_sensors,
            told_in={
                "place_id": ("Sensor ID",),
                "place_name": ("Sensor Description",),
                "lon": ("Longitude",),
                "lat": ("Latitude",),
            },
            kinds={"Longitude": Kind.WRITTEN, "Latitude": Kind.WRITTEN, "Sensor Description": Kind.NAME},
        ),
    ),
    rules={
        "place_missing": "The counter or place is missing or not readable. Deliver the row again with its identifier.",
        "place_unknown": (
            "The place is not one of the city's. Correct it, or add the place to the city profile and deliver again."
        ),
        "place_unlisted": (
            "Warning. Neither the city profile nor a delivered register of sensors knows the counter: its rows are "
            "kept and counted in no mart. Deliver the register, or add the place to the city profile: what is "
            "published from then on counts them."
        ),
        "place_unnamed": "The place has no name. Name it and deliver the row again.",
        "coordinates_missing": "The place has no coordinates. Add them and deliver the row again.",
        "direction_unknown": "The direction is none of in, out, both. Correct it and deliver the row again.",
        **DATE_RULES,
        **LOCAL_TIME_RULES,
        "starts_off_grid": (
            "The interval does not start on the hour, or on the quarter of an hour for the city's counters. Set the "
            "counter's clock and deliver the row again."
        ),
        "count_unreadable": "The count is missing or no whole number. Deliver the row again when the count is known.",
        "count_negative": "The count is negative. Check the counter and deliver the row again.",
        "count_absurd": (
            f"The count is more than {ABSURD_PEOPLE_PER_MINUTE} people a minute: no street passes that many. Check the "
            "counter and deliver the row again."
        ),
        "area_unreadable": "The area is no number above 0. Correct it, or leave it blank for the area of the profile.",
        **{name: PLACE_RULES[name] for name in ("coordinates_unreadable", "outside_city")},
        **CONFORMED_RULES,
    },
)
