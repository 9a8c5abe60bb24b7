"""How counts of people are delivered: the city's counters, two foreign cities', and a register of places.

What is never read: weather, device state.
"""

from __future__ import annotations

import polars as pl

from ingestion.delivery import naming
from ingestion.formats import parsing
from ingestion.formats.format import Dialect, Format, Kind
from ingestion.formats.parsing import text
from ingestion.formats.recognition import header_has

COUNTER_COLUMNS = ("place_id", "direction", "starts_at", "count", "area_m2")
COUNTER_MINUTES = 15

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


_COMMA = Dialect(delimiter=",")
_SEMICOLON = Dialect(delimiter=";")
_MOERS_READ = ("Lage", "Zeitpunkt der Messung", *_MOERS_COUNTS)
_MELBOURNE_READ = ("Date", "Hour", "SensorID", "PedestrianCount")
_SENSORS_READ = ("Sensor ID", "Sensor Description", "Latitude", "Longitude")

FORMATS = (
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
)
